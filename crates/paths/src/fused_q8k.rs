//! `fused-q8k`: packed weights times activations coded in 8 bits, in exact integers per block.

use std::sync::Arc;

use twinpath_engine::{Numerics, Op, Site, Tensor};
use twinpath_formats::{Matrix, TensorType};

use crate::fused::Kernels;
use crate::fused::tiles::Tiles;
use crate::q8::{Codes, Scales};
use crate::simd::Isa;
use crate::{Path, Reading, f32_ops, fused, standalone};

/// The arithmetic of ggml's CPU path. A linear op on quantised weights codes each position's activations as Q8_K (for
/// 256-wide blocks) or Q8_0 (for 32-wide ones) and multiplies integers:
///
/// ```text
/// per block, exact in i32:   isum = Σ scale · Σ code · q      msum = Σ minimum · Σ q
/// per block, in order, f32:  acc = fma(d_w · d_a, isum, acc)    accm = fma(dmin · d_a, msum, accm)
/// then                       y = acc - accm (K formats), acc + accm (Q4_1, Q5_1), acc (no minimums); y + bias
/// ```
///
/// ggml's own kernels add in other orders, each its own; this one any layout can keep, so the bits depend on neither the
/// instruction set nor threads nor the number of positions. An activation block that holds NaN or infinity has scale NaN,
/// hence every output of that position is NaN. Embeddings and plain float weights go the way of
/// [`standalone`], all else that of [`f32_ops`].
pub struct FusedQ8k {
    isa: Isa,
    tiles: Vec<Arc<Tiles>>,
}

/// The name of [`FusedQ8k`] in reports and on the command line.
pub const NAME: &str = "fused-q8k";

impl FusedQ8k {
    /// The path on the widest instruction set of this processor.
    pub fn new() -> FusedQ8k {
        FusedQ8k::with_isa(Isa::detect())
    }

    /// The path on one instruction set; the bits are the same on all.
    pub fn with_isa(isa: Isa) -> FusedQ8k {
        FusedQ8k { isa, tiles: Vec::new() }
    }
}

/// What coding adds to the input `x` of a linear op with these weights: `d q - x`, rounded to f32, `[T, in]`. `None` where
/// the path does not code the input (plain float weights).
pub fn rounding_error(weight: Matrix<'_>, x: &Tensor<f32>) -> Option<Tensor<f32>> {
    let shape = fused::find(weight.tensor_type())?.shape;
    let codes = Codes::new(Isa::detect(), shape, Scales::Ggml, x.rows(), x.data());
    let mut error = x.clone();
    for t in 0..x.rows() {
        for (b, block) in error.row_mut(t).chunks_exact_mut(shape.block).enumerate() {
            let at = b * x.rows() + t;
            let q = &codes.q[at * shape.block..(at + 1) * shape.block];
            for (x, q) in block.iter_mut().zip(q) {
                *x = (f64::from(codes.d[at]) * f64::from(*q) - f64::from(*x)) as f32;
            }
        }
    }
    Some(error)
}

impl Default for FusedQ8k {
    fn default() -> Self {
        FusedQ8k::new()
    }
}

impl Numerics for FusedQ8k {
    type Elem = f32;

    fn name(&self) -> &'static str {
        NAME
    }

    fn eval(&self, _site: Site, op: &Op<'_>, inputs: &[&Tensor<f32>]) -> Tensor<f32> {
        let isa = self.isa;
        let kernels = Kernels { isa, tiles: &self.tiles };
        match *op {
            Op::Embed { table, tokens } => standalone::embed(isa, table, tokens),
            Op::Linear { weight, bias } => fused::linear(Scales::Ggml, kernels, weight, bias, inputs[0]),
            Op::Norm { weight, eps } => f32_ops::norm(isa, inputs[0], weight, eps),
            Op::Rope { rope, heads, start } => f32_ops::rope(inputs[0], rope, heads, start),
            Op::Scores { heads, kv_heads, scale } => f32_ops::scores(isa, inputs[0], inputs[1], heads, kv_heads, scale),
            Op::Softmax { heads, mask } => f32_ops::softmax(isa, inputs[0], heads, mask),
            Op::Mix { heads, kv_heads, mask } => f32_ops::mix(isa, inputs[0], inputs[1], heads, kv_heads, mask),
            Op::Silu => f32_ops::silu(isa, inputs[0]),
            Op::Multiply => f32_ops::multiply(isa, inputs[0], inputs[1]),
            Op::Add => f32_ops::add(isa, inputs[0], inputs[1]),
        }
    }
}

impl Path for FusedQ8k {
    fn describe(&self) -> &'static str {
        "Q2_K to Q6_K and IQ4_XS weights multiply Q8_K activations: per 256, iscale = -127 / the value of largest magnitude, \
         q = min(127, round-half-even(iscale x)), d = 1 / iscale. Q4_0 to Q8_0 and IQ4_NL multiply Q8_0 activations: per 32, \
         s = max|x| / 127, q = round-half-even(x (1 / s)), d = s rounded to f16; the minimums of Q4_1 and Q5_1 multiply d \
         times the exact sum of q. Per block one exact integer sum, and one for the minimums, enters an f32 sum by one fused \
         multiply-add with the rounded product of both scales, block after block; the minimums' sum is joined at the end, \
         then the bias added. A Q8_K block below 3.7e-37 counts as zero; a Q8_0 block above 8.3e6 overflows its f16 scale, \
         as in ggml; a non-finite activation makes its position's outputs NaN. F32, F16 and BF16 weights are decoded \
         exactly and multiply f32 activations as in standalone."
    }

    fn adopt(&mut self, tiles: &Arc<Tiles>) {
        self.tiles.push(Arc::clone(tiles));
    }

    fn kernels(&self) -> String {
        format!("q8-{}, f32-dot16-{}", fused::kernel_name(self.isa), self.isa.name())
    }

    fn reading(&self, weights: TensorType) -> Reading {
        use TensorType::{BF16, F16, F32, IQ4NL, IQ4XS, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
        match weights {
            F32 | F16 | BF16 => Reading::Plain,
            Q2K | Q3K | Q4K | Q5K | Q6K | IQ4XS => Reading::Q8K,
            Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 | IQ4NL => Reading::Q8_0,
        }
    }
}
