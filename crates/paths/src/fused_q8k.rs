//! The path `fused-q8k`: integer products of packed weights and 8-bit activations, as ggml's CPU kernels have them.

use twinpath_engine::tensor::Tensor;
use twinpath_formats::Matrix;

use crate::fused;
use crate::simd::Isa;

/// Packed weights times activations coded in 8 bits, in exact integers per block.
#[derive(Debug, Clone, Copy)]
pub struct FusedQ8k {
    isa: Isa,
}

impl FusedQ8k {
    /// On the widest instruction set of this processor.
    pub fn new() -> Self {
        FusedQ8k::on(Isa::detect())
    }

    /// On a given instruction set; the bits are the same on all.
    pub fn on(isa: Isa) -> Self {
        FusedQ8k { isa }
    }

    /// `x Wᵀ + b` for `x` `[T, in]`.
    pub fn linear(&self, weight: Matrix<'_>, bias: Option<&[f32]>, x: &Tensor<f32>) -> Tensor<f32> {
        let Some(entry) = fused::find(weight.tensor_type()) else { todo!("plain floats") };
        Tensor::new(x.rows(), weight.rows(), entry.linear(self.isa, weight, bias, x.rows(), x.data()))
    }
}

impl Default for FusedQ8k {
    fn default() -> Self {
        FusedQ8k::new()
    }
}
