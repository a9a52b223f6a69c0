//! RMSNorm.

use twinpath_engine::Tensor;

use super::changed;
use crate::simd::dot::{Lanes, reduce};
use crate::simd::{Isa, Kernel};

/// RMSNorm of each group of `weight.len()` values: the 16-lane sum of squares, divided by the count, plus `eps` as f32;
/// then `(x * (1 / sqrt(that))) * weight`, each operation rounded.
///
/// # Panics
/// When the width of `x` is not a multiple of the weight's.
pub fn norm(isa: Isa, x: &Tensor<f32>, weight: &[f32], eps: f64) -> Tensor<f32> {
    let n = weight.len();
    assert!(n > 0 && x.cols().is_multiple_of(n), "{} values are no groups of {n}", x.cols());
    changed(x, n, 2 * n, |_, group| isa.run(Norm { group, weight, eps: eps as f32 }))
}

struct Norm<'a> {
    group: &'a mut [f32],
    weight: &'a [f32],
    eps: f32,
}

impl Kernel for Norm<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let mut sums: Lanes = [0.0; 16];
        let (whole, tail) = self.group.as_chunks::<16>();
        for x in whole {
            for l in 0..16 {
                sums[l] = x[l].mul_add(x[l], sums[l]);
            }
        }
        for (sum, x) in sums.iter_mut().zip(tail) {
            *sum = x.mul_add(*x, *sum);
        }
        let mean = reduce(&sums) / self.weight.len() as f32;
        let factor = 1.0 / (mean + self.eps).sqrt();
        for (x, w) in self.group.iter_mut().zip(self.weight) {
            *x = *x * factor * w;
        }
    }
}
