//! What a path promises: each operation in its declared semantics, evaluated in f64.
//!
//! Nothing here is shared with the kernels that are judged by it: decoding, coding of activations and dot products are
//! written anew from their definitions. Packed weights meet activations as whole numbers, whose sums are exact, and those
//! meet their scales in f64 (`products`); plain floats are summed in f64 (`gemm`). Of each value it says, beside the real
//! number that the declared arithmetic has without rounding, how far f32 roundings may carry a faithful implementation:
//!
//! * **spread** `= u √(Σ (g s)²)` over all roundings, where `s` is the size of what is rounded, `g` how strongly the result
//!   depends on it, and `u = 2⁻²⁴`. One rounding moves the result by `g s δ` with `|δ| <= u`. If the `δ` are independent
//!   with mean 0, Hoeffding's inequality gives `P(|error| > λ spread) <= 2 exp(-λ²/2)` for any operands: the
//!   *probabilistic* tolerance. If moreover mantissas are log-uniform, `E δ² = 0.1803 u²` (uniform error within half a unit
//!   in the last place, averaged over the mantissa), so that the standard deviation is [`SIGMA`] times the spread: the
//!   *calibrated* tolerance.
//! * **bound**: `γ Σ |terms|` or the operation's own first-order bound; no faithful implementation is beyond it
//!   (Higham 2002, ch. 3).
//!
//! The spread of a linear op is estimated, from sums after every 256 columns; [`linear::exact`] gives it
//! rounding by rounding for one output, for those whose residual asks for it.

pub mod anatomy;
pub mod blame;
mod digits;
mod dots;
pub mod foreign;
mod gemm;
mod lanes;
pub mod linear;
mod ops;
mod products;
mod quantise;
mod sheet;
mod state;
#[cfg(test)]
mod tests;
mod tile;
mod whole;

use rayon::prelude::*;
use twinpath_engine::{Op, Tensor};
use twinpath_formats::{Matrix, TensorType};

use crate::Path;

/// Unit roundoff of f32.
pub const UNIT: f64 = 1.0 / (1u64 << 24) as f64;

/// Standard deviation of a rounding error per unit of what is rounded, in units of [`UNIT`]: `√0.1803`.
pub const SIGMA: f64 = 0.4246;

/// The error of rounding to a subnormal, as a size: `2⁻¹⁵⁰ / u`.
const TINY: f64 = f32::MIN_POSITIVE as f64;

/// How a path reads the activations that meet weights of some format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// As they are: weights rounded once to f32, 16 partial sums by FMA, reduced by a tree of four levels.
    Plain,
    /// Coded as Q8_K, one scale per 256; one exact integer sum per block, then one FMA per block.
    Q8K,
    /// Coded as Q8_0, one scale per 32; one exact integer sum per block, then one FMA per block.
    Q8_0,
    /// Coded as Q8_0 with the scale left in f32; one exact integer sum per 32 values, then one FMA per 32.
    Q8x32,
}

impl Reading {
    /// Activations that share a scale, where they are coded.
    pub fn block(self) -> Option<usize> {
        match self {
            Reading::Plain => None,
            Reading::Q8K => Some(256),
            Reading::Q8_0 | Reading::Q8x32 => Some(32),
        }
    }
}

/// A value in its declared semantics.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// Token positions.
    pub rows: usize,
    /// Values per position.
    pub cols: usize,
    /// The values, row after row.
    pub value: Vec<f64>,
    /// The spread of each.
    pub spread: Vec<f64>,
    /// The rigorous bound of each.
    pub bound: Vec<f64>,
}

impl Declared {
    fn zeros(rows: usize, cols: usize) -> Declared {
        let zeros = || vec![0.0; rows * cols];
        Declared { rows, cols, value: zeros(), spread: zeros(), bound: zeros() }
    }

    fn set(&mut self, i: usize, value: f64, spread: f64, bound: f64) {
        (self.value[i], self.spread[i], self.bound[i]) = (value, spread, bound);
    }

    /// Sets every element to the value, spread and bound of its row and column, rows side by side.
    fn fill(&mut self, one: impl Fn(usize, usize) -> (f64, f64, f64) + Sync) {
        self.fill_rows(|t, [value, spread, bound]| {
            for i in 0..value.len() {
                (value[i], spread[i], bound[i]) = one(t, i);
            }
        });
    }

    /// Lets `row` set the values, spreads and bounds of each row.
    fn fill_rows(&mut self, row: impl Fn(usize, [&mut [f64]; 3]) + Sync) {
        let cols = self.cols.max(1);
        let rows =
            self.value.par_chunks_mut(cols).zip(self.spread.par_chunks_mut(cols)).zip(self.bound.par_chunks_mut(cols));
        rows.enumerate().for_each(|(t, ((value, spread), bound))| row(t, [value, spread, bound]));
    }
}

/// `γ_k = k u / (1 - k u)`.
#[inline(always)]
fn gamma(roundings: f64) -> f64 {
    roundings * UNIT / (1.0 - roundings * UNIT)
}

/// The spread of roundings whose sizes square to `squares`, each of `roundings` with an absolute error below that of a
/// subnormal.
#[inline(always)]
fn spread(squares: f64, roundings: f64) -> f64 {
    UNIT * (squares + roundings * TINY * TINY).sqrt()
}

/// How both paths read `x` where it meets weights of this type.
pub fn asked<'a>(
    own: &dyn Path,
    other: Option<&dyn Path>,
    tensor_type: TensorType,
    x: &'a Tensor<f32>,
) -> linear::Asked<'a> {
    let own = own.reading(tensor_type);
    let other = other.map(|path| path.reading(tensor_type)).filter(|other| *other != own);
    linear::Asked { x, own, other }
}

/// `op` on `inputs` as `own` declares it, and the values that `other` declares where that is something else. Weights are
/// read once for both.
///
/// # Panics
/// When the inputs are not those of the op.
pub fn evaluate(
    own: &dyn Path,
    other: Option<&dyn Path>,
    op: &Op<'_>,
    inputs: &[&Tensor<f32>],
) -> (Declared, Option<Vec<f64>>) {
    let Op::Linear { weight, bias } = *op else { return (ops::evaluate(op, inputs), None) };
    let mut made = linear::evaluate(weight, bias, &[asked(own, other, weight.tensor_type(), inputs[0])]);
    made.pop().unwrap_or_else(|| unreachable!("one was asked for"))
}

/// Whether the format's weights are rounded when they are decoded to f32: those with a minimum.
fn rounds_when_decoded(weight: &Matrix<'_>) -> bool {
    anatomy::has_minimum(weight.tensor_type())
}
