//! The f64 reference: every operation as its definition reads, on exactly decoded weights.
//!
//! It shares no arithmetic with any path. A linear output is summed in 8 lanes (element `i` goes to lane `i mod 8`), the
//! lanes in order; every other sum runs in index order. exp, sin and cos are those of the `libm` crate, so that the bits
//! do not depend on the platform's C library.

use rayon::prelude::*;
use twinpath_formats::Matrix;

use crate::numerics::Numerics;
use crate::op::{Mask, Op, Pairing, Rope};
use crate::site::Site;
use crate::tensor::Tensor;

/// The f64 reference arithmetic.
#[derive(Debug, Clone, Copy, Default)]
pub struct Oracle;

type T64 = Tensor<f64>;

impl Numerics for Oracle {
    type Elem = f64;

    fn name(&self) -> &'static str {
        "oracle"
    }

    fn eval(&self, _: Site, op: &Op<'_>, inputs: &[&T64]) -> T64 {
        match (op, inputs) {
            (Op::Embed { table, tokens }, []) => embed(table, tokens),
            (Op::Linear { weight, bias }, [x]) => linear(weight, *bias, x),
            (Op::Norm { weight, eps }, [x]) => norm(weight, *eps, x),
            (Op::Rope { rope, heads, start }, [x]) => rotate(rope, *heads, *start, x),
            (Op::Scores { heads, kv_heads, scale }, [q, k]) => scores(*heads, *kv_heads, *scale, q, k),
            (Op::Softmax { heads, mask }, [s]) => softmax(*heads, *mask, s),
            (Op::Mix { heads, kv_heads, mask }, [p, v]) => mix(*heads, *kv_heads, *mask, p, v),
            (Op::Silu, [x]) => map(x, |x| x / (1.0 + libm::exp(-x))),
            (Op::Multiply, [x, y]) => zip(x, y, |x, y| x * y),
            (Op::Add, [x, y]) => zip(x, y, |x, y| x + y),
            (op, inputs) => unreachable!("{op:?} does not take {} inputs", inputs.len()),
        }
    }
}

fn embed(table: &Matrix<'_>, tokens: &[u32]) -> T64 {
    let mut y = T64::zeros(tokens.len(), table.cols());
    for (t, token) in tokens.iter().enumerate() {
        table.decode_row(*token as usize, y.row_mut(t));
    }
    y
}

/// Weight rows that one task decodes and multiplies.
const TILE: usize = 16;

fn linear(weight: &Matrix<'_>, bias: Option<&[f32]>, x: &T64) -> T64 {
    let (rows, out) = (x.rows(), weight.rows());
    // Output-major, so that each task owns a contiguous piece; transposed once at the end.
    let mut by_output = vec![0.0; out * rows];
    by_output.par_chunks_mut(TILE * rows.max(1)).enumerate().for_each(|(tile, piece)| {
        let mut w = vec![0.0; weight.cols()];
        for (i, piece) in piece.chunks_exact_mut(rows).enumerate() {
            let o = tile * TILE + i;
            weight.decode_row(o, &mut w);
            let bias = bias.map_or(0.0, |b| f64::from(b[o]));
            let (pairs, last) = piece.as_chunks_mut::<2>();
            for (t, pair) in pairs.iter_mut().enumerate() {
                *pair = dots(&w, [x.row(2 * t), x.row(2 * t + 1)]).map(|dot| dot + bias);
            }
            if let [last] = last {
                *last = dot(&w, x.row(rows - 1)) + bias;
            }
        }
    });
    let mut y = T64::zeros(rows, out);
    for t in 0..rows {
        for (o, y) in y.row_mut(t).iter_mut().enumerate() {
            *y = by_output[o * rows + t];
        }
    }
    y
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    dots(a, [b])[0]
}

/// The dots of `w` with some rows, each in its lanes: one reads `w` for the others, and their sums do not wait for each
/// other.
fn dots<const N: usize>(w: &[f64], x: [&[f64]; N]) -> [f64; N] {
    let mut lanes = [[0.0; 8]; N];
    let (w8, tail) = w.as_chunks::<8>();
    let x8 = x.map(|x| &x.as_chunks::<8>().0[..w8.len()]);
    for (i, w) in w8.iter().enumerate() {
        for (lanes, x) in lanes.iter_mut().zip(x8) {
            for l in 0..8 {
                lanes[l] += w[l] * x[i][l];
            }
        }
    }
    let whole = w.len() - tail.len();
    for (lanes, x) in lanes.iter_mut().zip(x) {
        for (l, (w, x)) in tail.iter().zip(&x[whole..]).enumerate() {
            lanes[l] += w * x;
        }
    }
    lanes.map(|lanes| lanes.iter().sum())
}

