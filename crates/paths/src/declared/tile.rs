//! Rows of weights as whole numbers, with what the error model needs of them.

use std::ops::Range;

use twinpath_formats::TensorType;

use super::dots::{Dots, LANES, ROWS, Weights};
use super::lanes::{Lanes, Wide, ZEROS};
use super::whole::{self, CHUNK, Integers, Scales};
use crate::simd::Isa;

/// Rows that are read before the first of them is put: narrow writes are to be in the cache when wide reads ask for them.
const BATCH: usize = 8;

/// Rows of weights in 256 columns.
pub(super) struct Tile {
    tensor_type: TensorType,
    /// Weights and bytes of a block.
    block: (usize, usize),
    integers: [Integers; BATCH],
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
            integers: [Integers::ZERO; BATCH],
            weights: dots.weights(),
            rows: [row; ROWS],
        }
    }

    /// At most 256 columns of `packed` rows from column `first` on.
    #[inline(always)]
    pub(super) fn read<W: Wide>(&mut self, wide: W, isa: Isa, packed: &[&[u8]; ROWS], first: usize) {
        let (length, size) = self.block;
        let bytes = self.bytes(packed, first);
        let width = bytes.len() / size * length;
        let batches = self.rows.chunks_exact_mut(BATCH).zip(packed.chunks_exact(BATCH));
        for (batch, (rows, packed)) in batches.enumerate() {
            for ((row, integers), packed) in rows.iter_mut().zip(&mut self.integers).zip(packed) {
                whole::read(self.tensor_type, &packed[bytes.clone()], integers, &mut row.scales);
                if width < CHUNK {
                    integers.codes[width..].fill(0);
                    row.scales.d[width / 32..].fill(0.0);
                    row.scales.dmin[width / 32..].fill(0.0);
                }
            }
            for (r, (row, integers)) in (batch * BATCH..).zip(rows.iter_mut().zip(&self.integers)) {
                row.minimums = row.scales.minimums(wide);
                let moments = self.weights.put(isa, r, integers, &row.scales.steps);
                row.square = row.scales.squares(wide, &moments, &row.minimums).max(0.0);
                row.norm = row.square.sqrt();
            }
        }
    }

    /// Lets the processor fetch what is read next: of as many rows, it would foresee none.
    #[inline(always)]
    pub(super) fn fetch<W: Wide>(&self, wide: W, packed: &[&[u8]; ROWS], first: usize) {
        let bytes = self.bytes(packed, first);
        for packed in packed {
            wide.fetch(packed[bytes.clone()].as_ptr(), bytes.len());
        }
    }

    /// Where the bytes of at most 256 columns lie in a row.
    #[inline(always)]
    fn bytes(&self, packed: &[&[u8]; ROWS], first: usize) -> Range<usize> {
        let (length, size) = self.block;
        first / length * size..(first / length * size + CHUNK / length * size).min(packed[0].len())
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

    /// The sum of the squares of the weights; of each 32 columns, `moments` has that of the integers, then that of their
    /// products with their steps.
    #[inline(always)]
    fn squares<W: Wide>(&self, wide: W, moments: &[i32; LANES], minimums: &Lanes) -> f64 {
        let (mut factors, minimums) = (ZEROS, wide.load(minimums));
        for g in 0..8 {
            (factors[g], factors[8 + g]) = (self.d[g] * self.d[g], 2.0 * self.d[g] * self.dmin[g]);
        }
        let products = wide.mul(wide.load(&factors), wide.whole(moments));
        wide.total(wide.fma(wide.mul(wide.splat(16.0), minimums), minimums, products))
    }
}
