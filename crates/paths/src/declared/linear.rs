//! `x Wᵀ + b` as declared: exactly decoded weights times activations as the path reads them.

use rayon::prelude::*;
use twinpath_engine::Tensor;
use twinpath_formats::Matrix;

use super::digits;
use super::gemm::{LANES, Operand, Output, Rows};
use super::lanes::Wide;
use super::{Declared, Reading, TINY, UNIT, anatomy, gamma, products, quantise, rounds_when_decoded, spread, whole};
use crate::simd::Isa;

/// Weight rows of one task.
const TASK: usize = 16;

/// Activations of one side, and how they are read.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// `[T, in]`.
    pub x: &'a Tensor<f32>,
    /// As the side that is judged reads them.
    pub own: Reading,
    /// As the other side does, if that is another reading.
    pub other: Option<Reading>,
}

/// `x Wᵀ + b` as `own` reads `x`, and the values as `other` does, for each that is asked for: `weight [out, in]`, `bias
/// [out]`, results `[T, out]`. Weights are read once for all.
///
/// *Plain*: each weight is rounded once where the format has minimums; each of the `⌈in / 16⌉ + 4` additions that a term
/// passes through rounds, the bias once more. *Coded*: activations are `d q` exactly; per block the product of both
/// scales, at most the integer's conversion, and one addition round, then the joining of minimums and the bias. `f64`
/// itself errs by less than `in · 2⁻⁵³ Σ|w x|`, 2⁻²⁹ of the bounds and not counted; how exact plain activations are is
/// derived in `digits`.
pub fn evaluate(weight: Matrix<'_>, bias: Option<&[f32]>, asked: &[Asked<'_>]) -> Vec<(Declared, Option<Vec<f64>>)> {
    let readings =
        |asked: &Asked<'_>| -> Vec<Reading> { [Some(asked.own), asked.other].into_iter().flatten().collect() };
    if whole::most(weight.tensor_type()).is_none() {
        return asked.iter().map(|a| floats(weight, bias, a.x, &readings(a))).collect();
    }
    let isa = Isa::detect();
    let operand = |a: &Asked<'_>| digits::Operand::new(isa, weight.tensor_type(), a.x, &readings(a));
    products::evaluate(isa, weight, bias, &asked.iter().map(operand).collect::<Vec<_>>())
}

/// Plain float weights.
fn floats(
    weight: Matrix<'_>,
    bias: Option<&[f32]>,
    x: &Tensor<f32>,
    readings: &[Reading],
) -> (Declared, Option<Vec<f64>>) {
    let operands: Vec<Operand> = readings.iter().map(|r| operand(*r, x)).collect();
    let made = rows(weight, &operands);
    let output = |reading: usize, t: usize, row: usize| {
        let bias = bias.map(|b| f64::from(b[row]));
        let output = &made[(row * readings.len() + reading) * x.rows() + t];
        Join::new(readings[reading], bias, weight.cols()).of(output)
    };
    let mut own = Declared::zeros(x.rows(), weight.rows());
    own.fill(|t, row| output(0, t, row));
    let other = (readings.len() > 1).then(|| {
        let mut values = vec![0.0; x.rows() * weight.rows()];
        values.par_chunks_mut(weight.rows().max(1)).enumerate().for_each(|(t, values)| {
            values.iter_mut().enumerate().for_each(|(row, value)| *value = output(1, t, row).0);
        });
        values
    });
    (own, other)
}

/// All outputs in f64: of each row, for each operand, those of its positions.
pub(super) fn rows(weight: Matrix<'_>, operands: &[Operand]) -> Vec<Output> {
    let per_row: usize = operands.iter().map(|o| o.positions).sum();
    let mut made = vec![Output::default(); weight.rows() * per_row];
    let isa = Isa::detect();
    if per_row > 0 {
        made.par_chunks_mut(TASK * per_row).enumerate().for_each(|(task, out)| {
            let first = task * TASK;
            let weight = weight.rows_of(first..first + out.len() / per_row);
            Rows { weight, operands, out }.run_on(isa);
        });
    }
    made
}

/// What the outputs of one row and reading have in common.
pub(super) struct Join {
    bias: f64,
    has_bias: f64,
    gamma: f64,
    /// Roundings to a subnormal: each product may be one.
    small: f64,
}

impl Join {
    pub(super) fn new(reading: Reading, bias: Option<f64>, cols: usize) -> Join {
        let roundings = roundings(reading, cols);
        let has_bias = if bias.is_some() { 1.0 } else { 0.0 };
        Join { bias: bias.unwrap_or(0.0), has_bias, gamma: gamma(roundings), small: cols as f64 + roundings }
    }

    /// Value, spread and bound of an output.
    #[inline(always)]
    pub(super) fn of(&self, output: &Output) -> (f64, f64, f64) {
        let value = output.value + self.bias;
        let magnitude = output.magnitude + self.bias.abs();
        let spread = spread(output.squares + self.has_bias * value * value, self.small);
        (value, spread, self.gamma * magnitude + self.small * UNIT * TINY)
    }
}

