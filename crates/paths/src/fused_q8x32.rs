//! `fused-q8x32`: packed weights times activations coded in 8 bits, with one f32 scale per 32 of them.

use std::sync::Arc;

use twinpath_engine::{Numerics, Op, Site, Tensor};
use twinpath_formats::TensorType;

use crate::fused::Kernels;
use crate::fused::tiles::Tiles;
use crate::q8::Scales;
use crate::simd::Isa;
use crate::{Path, Reading, Standalone, fused};

/// The packed weights and integers of [`fused-q8k`](crate::fused_q8k) with finer activations: whatever the weights' block,
/// each 32 values have a scale of their own, kept in f32. A massive value coarsens its 31 neighbours and no others.
///
/// ```text
/// per 32 activations:               a = max|x| / 127        q = round-half-even(x · (1 / a))
/// Q4_K, Q5_K, IQ4_XS, exact:        w = d_w · scale         p = Σ code · q        v = dmin · minimum     m = Σ q
/// Q2_K, Q3_K, Q6_K, exact:          w = d_w    p = Σ scale · Σ code · q           v = dmin    m = Σ minimum · Σ q
/// per 32 values, in order, f32:     acc = fma(w · a, p, acc)                      accm = fma(v, a · m, accm)
/// then                              y = acc - accm (no accm without minimums); y + bias
/// ```
///
/// The first three types have one scale for 32 weights: it joins the block's once for all positions, in 17 bits, and a sum
/// joins the activations' once for all rows. Weights in blocks of 32 go the way of [`fused-q8k`](crate::fused_q8k), but for
/// the scale in f32: `acc = fma(d_w · a, p, acc)`, `accm = fma(m_w · a, Σ q, accm)`.
///
/// The order is that of the values, so the bits depend on neither the instruction set nor threads nor the number of
/// positions. The codes are those of Q8_0, whose scale is the same rounded to f16. 32 activations that hold NaN or infinity
/// have scale NaN, hence every output of that position is NaN; 32 that stay below 3.7e-37 in magnitude count as zero; no
/// finite value overflows the scale, and none up to 1e37 its product with a sum. All but linear ops on quantised weights goes
/// the way of [`Standalone`].
pub struct FusedQ8x32 {
    isa: Isa,
    tiles: Vec<Arc<Tiles>>,
}

/// The name of [`FusedQ8x32`] in reports and on the command line.
pub const NAME: &str = "fused-q8x32";

impl FusedQ8x32 {
    /// The path on the widest instruction set of this processor.
    pub fn new() -> FusedQ8x32 {
        FusedQ8x32::with_isa(Isa::detect())
    }

    /// The path on one instruction set; the bits are the same on all.
    pub fn with_isa(isa: Isa) -> FusedQ8x32 {
        FusedQ8x32 { isa, tiles: Vec::new() }
    }
}

impl Default for FusedQ8x32 {
    fn default() -> Self {
        FusedQ8x32::new()
    }
}

impl Numerics for FusedQ8x32 {
    type Elem = f32;

    fn name(&self) -> &'static str {
        NAME
    }

    fn eval(&self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f32>]) -> Tensor<f32> {
        let kernels = Kernels { isa: self.isa, tiles: &self.tiles };
        match *op {
            Op::Linear { weight, bias } => fused::linear(Scales::Per32, kernels, weight, bias, inputs[0]),
            _ => Standalone::with_isa(self.isa).eval(site, op, inputs),
        }
    }
}

impl Path for FusedQ8x32 {
    fn describe(&self) -> &'static str {
        "Activations that meet quantised weights are coded in 8 bits, each 32 with one f32 scale a: a = max|x| / 127, \
         q = round-half-even(x (1 / a)). Per 32 values one exact integer sum of codes enters an f32 sum by one fused \
         multiply-add with the rounded product of both scales, 32 after 32; group scales belong to the weights' scale where 32 \
         weights share one, else to the sum. A minimum, times its scale exactly, enters another by one with the rounded \
         product of the activations' scale and sum; where 16 share one, minimums belong to the sum. Blocks of 32 weights are \
         multiplied as in fused-q8k. The minimums' sum is joined at the end, then the bias added. 32 activations below 3.7e-37 \
         count as zero; a non-finite one makes its position's outputs NaN. F32, F16 and BF16 weights are decoded exactly and \
         multiply f32 activations as in standalone."
    }

    fn adopt(&mut self, tiles: &Arc<Tiles>) {
        self.tiles.push(Arc::clone(tiles));
    }

    fn kernels(&self) -> String {
        format!("q8x32-{}, f32-dot16-{}", fused::kernel_name(self.isa), self.isa.name())
    }

    fn reading(&self, weights: TensorType) -> Reading {
        if fused::find(weights).is_some() { Reading::Q8x32 } else { Reading::Plain }
    }
}

#[cfg(test)]
mod tests {
    use twinpath_engine::Point;
    use twinpath_formats::Matrix;
    use twinpath_formats::quant::FORMATS;

    use super::*;
    use crate::FusedQ8k;
    use crate::test_values::{Random, blocks};

    fn quantised() -> impl Iterator<Item = TensorType> {
        FORMATS.iter().filter(|f| f.block_len() > 1).map(|f| f.tensor_type())
    }

