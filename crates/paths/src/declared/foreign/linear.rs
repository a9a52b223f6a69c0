//! `x Wᵀ + b` in any order.

use rayon::prelude::*;
use twinpath_engine::Tensor;
use twinpath_formats::Matrix;

use super::{AnyOrder, Element, Read, Sum, TINY, UNIT, gamma, spread, stored};
use crate::declared::{Reading, anatomy, linear};
use crate::simd::{Isa, Kernel};

/// Positions whose sums are made together.
const TILE: usize = 8;
/// Weight rows of one task.
const TASK: usize = 16;
/// Partial sums that an integer kernel keeps of one block at most: the lanes of one 512-bit register of 32-bit sums.
const KEPT: f64 = 16.0;

/// Activations of up to [`TILE`] positions, column by column.
type Tile = Vec<[f64; TILE]>;

/// `x [T, in]`, `weight [out, in]`, `bias [out]`: `[T, out]`.
///
/// Floats: `n` products, of weights rounded once, in at most `n` additions, then the bias. Coded: integer sums are exact;
/// an engine keeps up to [`KEPT`] partial sums a block, each scaled by a product of two scales and added, codes and
/// minimums apart.
pub(super) fn evaluate(weight: Matrix<'_>, bias: Option<&[f32]>, x: &Tensor<f32>, read: Read) -> AnyOrder {
    let (positions, outputs) = (x.rows(), weight.rows());
    let tiles: Vec<Tile> = (0..positions).step_by(TILE).map(|t| tile(x, t, read)).collect();
    let stride = tiles.len() * TILE;
    let mut sums = vec![[Sum::default(); 2]; outputs * stride];
    if stride > 0 {
        let isa = Isa::detect();
        sums.par_chunks_mut(TASK * stride).enumerate().for_each(|(task, out)| {
            let weight = weight.rows_of(task * TASK..task * TASK + out.len() / stride);
            isa.run(Rows { weight, tiles: &tiles, apart: read != Read::Float(super::Kv::F32) && is_coded(read), out });
        });
    }
    let cols = weight.cols() as f64;
    let mut made = AnyOrder::zeros(positions, outputs);
    for t in 0..positions {
        for j in 0..outputs {
            let bias = bias.map_or(0.0, |b| f64::from(b[j]));
            made.set(t * outputs + j, join(&sums[j * stride + t], bias, read, cols));
        }
    }
    made
}

fn is_coded(read: Read) -> bool {
    !matches!(read, Read::Float(_))
}

fn tile(x: &Tensor<f32>, first: usize, read: Read) -> Tile {
    let mut tile = vec![[0.0; TILE]; x.cols()];
    let mut row = vec![0.0; x.cols()];
    for t in first..x.rows().min(first + TILE) {
        match read {
            Read::Float(kind) => row.iter_mut().zip(x.row(t)).for_each(|(out, x)| *out = stored(kind, *x)),
            Read::Coded(reading) => linear::read(reading, x.row(t), &mut row),
            Read::Q8_1 => linear::read(Reading::Q8_0, x.row(t), &mut row),
        }
        for (column, x) in tile.iter_mut().zip(&row) {
            column[t - first] = *x;
        }
    }
    tile
}

/// Codes and minimums of one output, joined.
fn join(parts: &[Sum; 2], bias: f64, read: Read, cols: f64) -> Element {
    let block = match read {
        Read::Float(_) => 1.0,
        Read::Coded(Reading::Q8K) => 256.0,
        Read::Coded(_) | Read::Q8_1 => 32.0,
    };
    let (additions, products) = match read {
        Read::Float(_) => (cols, 2.0),
        // A kept sum of `block / KEPT` terms squares to at most that many times its terms' squares.
        _ => ((KEPT * (cols / block).ceil() + KEPT).min(cols), 2.0 * (block / KEPT)),
    };
    let value = parts[0].value + parts[1].value + bias;
    let of_parts: f64 = parts.iter().map(|s| s.additions() * additions / cols + products * s.squares).sum();
    let magnitude = parts[0].magnitude + parts[1].magnitude + bias.abs();
    let roundings = additions + products + 3.0;
    let small = cols + roundings;
    // The sum of a block that meets a minimum is rounded to f16 and has a scale of f32, not of f16: 2 · 2⁻¹¹ of it.
    let halves = if read == Read::Q8_1 { 2.0 * parts[1].magnitude * f64::exp2(13.0) } else { 0.0 };
    Element {
        value,
        spread: spread(of_parts + 2.0 * value * value + halves * halves, small),
        sure: UNIT * (roundings.sqrt() * magnitude + halves) + spread(0.0, small),
        bound: gamma(roundings) * magnitude + UNIT * halves + small * UNIT * TINY,
    }
}

/// `out[row * stride + t]`: sums of the codes, or of all, and of the minimums where they are summed apart.
struct Rows<'a> {
    weight: Matrix<'a>,
    tiles: &'a [Tile],
    apart: bool,
    out: &'a mut [[Sum; 2]],
}

impl Kernel for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let stride = self.tiles.len() * TILE;
        let with_minimum = self.apart && anatomy::has_minimum(self.weight.tensor_type());
        let mut w = vec![0.0; self.weight.cols()];
        let mut mins = vec![0.0; if with_minimum { w.len() } else { 0 }];
        for (i, out) in self.out.chunks_exact_mut(stride.max(1)).enumerate() {
            self.weight.decode_row(i, &mut w);
            if with_minimum {
                minimums(&self.weight, i, &mut mins);
                w.iter_mut().zip(&mins).for_each(|(w, m)| *w -= m);
            }
            for (tile, out) in self.tiles.iter().zip(out.as_chunks_mut::<TILE>().0) {
                let (codes, minimums) = (sums(&w, tile), sums(&mins, tile));
                for (out, (codes, minimums)) in out.iter_mut().zip(codes.into_iter().zip(minimums)) {
                    *out = [codes, minimums];
                }
            }
        }
    }
}

/// The minimum of each weight of a row.
fn minimums(weight: &Matrix<'_>, row: usize, out: &mut [f64]) {
    let format = weight.format();
    let mut groups = vec![0.0; format.block_len() / 16];
    let blocks = weight.row(row).chunks_exact(format.block_bytes());
    for (block, out) in blocks.zip(out.chunks_exact_mut(format.block_len())) {
        anatomy::minimums(weight.tensor_type(), block, &mut groups);
        out.chunks_exact_mut(16).zip(&groups).for_each(|(out, m)| out.fill(*m));
    }
}

#[inline(always)]
fn sums(w: &[f64], x: &[[f64; TILE]]) -> [Sum; TILE] {
    let zero = [0.0; TILE];
    let (mut value, mut magnitude, mut squares, mut partial, mut partial_squares) = (zero, zero, zero, zero, zero);
    for (w, x) in w.iter().zip(x) {
        for t in 0..TILE {
            let p = w * x[t];
            value[t] += p;
            magnitude[t] += p.abs();
            squares[t] += p * p;
            partial[t] += value[t];
            partial_squares[t] += value[t] * value[t];
        }
    }
    let terms = w.len() as f64;
    std::array::from_fn(|t| Sum {
        terms,
        value: value[t],
        magnitude: magnitude[t],
        squares: squares[t],
        partial: partial[t],
        partial_squares: partial_squares[t],
    })
}
