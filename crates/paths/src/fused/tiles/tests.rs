//! Copies of weights against rows as stored.

use std::sync::Arc;

use super::super::tests::{FILLS, activations, bits, extreme, weights};
use super::super::{Kernels, PACKED};
use super::*;
use crate::q8::Scales;
use crate::simd::Level;
use crate::test_values::Random;

/// The copies that the kernels of `isa` read; none where they read rows as stored.
fn copies(isa: Isa, weights: &[Matrix<'_>]) -> Vec<Arc<Tiles>> {
    Tiles::new(isa, weights, (), &mut |_, _, _| {}).unwrap().map(Arc::new).into_iter().collect()
}

fn laid_out() -> impl Iterator<Item = (&'static Entry, Scales)> {
    let entries = PACKED.iter().filter(|entry| entry.layout.is_some());
    entries.flat_map(|entry| [(entry, Scales::Ggml), (entry, Scales::Per32)])
}

fn level_reads_tiles(isa: Isa) -> bool {
    isa.level() >= Level::Avx512Vnni
}

/// Rows around a tile of 16 and a group of four, positions around each number from which on other kernels are taken.
#[test]
fn copies_have_the_bits_of_portable_code_on_rows_as_stored() {
    let mut random = Random::new(30);
    for (entry, scales) in laid_out() {
        for fill in FILLS {
            for (rows, blocks, positions) in
                [(1, 1, 1), (15, 2, 1), (16, 5, 2), (17, 1, 7), (33, 3, 8), (31, 2, 9), (48, 1, 15), (49, 2, 16)]
                    .into_iter()
                    .chain([(5, 3, 17), (16, 2, 31), (20, 1, 33), (17, 2, 65), (40, 7, 1)])
                    .chain([(63, 2, 1), (65, 3, 3), (130, 2, 8), (150, 2, 16)])
            {
                let cols = 256 * blocks;
                let bytes = weights(entry.tensor_type, rows, cols, fill, &mut random);
                let weight = Matrix::new(entry.tensor_type, rows, cols, &bytes).unwrap();
                let bias = activations(rows, &mut random);
                let bias = (rows % 2 == 1).then_some(&bias[..]);
                for x in [activations(positions * cols, &mut random), extreme(positions * cols)] {
                    let portable = entry.linear(scales, Isa::PORTABLE, weight, bias, positions, &x);
                    for isa in Isa::all_available() {
                        let tiles = copies(isa, &[weight]);
                        assert_eq!(tiles.len(), usize::from(level_reads_tiles(isa)));
                        assert!(tiles.iter().all(|tiles| tiles.find(&weight).is_some()));
                        let y = entry.linear(scales, Kernels { isa, tiles: &tiles }, weight, bias, positions, &x);
                        let what = (entry.tensor_type.name(), isa.name(), scales, fill, rows, blocks, positions);
                        assert!(bits(&y) == bits(&portable), "copied, {what:?}: other bits");
                    }
                }
            }
        }
    }
}

#[test]
fn threads_and_batches_change_no_bit_of_copies() {
    let mut random = Random::new(31);
    for (entry, scales) in laid_out() {
        let (rows, cols, positions) = (650, 512, 65);
        let bytes = weights(entry.tensor_type, rows, cols, FILLS[0], &mut random);
        let weight = Matrix::new(entry.tensor_type, rows, cols, &bytes).unwrap();
        let x = activations(positions * cols, &mut random);
        let whole = entry.linear(scales, Isa::PORTABLE, weight, None, positions, &x);
        for isa in Isa::all_available().into_iter().filter(|isa| level_reads_tiles(*isa)) {
            let tiles = copies(isa, &[weight]);
            let kernels = Kernels { isa, tiles: &tiles };
            for threads in 1..=8 {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                for n in [1, 2, 7, 8, 15, 16, 17, 32, 33, positions] {
                    let y = pool.install(|| entry.linear(scales, kernels, weight, None, n, &x[..n * cols]));
                    assert!(bits(&y) == bits(&whole[..n * rows]), "{} {n} on {threads}", entry.tensor_type.name());
                }
            }
        }
    }
}

#[test]
fn several_matrices_are_found_each_and_what_was_not_copied_is_read_as_stored() {
    let mut random = Random::new(32);
    let isa = Isa::detect();
    let all: Vec<_> = laid_out().filter(|(_, scales)| *scales == Scales::Ggml).map(|(entry, _)| entry).collect();
    let (rows, cols) = (40, 512);
    let stored: Vec<_> = all.iter().map(|e| weights(e.tensor_type, rows, cols, FILLS[0], &mut random)).collect();
    let matrices = all.iter().zip(&stored).map(|(e, b)| Matrix::new(e.tensor_type, rows, cols, b).unwrap());
    let matrices: Vec<_> = matrices.collect();
    let tiles = copies(isa, &matrices);
    for (entry, weight) in all.iter().zip(&matrices) {
        let x = activations(cols, &mut random);
        // Whole, the first rows alone, which begin at the same address, rows amid, and the same values elsewhere.
        let elsewhere = weight.bytes().to_vec();
        let elsewhere = Matrix::new(weight.tensor_type(), rows, cols, &elsewhere).unwrap();
        for part in [*weight, weight.rows_of(0..24), weight.rows_of(16..40), elsewhere] {
            let kernels = Kernels { isa, tiles: &tiles };
            let y = entry.linear(Scales::Ggml, kernels, part, None, 1, &x);
            let portable = entry.linear(Scales::Ggml, Isa::PORTABLE, part, None, 1, &x);
            assert_eq!(bits(&y), bits(&portable), "{} {}", entry.tensor_type.name(), part.rows());
        }
        if let [tiles] = &tiles[..] {
            assert!(tiles.find(&weight.rows_of(0..24)).is_none() && tiles.find(&elsewhere).is_none());
        }
    }
}

/// Of whole tiles; Q6_K has two bytes of padding for each row and block.
#[test]
fn a_copy_takes_the_bytes_of_what_is_stored_or_two_more_for_a_block() {
    for (entry, _) in laid_out() {
        let format = entry.tensor_type.format();
        let bytes = vec![0; 32 * 3 * format.block_bytes()];
        let weight = Matrix::new(entry.tensor_type, 32, 3 * 256, &bytes).unwrap();
        let isa = Isa::detect();
        let more = if format.block_bytes() % 4 > 0 { 2 } else { 0 };
        let expected = if level_reads_tiles(isa) { 32 * 3 * (format.block_bytes() + more) } else { 0 };
        assert_eq!(Tiles::size(isa, &[weight]), expected as u64, "{}", format.name());
        assert_eq!(Tiles::size(Isa::PORTABLE, &[weight]), 0);
    }
}
