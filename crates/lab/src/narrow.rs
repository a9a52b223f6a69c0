//! Sums kept in a narrow type, term after term: what an engine does that accumulates in f16.

use twinpath_engine::{Op, Tensor};

use crate::change::Narrow;

type T32 = Tensor<f32>;

/// `op` with every partial sum rounded to `to`; `None` where it is no sum of products.
pub(crate) fn sums(op: &Op<'_>, inputs: &[&T32], to: Narrow) -> Option<T32> {
    match (op, inputs) {
        (Op::Linear { weight, bias }, [x]) => {
            let mut row = vec![0.0; weight.cols()];
            let mut made = Tensor::zeros(x.rows(), weight.rows());
            for j in 0..weight.rows() {
                weight.decode_row(j, &mut row);
                for t in 0..x.rows() {
                    let sum = dot(to, row.iter().copied().zip(x.row(t).iter().map(|x| f64::from(*x))));
                    let bias = bias.map_or(0.0, |b| f64::from(b[j]));
                    made.row_mut(t)[j] = to.round(sum + bias) as f32;
                }
            }
            Some(made)
        }
        (Op::Scores { heads, kv_heads, scale }, [q, k]) => {
            let dim = q.cols() / heads;
            let one = |t: usize, i: usize| {
                let (h, s) = (i / k.rows(), i % k.rows());
                let q = q.row(t)[h * dim..][..dim].iter().map(|x| f64::from(*x));
                let k = k.row(s)[h / (heads / kv_heads) * dim..][..dim].iter().map(|x| f64::from(*x));
                to.round(dot(to, q.zip(k)) * scale)
            };
            Some(fill(q.rows(), heads * k.rows(), one))
        }
        (Op::Mix { heads, kv_heads, mask }, [p, v]) => {
            let (keys, dim) = (p.cols() / heads, v.cols() / kv_heads);
            let one = |t: usize, i: usize| {
                let (h, channel) = (i / dim, i % dim);
                let term = |s: usize| {
                    let value = v.row(s)[h / (heads / kv_heads) * dim + channel];
                    (f64::from(p.row(t)[h * keys + s]), f64::from(value))
                };
                dot(to, mask.keys(t).map(term))
            };
            Some(fill(p.rows(), heads * dim, one))
        }
        _ => None,
    }
}

fn dot(to: Narrow, terms: impl Iterator<Item = (f64, f64)>) -> f64 {
    terms.fold(0.0, |sum, (a, b)| to.round(sum + a * b))
}

fn fill(rows: usize, cols: usize, one: impl Fn(usize, usize) -> f64) -> T32 {
    let all = (0..rows).flat_map(|t| (0..cols).map(move |i| (t, i)));
    Tensor::new(rows, cols, all.map(|(t, i)| one(t, i) as f32).collect())
}
