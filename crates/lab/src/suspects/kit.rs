//! What several suspects need.

use twinpath_engine::op::Mask;
use twinpath_engine::{Op, Rope, Tensor};
use twinpath_formats::{Matrix, TensorType};

use crate::change::{Change, rows};

/// Weights made otherwise, by a function of the right ones; for linear ops and embeddings.
pub(super) fn weights(
    parameter: impl Into<String>,
    make: impl Fn(&Matrix<'_>) -> (TensorType, Vec<u8>) + Send + Sync + 'static,
) -> Change {
    Change::op(parameter, move |op, x, then| {
        let n = rows(op, x);
        match *op {
            Op::Linear { weight, bias } => {
                let (tensor_type, bytes) = make(&weight);
                then(0..n, &Op::Linear { weight: view(tensor_type, &weight, &bytes), bias }, x);
            }
            Op::Embed { table, tokens } => {
                let (tensor_type, bytes) = make(&table);
                then(0..n, &Op::Embed { table: view(tensor_type, &table, &bytes), tokens }, x);
            }
            _ => then(0..n, op, x),
        }
    })
}

fn view<'b>(tensor_type: TensorType, shape: &Matrix<'_>, bytes: &'b [u8]) -> Matrix<'b> {
    Matrix::new(tensor_type, shape.rows(), shape.cols(), bytes)
        .unwrap_or_else(|e| unreachable!("made for this shape: {e}"))
}

/// The weights of a linear op or an embedding.
pub(super) fn weight_of<'a>(op: &Op<'a>) -> Option<Matrix<'a>> {
    match *op {
        Op::Linear { weight, .. } | Op::Embed { table: weight, .. } => Some(weight),
        _ => None,
    }
}

/// Other weights of the same shape, with the bias that is theirs.
pub(super) fn replaced(parameter: impl Into<String>, weight: Matrix<'_>, bias: Option<&[f32]>) -> Change {
    let (tensor_type, bytes, bias) = (weight.tensor_type(), weight.bytes().to_vec(), bias.map(<[f32]>::to_vec));
    Change::op(parameter, move |op, x, then| match *op {
        Op::Linear { weight, .. } => {
            let weight = view(tensor_type, &weight, &bytes);
            then(0..rows(op, x), &Op::Linear { weight, bias: bias.as_deref() }, x);
        }
        Op::Embed { table, tokens } => {
            then(0..tokens.len(), &Op::Embed { table: view(tensor_type, &table, &bytes), tokens }, x);
        }
        _ => then(0..rows(op, x), op, x),
    })
}

/// The same weights in other rows: row `i` of the result is row `order[i]`; biases move along.
pub(super) fn in_order(parameter: impl Into<String>, order: Vec<usize>) -> Change {
    Change::op(parameter, move |op, x, then| {
        let Op::Linear { weight, bias } = *op else { return then(0..rows(op, x), op, x) };
        let bytes: Vec<u8> = order.iter().flat_map(|i| weight.row(*i).iter().copied()).collect();
        let bias: Option<Vec<f32>> = bias.map(|b| order.iter().map(|i| b[*i]).collect());
        let weight = view(weight.tensor_type(), &weight, &bytes);
        then(0..x[0].rows(), &Op::Linear { weight, bias: bias.as_deref() }, x);
    })
}

/// Every weight, row after row.
pub(super) fn decoded(weight: &Matrix<'_>) -> Vec<f64> {
    let mut all = vec![0.0; weight.rows() * weight.cols()];
    all.chunks_exact_mut(weight.cols().max(1)).enumerate().for_each(|(i, row)| weight.decode_row(i, row));
    all
}

/// As plain f32.
pub(super) fn plain(values: impl Iterator<Item = f64>) -> (TensorType, Vec<u8>) {
    (TensorType::F32, values.flat_map(|x| (x as f32).to_le_bytes()).collect())
}