impl Join {
    /// The same of sixteen outputs.
    #[inline(always)]
    pub(super) fn lanes<W: Wide>(&self, wide: W, dot: W::V, squares: W::V, magnitude: W::V) -> [W::V; 3] {
        let value = wide.add(dot, wide.splat(self.bias));
        let squares = wide.fma(wide.mul(wide.splat(self.has_bias), value), value, squares);
        let least = wide.splat(self.small * TINY * TINY);
        let spread = wide.mul(wide.splat(UNIT), wide.sqrt(wide.add(squares, least)));
        let magnitude = wide.add(magnitude, wide.splat(self.bias.abs()));
        let bound = wide.fma(wide.splat(self.gamma), magnitude, wide.splat(self.small * UNIT * TINY));
        [value, spread, bound]
    }
}

/// The most roundings that a term passes through.
fn roundings(reading: Reading, cols: usize) -> f64 {
    match reading {
        Reading::Plain => (1 + cols.div_ceil(LANES) + 4 + 1) as f64,
        Reading::Q8K => (cols.div_ceil(256) + 4) as f64,
        Reading::Q8_0 | Reading::Q8x32 => (cols.div_ceil(32) + 4) as f64,
    }
}

pub(super) fn operand(reading: Reading, x: &Tensor<f32>) -> Operand {
    Operand::new(reading, x.rows(), x.cols(), |t, out| read(reading, x.row(t), out))
}

/// The activations of one position as `reading` has them.
pub fn read(reading: Reading, x: &[f32], out: &mut [f64]) {
    let Some(block) = reading.block() else {
        out.iter_mut().zip(x).for_each(|(out, x)| *out = f64::from(*x));
        return;
    };
    for (x, out) in x.chunks(block).zip(out.chunks_mut(block)) {
        let coded = code::<1>(reading, x.as_chunks().0);
        for (out, [q]) in out.iter_mut().zip(&coded.q) {
            *out = f64::from(coded.d[0]) * f64::from(*q);
        }
    }
}

/// One block of activations of each of `N` positions, coded.
#[inline(always)]
pub(super) fn code<const N: usize>(reading: Reading, x: &[[f32; N]]) -> quantise::Coded<N> {
    match reading {
        Reading::Q8_0 => quantise::q8_0(x),
        Reading::Q8x32 => quantise::q8_32(x),
        Reading::Q8K | Reading::Plain => quantise::q8_k(x),
    }
}

/// Value, spread and bound of one output in f64, rounding by rounding in the declared order; `x` is its position's
/// activations.
pub fn exact(weight: Matrix<'_>, bias: Option<&[f32]>, x: &[f32], reading: Reading, row: usize) -> (f64, f64, f64) {
    let cols = weight.cols();
    let (mut w, mut read_x) = (vec![0.0; cols], vec![0.0; cols]);
    weight.decode_row(row, &mut w);
    read(reading, x, &mut read_x);
    let output = match reading {
        Reading::Plain => plain(&w, &read_x, rounds_when_decoded(&weight)),
        Reading::Q8K => coded(&weight, row, &w, &read_x, 256),
        Reading::Q8_0 | Reading::Q8x32 => coded(&weight, row, &w, &read_x, 32),
    };
    Join::new(reading, bias.map(|b| f64::from(b[row])), cols).of(&output)
}

fn plain(w: &[f64], x: &[f64], rounded: bool) -> Output {
    let mut lanes = [0.0; LANES];
    let (mut squares, mut magnitude) = (0.0, 0.0);
    for (i, (w, x)) in w.iter().zip(x).enumerate() {
        let term = w * x;
        magnitude += term.abs();
        lanes[i % LANES] += term;
        squares += lanes[i % LANES] * lanes[i % LANES] + if rounded { term * term } else { 0.0 };
    }
    for width in [8, 4, 2, 1] {
        for l in 0..width {
            lanes[l] += lanes[l + width];
            squares += lanes[l] * lanes[l];
        }
    }
    Output { value: lanes[0], squares, magnitude }
}

fn coded(weight: &Matrix<'_>, row: usize, w: &[f64], x: &[f64], step: usize) -> Output {
    let format = weight.format();
    let bytes = weight.row(row).chunks_exact(format.block_bytes());
    let block = format.block_len();
    let mut mins = vec![0.0; block / LANES];
    let (mut acc, mut accm, mut squares, mut magnitude) = (0.0, 0.0, 0.0, 0.0);
    for ((bytes, w), x) in bytes.zip(w.chunks(block)).zip(x.chunks(block)) {
        anatomy::minimums(weight.tensor_type(), bytes, &mut mins);
        for ((w, x), mins) in w.chunks(step).zip(x.chunks(step)).zip(mins.chunks(step / LANES)) {
            let minimum: f64 = mins.iter().zip(x.chunks(LANES)).map(|(m, x)| m * x.iter().sum::<f64>()).sum();
            let codes = w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() - minimum;
            acc += codes;
            accm += minimum;
            squares += 2.0 * (codes * codes + minimum * minimum) + acc * acc + accm * accm;
            magnitude += codes.abs() + minimum.abs();
        }
    }
    let value = acc + accm;
    Output { value, squares: squares + value * value, magnitude }
}