    /// The squared distance of each path's output from `x Wᵀ` in f64, `fused-q8k` first.
    fn squared_errors(weight: Matrix<'_>, x: &Tensor<f32>) -> [f64; 2] {
        let op = Op::Linear { weight, bias: None };
        let ys = [
            FusedQ8k::new().eval(Site::outer(Point::Embed), &op, &[x]),
            FusedQ8x32::new().eval(Site::outer(Point::Embed), &op, &[x]),
        ];
        let mut errors = [0.0; 2];
        let mut w = vec![0.0; weight.cols()];
        for row in 0..weight.rows() {
            weight.decode_row(row, &mut w);
            for t in 0..x.rows() {
                let exact: f64 = w.iter().zip(x.row(t)).map(|(w, x)| w * f64::from(*x)).sum();
                for (error, y) in errors.iter_mut().zip(&ys) {
                    *error += (f64::from(y.row(t)[row]) - exact).powi(2);
                }
            }
        }
        errors
    }

    /// One value of 256 is 1000, the others are uniform in -1..1. The scale of its block is 1000 / 127 = 7.9, so that the
    /// others are below half a step and become 0: each adds its own energy, 1/3, to the error, 255 of them in fused-q8k and
    /// the 31 of its 32 here. The other 224 have a scale below 1/127 and add below 1/127² / 12 each, 1e-3 together; the
    /// value itself is coded exactly but for the rounding of the scale, 1000 · 2^-22 squared. So the squared errors are as
    /// 255 : 31 and the errors as 2.87 : 1, if many random weights are met. Here each of the 512 sums of 31 errors meets
    /// weights of a common mean in the worst of the formats: the relative deviation of a sum of 512 squares is
    /// √(2 / 512) = 6 %, of its root 3 %, and a quarter is eight of them.
    #[test]
    fn one_massive_value_costs_a_third_of_the_error_of_a_scale_per_256() {
        let mut random = Random::new(20);
        let (rows, cols, positions) = (48, 16 * 256, 32);
        let expected = (255.0f64 / 31.0).sqrt();
        for t in quantised().filter(|t| t.format().block_len() == 256) {
            let bytes = blocks(t, rows * cols / 256, &mut random);
            let weight = Matrix::new(t, rows, cols, &bytes).unwrap();
            let mut x = random.tensor(positions, cols);
            for t in 0..positions {
                for block in x.row_mut(t).chunks_exact_mut(256) {
                    block[random.bits() as usize % 256] = 1000.0;
                }
            }
            let [per_256, per_32] = squared_errors(weight, &x);
            let factor = (per_256 / per_32).sqrt();
            assert!((factor / expected - 1.0).abs() < 0.25, "{}: {factor:.2}, not {expected:.2}", t.name());
        }
    }

    /// The 31 neighbours apart, nothing is left of the massive value: where they are zeros, the error is that of the other
    /// seven 32s, uniform in a step of 1/127, against values of 1/3 that fused-q8k loses: √(127² · 12 / 3) = 254 times less.
    /// The f32 sums themselves round values of the order of 1000 by 2^-24, 6e-5, against 1/127/√12 = 2e-3 of each code.
    #[test]
    fn thirty_twos_without_the_massive_value_are_as_exact_as_if_it_were_not_there() {
        let mut random = Random::new(21);
        let (rows, cols, positions) = (48, 16 * 256, 8);
        for t in quantised().filter(|t| t.format().block_len() == 256) {
            let bytes = blocks(t, rows * cols / 256, &mut random);
            let weight = Matrix::new(t, rows, cols, &bytes).unwrap();
            let mut x = random.tensor(positions, cols);
            for t in 0..positions {
                for block in x.row_mut(t).chunks_exact_mut(256) {
                    block[64..96].fill(0.0);
                    block[77] = 1000.0;
                }
            }
            let [per_256, per_32] = squared_errors(weight, &x);
            let factor = (per_256 / per_32).sqrt();
            assert!((100.0..400.0).contains(&factor), "{}: {factor:.0}", t.name());
        }
    }

    /// 32-wide formats differ from fused-q8k by the rounding of the scale to f16 alone: not at all where an f16 holds it.
    #[test]
    fn thirty_two_wide_formats_have_the_bits_of_fused_q8k_where_f16_holds_the_scale() {
        let mut random = Random::new(22);
        let (rows, cols) = (9, 10 * 32);
        for t in quantised().filter(|t| t.format().block_len() == 32) {
            let bytes = blocks(t, rows * cols / 32, &mut random);
            let op = Op::Linear { weight: Matrix::new(t, rows, cols, &bytes).unwrap(), bias: None };
            for (top, same) in [(127.0 / 64.0, true), (1.9, false)] {
                let mut x = random.tensor(1, cols);
                x.row_mut(0).iter_mut().step_by(32).for_each(|x| *x = top);
                let (a, b) = (
                    FusedQ8k::new().eval(Site::outer(Point::Embed), &op, &[&x]),
                    FusedQ8x32::new().eval(Site::outer(Point::Embed), &op, &[&x]),
                );
                assert_eq!(a.data() == b.data(), same, "{} {top}", t.name());
            }
        }
    }

    #[test]
    fn plain_float_weights_go_the_way_of_standalone() {
        let mut random = Random::new(23);
        for t in [TensorType::F32, TensorType::F16, TensorType::BF16] {
            let bytes = blocks(t, 9 * 70, &mut random);
            let op = Op::Linear { weight: Matrix::new(t, 9, 70, &bytes).unwrap(), bias: None };
            let x = random.tensor(3, 70);
            let (a, b) = (
                FusedQ8x32::new().eval(Site::outer(Point::Embed), &op, &[&x]),
                Standalone::new().eval(Site::outer(Point::Embed), &op, &[&x]),
            );
            assert_eq!(a.data(), b.data(), "{}", t.name());
        }
    }
}
