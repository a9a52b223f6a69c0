//! Rows of weights as whole numbers, with what the error model needs of them.

use twinpath_formats::TensorType;

use super::dots::{self, Dots, LANES, ROWS, Weights};
use super::lanes::{Lanes, Wide, ZEROS};
use super::whole::{self, CHUNK, Scales};
use crate::simd::Isa;

/// Rows of weights in 256 columns.
pub(super) struct Tile {
    tensor_type: TensorType,
    /// Weights and bytes of a block.
    block: (usize, usize),
    /// Whether there are minimums.
    minimum: bool,
    pub(super) weights: Weights,
    pub(super) rows: [Row; ROWS],
}

/// What the integers of one row count, and their size.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) scales: Scales,
    /// Of each 16 columns.
    pub(super) minimums: Lanes,
    /// Sum of the squares of the weights.
    pub(super) square: f64,
    /// Its root.
    pub(super) norm: f64,
}

impl Tile {
    /// Of a matrix of this type, to be multiplied by `dots`.
    pub(super) fn new(dots: &Dots, tensor_type: TensorType) -> Tile {
        let row = Row { scales: Scales::ZERO, minimums: ZEROS, square: 0.0, norm: 0.0 };
        let format = tensor_type.format();
        Tile {
            tensor_type,
            block: (format.block_len(), format.block_bytes()),
            minimum: whole::minimum_width(tensor_type).is_some(),
            weights: dots.weights(),
            rows: [row; ROWS],
        }
    }

    /// At most 256 columns of `packed` rows from column `first` on.
    #[inline(always)]
    pub(super) fn read<W: Wide>(&mut self, wide: W, isa: Isa, packed: &[&[u8]; ROWS], first: usize) {
        let (length, size) = self.block;
        let bytes = first / length * size..(first / length * size + CHUNK / length * size).min(packed[0].len());
        let width = bytes.len() / size * length;
        for (r, (row, packed)) in self.rows.iter_mut().zip(packed).enumerate() {
            let integers = self.weights.row_mut(r);
            whole::read(self.tensor_type, &packed[bytes.clone()], integers, &mut row.scales);
            if width < CHUNK {
                integers[width..].fill(0);
                row.scales.d[width / 32..].fill(0.0);
                row.scales.dmin[width / 32..].fill(0.0);
            }
            row.minimums = row.scales.minimums(wide);
            let square = if length == CHUNK {
                row.scales.of_block(wide, integers, self.minimum)
            } else {
                row.scales.of_blocks(wide, &dots::moments(isa, integers, &row.scales.steps), &row.minimums)
            };
            row.square = square.max(0.0);
            row.norm = row.square.sqrt();
            self.weights.split(r);
        }
    }
}

/// `Σ w²` of each scale is `d² Σ i² + 2 d dmin Σ M i + dmin² Σ M²`.
impl Scales {
    /// The minimum of each 16 columns.
    #[inline(always)]
    fn minimums<W: Wide>(&self, wide: W) -> Lanes {
        let (mut dmin, mut steps, mut minimums) = (ZEROS, [0; LANES], ZEROS);
        for g in 0..LANES {
            (dmin[g], steps[g]) = (self.dmin[g / 2], i32::from(self.steps[g]));
        }
        wide.store(wide.mul(wide.load(&dmin), wide.whole(&steps)), &mut minimums);
        minimums
    }

    /// `Σ w²` of a block of 256, in which all scales are one.
    #[inline(always)]
    fn of_block<W: Wide>(&self, wide: W, integers: &[i16; CHUNK], minimum: bool) -> f64 {
        let (d, dmin) = (self.d[0], self.dmin[0]);
        let squares = d * d * wide.squares(integers);
        if !minimum {
            return squares;
        }
        let steps: i32 = self.steps.iter().map(|step| i32::from(*step) * i32::from(*step)).sum();
        squares + 2.0 * d * dmin * wide.stepped(integers, &self.steps) + 16.0 * dmin * dmin * f64::from(steps)
    }

    /// `Σ w²` of blocks of 32: of each, `moments` has the sum of squares, then that of products with steps.
    #[inline(always)]
    fn of_blocks<W: Wide>(&self, wide: W, moments: &[i32; LANES], minimums: &Lanes) -> f64 {
        let (mut factors, minimums) = (ZEROS, wide.load(minimums));
        for g in 0..8 {
            (factors[g], factors[8 + g]) = (self.d[g] * self.d[g], 2.0 * self.d[g] * self.dmin[g]);
        }
        let products = wide.mul(wide.load(&factors), wide.whole(moments));
        wide.total(wide.fma(wide.mul(wide.splat(16.0), minimums), minimums, products))
    }
}
