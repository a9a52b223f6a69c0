//! Pieces of the paths by themselves, for measuring them.

use twinpath_engine::Tensor;
use twinpath_formats::{Matrix, TensorType};

use crate::q8::{Codes, Scales};
use crate::simd::Isa;
use crate::{decode, fused};

/// Decodes all of `weights` to f32, row after row.
///
/// # Panics
/// When `out` has not as many places as `weights` has values.
pub fn decode(isa: Isa, weights: Matrix<'_>, out: &mut [f32]) {
    decode::decode(isa, weights.tensor_type(), weights.bytes(), out);
}

/// Codes activations as `fused-q8k` does for weights of this type, and drops the codes. `false` where such weights meet
/// plain activations.
pub fn code(isa: Isa, weights: TensorType, x: &Tensor<f32>) -> bool {
    let Some(entry) = fused::find(weights) else { return false };
    std::hint::black_box(Codes::new(isa, entry.shape, Scales::Ggml, x.rows(), x.data()));
    true
}
