//! Operations on each value alone.

use twinpath_engine::Tensor;

use super::changed;
use crate::math::exp;
use crate::simd::{Isa, Kernel};

/// Values of one task.
const CHUNK: usize = 4096;

/// `x / (1 + exp(-x))`, each operation rounded. Below `-ln(f32::MAX)`, about -88.7, the result is -0.
pub fn silu(isa: Isa, x: &Tensor<f32>) -> Tensor<f32> {
    // An exponential costs about as much as 16 simple operations.
    changed(x, CHUNK, 16 * CHUNK.min(x.data().len()), |_, values| isa.run(Silu(values)))
}

/// `x * y`.
///
/// # Panics
/// When the shapes differ.
pub fn multiply(isa: Isa, x: &Tensor<f32>, y: &Tensor<f32>) -> Tensor<f32> {
    zip(isa, x, y, |x, y| x * y)
}

/// `x + y`.
///
/// # Panics
/// When the shapes differ.
pub fn add(isa: Isa, x: &Tensor<f32>, y: &Tensor<f32>) -> Tensor<f32> {
    zip(isa, x, y, |x, y| x + y)
}

fn zip(isa: Isa, x: &Tensor<f32>, y: &Tensor<f32>, f: impl Fn(f32, f32) -> f32 + Sync) -> Tensor<f32> {
    assert_eq!((x.rows(), x.cols()), (y.rows(), y.cols()), "an elementwise op needs two inputs of one shape");
    changed(x, CHUNK, CHUNK.min(x.data().len()), |i, values| isa.run(Zip(values, &y.data()[i * CHUNK..], &f)))
}

struct Silu<'a>(&'a mut [f32]);

impl Kernel for Silu<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for x in self.0 {
            *x /= 1.0 + exp(-*x);
        }
    }
}

struct Zip<'a, F>(&'a mut [f32], &'a [f32], &'a F);

impl<F: Fn(f32, f32) -> f32> Kernel for Zip<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (x, y) in self.0.iter_mut().zip(self.1) {
            *x = self.2(*x, *y);
        }
    }
}