fn norm(weight: &[f32], eps: f64, x: &T64) -> T64 {
    let mut y = x.clone();
    for group in y.data_mut().chunks_exact_mut(weight.len()) {
        let mean_square = group.iter().map(|x| x * x).sum::<f64>() / group.len() as f64;
        let scale = 1.0 / (mean_square + eps).sqrt();
        for (x, w) in group.iter_mut().zip(weight) {
            *x = *x * scale * f64::from(*w);
        }
    }
    y
}

fn rotate(rope: &Rope, heads: usize, start: usize, x: &T64) -> T64 {
    let mut y = x.clone();
    let pairs = rope.frequencies.len();
    for t in 0..x.rows() {
        for head in y.row_mut(t).chunks_exact_mut(x.cols() / heads) {
            for (i, frequency) in rope.frequencies.iter().enumerate() {
                let angle = (start + t) as f64 * frequency;
                let (sin, cos) = (libm::sin(angle) * rope.magnitude, libm::cos(angle) * rope.magnitude);
                let (a, b) = match rope.pairing {
                    Pairing::Adjacent => (2 * i, 2 * i + 1),
                    Pairing::HalfSplit => (i, i + pairs),
                };
                (head[a], head[b]) = (head[a] * cos - head[b] * sin, head[a] * sin + head[b] * cos);
            }
        }
    }
    y
}

fn scores(heads: usize, kv_heads: usize, scale: f64, q: &T64, k: &T64) -> T64 {
    let (dim, keys) = (q.cols() / heads, k.rows());
    let mut y = T64::zeros(q.rows(), heads * keys);
    y.data_mut().par_chunks_mut((heads * keys).max(1)).enumerate().for_each(|(t, row)| {
        for h in 0..heads {
            let q = &q.row(t)[h * dim..(h + 1) * dim];
            let kv = h / (heads / kv_heads);
            for s in 0..keys {
                row[h * keys + s] = scale * dot(q, &k.row(s)[kv * dim..(kv + 1) * dim]);
            }
        }
    });
    y
}

fn softmax(heads: usize, mask: Mask, s: &T64) -> T64 {
    let keys = s.cols() / heads;
    let mut y = T64::zeros(s.rows(), s.cols());
    for t in 0..s.rows() {
        for h in 0..heads {
            let s = &s.row(t)[h * keys..][mask.keys(t)];
            let y = &mut y.row_mut(t)[h * keys..][mask.keys(t)];
            let max = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            for (y, s) in y.iter_mut().zip(s) {
                *y = libm::exp(s - max);
            }
            let sum: f64 = y.iter().sum();
            y.iter_mut().for_each(|y| *y /= sum);
        }
    }
    y
}

fn mix(heads: usize, kv_heads: usize, mask: Mask, p: &T64, v: &T64) -> T64 {
    let (keys, dim) = (p.cols() / heads, v.cols() / kv_heads);
    let mut y = T64::zeros(p.rows(), heads * dim);
    y.data_mut().par_chunks_mut((heads * dim).max(1)).enumerate().for_each(|(t, row)| {
        for (h, y) in row.chunks_exact_mut(dim).enumerate() {
            let kv = h / (heads / kv_heads);
            for s in mask.keys(t) {
                let p = p.row(t)[h * keys + s];
                for (y, v) in y.iter_mut().zip(&v.row(s)[kv * dim..]) {
                    *y += p * v;
                }
            }
        }
    });
    y
}

fn map(x: &T64, f: impl Fn(f64) -> f64) -> T64 {
    T64::new(x.rows(), x.cols(), x.data().iter().map(|x| f(*x)).collect())
}

fn zip(x: &T64, y: &T64, f: impl Fn(f64, f64) -> f64) -> T64 {
    let pairs = x.data().iter().zip(y.data());
    T64::new(x.rows(), x.cols(), pairs.map(|(x, y)| f(*x, *y)).collect())
}
