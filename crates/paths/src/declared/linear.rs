//! `x Wᵀ + b` as declared: exactly decoded weights times activations as the path reads them.

use rayon::prelude::*;
use twinpath_engine::Tensor;
use twinpath_formats::Matrix;

use super::gemm::{CHUNK, LANES, Operand, Output, Rows};
use super::{Declared, Reading, UNIT, anatomy, gamma, quantise, rounds_when_decoded, spread};
use crate::simd::Isa;

/// Weight rows of one task.
const TASK: usize = 16;

/// `x Wᵀ + b` for each reading of `x`: `x [T, in]`, `weight [out, in]`, `bias [out]`, results `[T, out]`.
///
/// *Plain*: each weight is rounded once where the format has minimums; each of the `⌈in / 16⌉ + 4` additions that a term
/// passes through rounds, the bias once more. *Coded*: activations are `d q` exactly; per block the product of both
/// scales, at most the integer's conversion, and one addition round, then the joining of minimums and the bias. `f64`
/// itself errs by less than `in · 2⁻⁵³ Σ|w x|`, 2⁻²⁹ of the bounds and not counted.
pub fn evaluate(weight: Matrix<'_>, bias: Option<&[f32]>, x: &Tensor<f32>, readings: &[Reading]) -> Vec<Declared> {
    let (positions, outputs) = (x.rows(), weight.rows());
    let operands: Vec<Operand> = readings.iter().map(|r| operand(*r, x)).collect();
    let per_row = positions * readings.len();
    let mut made = vec![Output::default(); outputs * per_row];
    let isa = Isa::detect();
    if per_row > 0 {
        made.par_chunks_mut(TASK * per_row).enumerate().for_each(|(task, out)| {
            let first = task * TASK;
            let weight = weight.rows_of(first..first + out.len() / per_row);
            Rows { weight, operands: &operands, out }.run_on(isa);
        });
    }
    let mut declared: Vec<Declared> = readings.iter().map(|_| Declared::zeros(positions, outputs)).collect();
    for (k, declared) in declared.iter_mut().enumerate() {
        let roundings = roundings(readings[k], weight.cols());
        for t in 0..positions {
            for j in 0..outputs {
                let output = made[j * per_row + k * positions + t];
                let (value, s, b) = join(output, bias.map(|b| f64::from(b[j])), roundings, weight.cols());
                declared.set(t * outputs + j, value, s, b);
            }
        }
    }
    declared
}

/// Value, spread and bound of an output. Each of `cols` products may be subnormal.
fn join(output: Output, bias: Option<f64>, roundings: f64, cols: usize) -> (f64, f64, f64) {
    let value = output.value + bias.unwrap_or(0.0);
    let last = if bias.is_some() { value * value } else { 0.0 };
    let magnitude = output.magnitude + bias.map_or(0.0, f64::abs);
    let small = cols as f64 + roundings;
    (value, spread(output.squares + last, small), gamma(roundings) * magnitude + small * UNIT * super::TINY)
}

/// The most roundings that a term passes through.
fn roundings(reading: Reading, cols: usize) -> f64 {
    match reading {
        Reading::Plain => (1 + cols.div_ceil(LANES) + 4 + 1) as f64,
        Reading::Q8K => (cols.div_ceil(256) + 4) as f64,
        Reading::Q8_0 | Reading::Q8x32 => (cols.div_ceil(32) + 4) as f64,
    }
}

fn operand(reading: Reading, x: &Tensor<f32>) -> Operand {
    Operand::new(reading, x.rows(), x.cols(), |t, out| read(reading, x.row(t), out))
}

/// The activations of one position as `reading` has them.
pub fn read(reading: Reading, x: &[f32], out: &mut [f64]) {
    let block = match reading {
        Reading::Plain => {
            out.iter_mut().zip(x).for_each(|(out, x)| *out = f64::from(*x));
            return;
        }
        Reading::Q8K => CHUNK,
        Reading::Q8_0 | Reading::Q8x32 => 32,
    };
    for (x, out) in x.chunks(block).zip(out.chunks_mut(block)) {
        let coded = code(reading, x);
        for (out, q) in out.iter_mut().zip(&coded.q) {
            *out = f64::from(coded.d) * f64::from(*q);
        }
    }
}

/// One block of activations, coded.
pub(super) fn code(reading: Reading, x: &[f32]) -> quantise::Coded {
    match reading {
        Reading::Q8_0 => quantise::q8_0(x),
        Reading::Q8x32 => quantise::q8_32(x),
        Reading::Q8K | Reading::Plain => quantise::q8_k(x),
    }
}

/// Spread and bound of one output, rounding by rounding in the declared order; `x` is its position's activations.
pub fn exact(weight: Matrix<'_>, bias: Option<&[f32]>, x: &[f32], reading: Reading, row: usize) -> (f64, f64) {
    let cols = weight.cols();
    let (mut w, mut read_x) = (vec![0.0; cols], vec![0.0; cols]);
    weight.decode_row(row, &mut w);
    read(reading, x, &mut read_x);
    let output = match reading {
        Reading::Plain => plain(&w, &read_x, rounds_when_decoded(&weight)),
        Reading::Q8K => coded(&weight, row, &w, &read_x, 256),
        Reading::Q8_0 | Reading::Q8x32 => coded(&weight, row, &w, &read_x, 32),
    };
    let (_, spread, bound) = join(output, bias.map(|b| f64::from(b[row])), roundings(reading, cols), cols);
    (spread, bound)
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
