//! Groups of strips and of blocks, and what is left of them.

use twinpath_formats::Matrix;

use super::{BLOCKS, POSITIONS, STRIPS};
use crate::columns::Columns;
use crate::fused::tests::{FILLS, activations, bits, weights};
use crate::fused::{Job, PACKED, TILE_ROWS};
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
