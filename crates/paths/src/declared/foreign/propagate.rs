//! How far an uncertainty of an input reaches into the value: for inputs that were not recorded.

use twinpath_engine::{Mask, Op, Pairing, Rope, Tensor};

type T32 = Tensor<f32>;

/// What `of_input`, one tolerance for each element of input `which`, makes of each element of the value: `Σ |∂y/∂x| tol`, to
/// first order. Errors of elements of one input may depend on each other in any way: the root sum of squares of a sum is at
/// most the sum of the roots (Minkowski), so that the absolute sum holds for spreads as for bounds.
///
/// `None` for a linear op and an embedding: coded activations may take another code, and then nothing follows.
///
/// # Panics
/// When the inputs are not those of the op.
pub fn propagate(op: &Op<'_>, inputs: &[&T32], which: usize, of_input: &[f64]) -> Option<Vec<f64>> {
    let tol = |cols: usize| move |t: usize, i: usize| of_input[t * cols + i];
    Some(match (*op, inputs) {
        (Op::Linear { .. } | Op::Embed { .. }, _) => return None,
        (Op::Add, _) => of_input.to_vec(),
        (Op::Multiply, [x, y]) => {
            let other = if which == 0 { y } else { x };
            other.data().iter().zip(of_input).map(|(y, tol)| f64::from(*y).abs() * tol).collect()
        }
        // The slope of SiLU is largest at 2.4: 1.0998.
        (Op::Silu, _) => of_input.iter().map(|tol| 1.1 * tol).collect(),
        (Op::Norm { weight, eps }, [x]) => norm(weight, eps, x, of_input),
        (Op::Rope { rope, heads, start }, [x]) => rotate(rope, heads, start, x, of_input),
        (Op::Scores { heads, kv_heads, scale }, [q, k]) => {
            let (dim, keys) = (q.cols() / heads, k.rows());
            each(q.rows(), heads * keys, |t, i| {
                let (from_q, s) = (i / keys * dim, i % keys);
                let from_k = i / keys / (heads / kv_heads) * dim;
                let term = |c: usize| match which {
                    0 => tol(q.cols())(t, from_q + c) * f64::from(k.row(s)[from_k + c]).abs(),
                    _ => tol(k.cols())(s, from_k + c) * f64::from(q.row(t)[from_q + c]).abs(),
                };
                scale.abs() * (0..dim).map(term).sum::<f64>()
            })
        }
        (Op::Softmax { heads, mask }, [s]) => softmax(heads, mask, s, of_input),
        (Op::Mix { heads, kv_heads, mask }, [p, v]) => {
            let (keys, dim) = (p.cols() / heads, v.cols() / kv_heads);
            each(p.rows(), heads * dim, |t, i| {
                let (h, channel) = (i / dim, i % dim);
                let at = h / (heads / kv_heads) * dim + channel;
                let term = |s: usize| match which {
                    0 => tol(p.cols())(t, h * keys + s) * f64::from(v.row(s)[at]).abs(),
                    _ => tol(v.cols())(s, at) * f64::from(p.row(t)[h * keys + s]).abs(),
                };
                mask.keys(t).map(term).sum()
            })
        }
        (op, inputs) => unreachable!("{op:?} does not take {} inputs", inputs.len()),
    })
}

fn each(rows: usize, cols: usize, one: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    (0..rows * cols).map(|i| one(i / cols, i % cols)).collect()
}

/// `y = x f w` with `f = (Σx²/n + eps)^-½`: the element itself, and all of its group through `f`.
fn norm(weight: &[f32], eps: f64, x: &T32, of_input: &[f64]) -> Vec<f64> {
    let n = weight.len();
    let mut out = Vec::with_capacity(of_input.len());
    for (x, tol) in x.data().chunks_exact(n).zip(of_input.chunks_exact(n)) {
        let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / n as f64 + eps;
        let f = 1.0 / mean.sqrt();
        let of_mean: f64 = x.iter().zip(tol).map(|(x, tol)| f64::from(*x).abs() * tol).sum::<f64>() / n as f64;
        let one = |((x, tol), w): ((&f32, &f64), &f32)| {
            f64::from(*w).abs() * f * (tol + f64::from(*x).abs() * f * f * of_mean)
        };
        out.extend(x.iter().zip(tol).zip(weight).map(one));
    }
    out
}

fn rotate(rope: &Rope, heads: usize, start: usize, x: &T32, of_input: &[f64]) -> Vec<f64> {
    let (dim, pairs) = (x.cols() / heads, rope.frequencies.len());
    let mut out = of_input.to_vec();
    for t in 0..x.rows() {
        for (i, frequency) in rope.frequencies.iter().enumerate() {
            let angle = (start + t) as f64 * frequency;
            let (c, s) = (libm::cos(angle).abs() * rope.magnitude, libm::sin(angle).abs() * rope.magnitude);
            for at in (0..heads).map(|head| t * x.cols() + head * dim) {
                let (a, b) = match rope.pairing {
                    Pairing::Adjacent => (at + 2 * i, at + 2 * i + 1),
                    Pairing::HalfSplit => (at + i, at + i + pairs),
                };
                (out[a], out[b]) = (c * of_input[a] + s * of_input[b], s * of_input[a] + c * of_input[b]);
            }
        }
    }
    out
}

/// `∂p_i/∂s_j = p_i (δ_ij - p_j)`.
fn softmax(heads: usize, mask: Mask, s: &T32, of_input: &[f64]) -> Vec<f64> {
    let keys = s.cols() / heads;
    let mut out = vec![0.0; of_input.len()];
    for t in 0..s.rows() {
        let tol = |i: usize| of_input[t * s.cols() + i];
        for at in (0..heads).map(|h| h * keys) {
            let admitted = || mask.keys(t).map(|key| at + key);
            let max = admitted().map(|i| f64::from(s.row(t)[i])).fold(f64::NEG_INFINITY, f64::max);
            let e = |i: usize| libm::exp(f64::from(s.row(t)[i]) - max);
            let z: f64 = admitted().map(e).sum();
            let mean: f64 = admitted().map(|i| e(i) / z * tol(i)).sum();
            admitted().for_each(|i| out[t * s.cols() + i] = e(i) / z * (tol(i) + mean));
        }
    }
    out
}