/// RoPE with another table.
pub(super) fn rope(parameter: impl Into<String>, table: Rope) -> Change {
    Change::op(parameter, move |op, x, then| match *op {
        Op::Rope { heads, start, .. } => then(0..x[0].rows(), &Op::Rope { rope: &table, heads, start }, x),
        _ => then(0..rows(op, x), op, x),
    })
}

/// The base of the frequencies `s θ^(-2i/n)` of a table, and `s`: from the first two pairs, which no banded scaling touches.
pub(super) fn theta(rope: &Rope) -> Option<(f64, f64)> {
    let [first, second, ..] = rope.frequencies[..] else { return None };
    let n = 2.0 * rope.frequencies.len() as f64;
    Some((libm::pow(first / second, n / 2.0), first))
}

/// Attention with another mask.
pub(super) fn masked(parameter: impl Into<String>, f: impl Fn(Mask) -> Mask + Send + Sync + 'static) -> Change {
    Change::op(parameter, move |op, x, then| match *op {
        Op::Softmax { heads, mask } => then(0..x[0].rows(), &Op::Softmax { heads, mask: f(mask) }, x),
        Op::Mix { heads, kv_heads, mask } => then(0..x[0].rows(), &Op::Mix { heads, kv_heads, mask: f(mask) }, x),
        _ => then(0..rows(op, x), op, x),
    })
}

/// A norm with other weights and eps.
pub(super) fn norm(
    parameter: impl Into<String>,
    f: impl Fn(&[f32], f64) -> (Vec<f32>, f64) + Send + Sync + 'static,
) -> Change {
    Change::op(parameter, move |op, x, then| match *op {
        Op::Norm { weight, eps } => {
            let (weight, eps) = f(weight, eps);
            then(0..x[0].rows(), &Op::Norm { weight: &weight, eps }, x);
        }
        _ => then(0..rows(op, x), op, x),
    })
}

/// The op on a first input made otherwise.
pub(super) fn on(
    parameter: impl Into<String>,
    f: impl Fn(&Op<'_>, &Tensor<f32>) -> Tensor<f32> + Send + Sync + 'static,
) -> Change {
    Change::op(parameter, move |op, x, then| {
        let first = f(op, x[0]);
        let inputs: Vec<&Tensor<f32>> = [&first].into_iter().chain(x[1..].iter().copied()).collect();
        then(0..first.rows(), op, &inputs);
    })
}

/// The op on a second input made otherwise.
pub(super) fn on_second(
    parameter: impl Into<String>,
    f: impl Fn(&Tensor<f32>) -> Tensor<f32> + Send + Sync + 'static,
) -> Change {
    Change::op(parameter, move |op, x, then| then(0..x[0].rows(), op, &[x[0], &f(x[1])]))
}

/// Every value of a tensor through a function.
pub(super) fn each(x: &Tensor<f32>, f: impl Fn(f32) -> f32) -> Tensor<f32> {
    Tensor::new(x.rows(), x.cols(), x.data().iter().map(|x| f(*x)).collect())
}

/// The factor `<value, declared> / ‖declared‖²`.
pub(super) fn factor(scene: &super::Scene<'_>) -> Option<f64> {
    let found = scene.found?;
    let pairs = || found.value.data().iter().zip(&found.own.declared.value).map(|(v, d)| (f64::from(*v), *d));
    let (along, norm) = (pairs().map(|(v, d)| v * d).sum::<f64>(), pairs().map(|(_, d)| d * d).sum::<f64>());
    Some(along / norm).filter(|f| f.is_finite() && *f != 0.0)
}

/// A number as people write it: at most six digits.
pub(super) fn word(x: f64) -> String {
    let short: f64 = format!("{x:.5e}").parse().unwrap_or(x);
    if short.abs() >= 1e6 || (short != 0.0 && short.abs() < 1e-3) { format!("{short:e}") } else { format!("{short}") }
}
