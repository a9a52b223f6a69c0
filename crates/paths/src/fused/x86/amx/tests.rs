//! Groups of strips and of blocks, and what is left of them.

use twinpath_formats::Matrix;

use super::super::lanes::{Lanes, Side};
use super::{BLOCKS, POSITIONS, STRIPS, Stored, Strip, Sums, Tiles, run_on};
use crate::columns::Columns;
use crate::fused::tests::{FILLS, activations, bits, weights};
use crate::fused::x86::Vnni;
use crate::fused::{Job, PACKED, Packed, TILE_ROWS, find, iq4_xs, q2_k, q3_k, q4_k, q5_k, q6_k, tiles};
use crate::q8::{Codes, Scales};
use crate::simd::Isa;
use crate::test_values::Random;

#[test]
fn groups_have_the_bits_of_portable_code() {
    let mut random = Random::new(40);
    let (rows, groups) = (STRIPS * TILE_ROWS, [1, BLOCKS - 1, BLOCKS, BLOCKS + 1, 2 * BLOCKS + 1]);
    for entry in PACKED.iter().filter(|entry| entry.shape.block == 256) {
        for (i, blocks) in groups.into_iter().enumerate() {
            let (rows, cols) = (rows * (1 + i % 2) + [0, 1, 15, 16, 17][i], 256 * blocks);
            let positions = POSITIONS + [0, 1, 15, 16, 31][i];
            let bytes = weights(entry.tensor_type, rows, cols, FILLS[i], &mut random);
            let weight = Matrix::new(entry.tensor_type, rows, cols, &bytes).unwrap();
            let (x, bias) = (activations(positions * cols, &mut random), activations(rows, &mut random));
            let codes = Codes::new(Isa::PORTABLE, entry.shape, Scales::Ggml, positions, &x);
            let of = |isa| {
                let job = Job { weight, bias: Some(&bias), codes: &codes, tiles: None, isa };
                bits(&Columns::made(positions, (rows, cols), rows, |_, out| (entry.run)(&job, out)))
            };
            let portable = of(Isa::PORTABLE);
            for isa in Isa::all_available() {
                assert!(
                    of(isa) == portable,
                    "{} on {}, {rows} rows of {blocks} blocks",
                    entry.tensor_type.name(),
                    isa.name()
                );
            }
        }
    }
}

/// What the tile registers do, as their manual defines it.
struct Emulated(Box<Sums>);

impl Tiles for Emulated {
    fn clear(&mut self) {
        *self.0 = Sums::ZERO;
    }

    fn multiply(&mut self, q: &[i8], strip: &Strip, part: usize) {
        for (t, q) in q.chunks_exact(256).enumerate() {
            for (bytes, weights) in [&strip.low, &strip.high].into_iter().enumerate() {
                for quad in 16 * part..16 * (part + 1) {
                    for (sum, four) in self.0.0[t / 16][bytes][t % 16].iter_mut().zip(weights[quad]) {
                        let products = four.to_le_bytes().into_iter().zip(&q[4 * quad..]);
                        *sum += products.map(|(w, q)| i32::from(w.cast_signed()) * i32::from(*q)).sum::<i32>();
                    }
                }
            }
        }
    }

    fn store(&mut self, sums: &mut Sums) {
        *sums = Sums(self.0.0);
    }
}

/// Rows as stored, unpacked one by one.
fn stored<F: Packed>(s: Vnni, job: &Job<'_>, out: &mut Columns<'_>) {
    // SAFETY: `s` proves the features.
    unsafe { run_on::<F>(Emulated(Box::new(Sums::ZERO)), job, Stored::<F>::new(s, job), out) }
}

/// Rows side by side.
fn side<F: Lanes>(s: Vnni, job: &Job<'_>, out: &mut Columns<'_>) {
    // SAFETY: `s` proves the features.
    unsafe { run_on::<F>(Emulated(Box::new(Sums::ZERO)), job, Side::<F>::new(s, job), out) }
}

type Run = fn(Vnni, &Job<'_>, &mut Columns<'_>);

/// All but the registers, wherever there is VNNI: rows as stored, unpacked one by one and side by side, and copied.
#[test]
fn emulated_tiles_give_the_bits_of_portable_code() {
    let isa = Isa::detect();
    let Some(s) = Vnni::new(isa) else { return };
    let runs: [(_, Run, bool); 9] = [
        (q2_k::Q2K::TYPE, stored::<q2_k::Q2K>, false),
        (q3_k::Q3K::TYPE, stored::<q3_k::Q3K>, false),
        (iq4_xs::Iq4Xs::TYPE, stored::<iq4_xs::Iq4Xs>, false),
        (q4_k::Q4K::TYPE, stored::<q4_k::Q4K>, false),
        (q5_k::Q5K::TYPE, stored::<q5_k::Q5K>, false),
        (q6_k::Q6K::TYPE, stored::<q6_k::Q6K>, false),
        (q4_k::Q4K::TYPE, side::<q4_k::Q4K>, true),
        (q5_k::Q5K::TYPE, side::<q5_k::Q5K>, true),
        (q6_k::Q6K::TYPE, side::<q6_k::Q6K>, true),
    ];
    let mut random = Random::new(42);
    let shapes = [(64, 1, 32), (17, 9, 16), (65, 8, 33), (150, 2, 49), (129, 17, 65)];
    for (i, (tensor_type, run, laid_out)) in runs.into_iter().enumerate() {
        for (k, (rows, blocks, positions)) in shapes.into_iter().enumerate() {
            let cols = 256 * blocks;
            let bytes = weights(tensor_type, rows, cols, FILLS[(i + k) % FILLS.len()], &mut random);
            let weight = Matrix::new(tensor_type, rows, cols, &bytes).unwrap();
            let entry = find(tensor_type).unwrap();
            let (x, bias) = (activations(positions * cols, &mut random), activations(rows, &mut random));
            let codes = Codes::new(Isa::PORTABLE, entry.shape, Scales::Ggml, positions, &x);
            let portable = entry.linear(Scales::Ggml, Isa::PORTABLE, weight, Some(&bias), positions, &x);
            let copy = tiles::Tiles::new(isa, &[weight], (), &mut |_, _, _| {}).unwrap();
            let copy = copy.as_ref().filter(|_| laid_out).and_then(|copy| copy.find(&weight));
            for tiles in [None, copy].into_iter().take(1 + usize::from(laid_out)) {
                let job = Job { weight, bias: Some(&bias), codes: &codes, tiles, isa };
                let y = Columns::made(positions, (rows, cols), rows, |_, out| run(s, &job, out));
                let what = (tensor_type.name(), rows, blocks, positions, tiles.is_some());
                assert!(bits(&y) == bits(&portable), "emulated tiles, {what:?}: other bits");
            }
        }
    }
}
