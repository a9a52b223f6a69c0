//! Linear ops on a model's weights: both paths, the rounding of activations, and what it does.

use twinpath_engine::{Model, Numerics, Op, Oracle, Point, Site, Tensor};
use twinpath_formats::{Matrix, TensorType};

use super::fixture::BLOCK;

/// Linear weights of a layer and the point that they read.
pub(crate) const LINEARS: &[(&str, Point)] = &[
    ("attn_q", Point::AttnNorm),
    ("attn_k", Point::AttnNorm),
    ("attn_v", Point::AttnNorm),
    ("attn_output", Point::AttnCtx),
    ("ffn_gate", Point::FfnNorm),
    ("ffn_up", Point::FfnNorm),
    ("ffn_down", Point::FfnSwiglu),
];

/// A weight of a layer, without its bias.
pub(crate) fn weight<'m>(model: &'m Model, layer: usize, name: &str) -> Matrix<'m> {
    model.matrix(&format!("blk.{layer}.{name}.weight"))
}

/// `x Wᵀ` along one arithmetic.
pub(crate) fn linear<N: Numerics + ?Sized>(numerics: &N, weight: Matrix<'_>, x: &Tensor<N::Elem>) -> Tensor<N::Elem> {
    numerics.eval(Site::block(0, Point::FfnDown), &Op::Linear { weight, bias: None }, &[x])
}

/// `x Wᵀ` in f64 on exactly decoded weights.
pub(crate) fn exact(weight: Matrix<'_>, x: &Tensor<f64>) -> Tensor<f64> {
    linear(&Oracle, weight, x)
}

/// Whether path B codes activations with one scale per 256 for these weights.
pub(crate) fn is_wide(weight: &Matrix<'_>) -> bool {
    weight.format().block_len() == BLOCK
}

/// Where a format of 256-wide blocks keeps its f16 scale.
pub(crate) fn scale_offset(tensor_type: TensorType) -> Option<usize> {
    match tensor_type {
        TensorType::Q4K | TensorType::Q5K | TensorType::IQ4XS => Some(0),
        TensorType::Q2K => Some(80),
        TensorType::Q3K => Some(108),
        TensorType::Q6K => Some(208),
        _ => None,
    }
}

/// Doubles the f16 at an offset; `false` and unchanged if that would overflow.
pub(crate) fn double_f16(bytes: &mut [u8], at: usize) -> bool {
    let bits = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let magnitude = bits & 0x7fff;
    if magnitude >= 0x7800 {
        return false;
    }
    // A subnormal is an integer of the smallest unit, and one that overflows into the exponent is what it should be.
    let doubled = if magnitude < 0x400 { magnitude << 1 } else { magnitude + 0x400 };
    bytes[at..at + 2].copy_from_slice(&(bits & 0x8000 | doubled).to_le_bytes());
    true
}

/// What coding activations in 8 bits with one scale per `block` values does to them, by ggml's rule: codes `rint(iscale x)`
/// with `iscale = -127 / the value of largest magnitude`, at most 127; they stand for `code / iscale`.
pub(crate) fn rounding(x: &Tensor<f32>, block: usize) -> Tensor<f64> {
    let mut e = Tensor::zeros(x.rows(), x.cols());
    for (e, x) in e.data_mut().chunks_mut(block).zip(x.data().chunks(block)) {
        let largest = x.iter().fold(0.0f32, |m, x| if x.abs() > m.abs() { *x } else { m });
        let inverse = -127.0 / largest;
        if !inverse.is_finite() {
            e.iter_mut().zip(x).for_each(|(e, x)| *e = -f64::from(*x));
            continue;
        }
        let scale = f64::from(1.0 / inverse);
        for (e, x) in e.iter_mut().zip(x) {
            let code = (inverse * x).round_ties_even().min(127.0);
            *e = scale * f64::from(code) - f64::from(*x);
        }
    }
    e
}

/// `‖w_i‖²` of each column.
pub(crate) fn columns(weight: Matrix<'_>) -> Vec<f64> {
    let mut sums = vec![0.0; weight.cols()];
    let mut row = vec![0.0; weight.cols()];
    for i in 0..weight.rows() {
        weight.decode_row(i, &mut row);
        sums.iter_mut().zip(&row).for_each(|(s, w)| *s += w * w);
    }
    sums
}

/// Relative L2 size that rounding with one scale per 256 is predicted to have at the output, from the activations alone:
/// `sqrt(mean over blocks of amax²) / (127 sqrt(12) rms(x))`.
pub(crate) fn predicted(x: &[f32]) -> f64 {
    let blocks = x.chunks(BLOCK).map(|b| b.iter().fold(0.0f64, |m, x| m.max(f64::from(x.abs()))).powi(2));
    let mean = blocks.sum::<f64>() / x.len().div_ceil(BLOCK) as f64;
    let rms = super::stats::norm(x) / (x.len() as f64).sqrt();
    mean.sqrt() / (127.0 * 12f64.sqrt() * rms)
}
