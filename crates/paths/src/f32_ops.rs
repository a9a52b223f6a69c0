//! The operations without weights matrices, for every path of f32 activations: a path calls them by name.
//!
//! Sums run in the [16-lane order](crate::simd::dot), but for [`mix`], which adds keys in order. No operation is fused or
//! reordered beyond what each function states.

mod attention;
mod elementwise;
mod norm;
mod rope;
#[cfg(test)]
mod tests;

pub use attention::{mix, scores, softmax};
pub use elementwise::{add, multiply, silu};
pub use norm::norm;
pub use rope::rope;

use std::mem::MaybeUninit;

use twinpath_engine::Tensor;

use crate::team;

/// Multiply-adds (or work like it) below which handing work to other threads costs more than it saves.
const MIN_PARALLEL_WORK: usize = 1 << 16;

/// A copy of `x` in whose every `chunk` values `f` has changed what it likes, on all threads if there is enough work (`work`
/// per chunk).
pub(crate) fn changed(x: &Tensor<f32>, chunk: usize, work: usize, f: impl Fn(usize, &mut [f32]) + Sync) -> Tensor<f32> {
    let from = x.data();
    let mut values = Vec::with_capacity(from.len());
    for_each_chunk(
        &mut values.spare_capacity_mut()[..from.len()],
        chunk,
        work,
        |i, places: &mut [MaybeUninit<f32>]| {
            f(i, places.write_copy_of_slice(&from[i * chunk..][..places.len()]));
        },
    );
    // SAFETY: each of these places is in one chunk, and was copied to.
    unsafe { values.set_len(from.len()) };
    Tensor::new(x.rows(), x.cols(), values)
}

/// Calls `f(i, chunk)` for each chunk of `data`, on all threads if there is enough work (`work` per chunk).
pub(crate) fn for_each_chunk<T: Send>(data: &mut [T], chunk: usize, work: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    if data.is_empty() {
        return;
    }
    if data.len().div_ceil(chunk).saturating_mul(work) < MIN_PARALLEL_WORK {
        data.chunks_mut(chunk).enumerate().for_each(|(i, chunk)| f(i, chunk));
    } else {
        team::chunks(data, chunk, f);
    }
}
