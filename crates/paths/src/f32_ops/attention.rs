//! Scores, softmax and mixing.
//!
//! A masked key takes no part at all: its buffers may hold anything.

use std::ops::Range;

use twinpath_engine::{Mask, Tensor};

use super::{changed, for_each_chunk};
use crate::math::exp;
use crate::simd::combine::combine;
use crate::simd::dot::{Lanes, PAIRS, Panel, dots, reduce};
use crate::simd::fetch::{Cache, fetch};
use crate::simd::{Isa, Kernel};

/// Keys that are met at a time: their partial sums are kept, and their values stay near.
const KEYS: usize = PAIRS / QUERIES;
/// Queries that meet them together.
const QUERIES: usize = 6;
/// Keys that one position meets at a time, while those are fetched that come so many keys later: a layer's cache has not been
/// read since the last token, and its heads are stretches of a few lines, which processors do not foresee.
const FETCHED: usize = 16;
const AHEAD: usize = 32;

/// Has the keys or values of one head fetched that come [`AHEAD`] rows after those from row `from`; where that is the `first`,
/// those before as well.
fn fetch_ahead(x: &Tensor<f32>, (first, from): (usize, usize), head: usize, dim: usize) {
    let begin = if from == first { from } else { from + AHEAD };
    for row in begin.min(x.rows())..(from + AHEAD + FETCHED).min(x.rows()) {
        fetch(Cache::Second, x.row(row)[head * dim..].as_ptr(), dim);
    }
}

/// `q.k`, a 16-lane dot over the head, then times `scale` as f32. Shapes as [`Op::Scores`](twinpath_engine::Op::Scores).
///
/// # Panics
/// When the shapes do not fit the heads.
pub fn scores(isa: Isa, q: &Tensor<f32>, k: &Tensor<f32>, heads: usize, kv_heads: usize, scale: f64) -> Tensor<f32> {
    let (dim, group) = shape(q.cols(), k.cols(), heads, kv_heads);
    let (keys, scale) = (k.rows(), scale as f32);
    let mut out = Tensor::zeros(q.rows(), heads * keys);
    // Rows of `out` that belong to one task, and how far apart those are that read the same keys: of one token those of a
    // group of heads, of several those of each head.
    let (task, step) = if q.rows() == 1 { (group, 1) } else { (QUERIES * heads, heads) };
    // Of one token the last keys are met together with some that were met before, rather than alone.
    let (together, last) = if q.rows() == 1 { (FETCHED, keys.saturating_sub(FETCHED)) } else { (KEYS, keys) };
    for_each_chunk(out.data_mut(), task * keys, task * keys * dim, |i, out| {
        let rows = out.len() / keys;
        for from in (0..keys).step_by(together).map(|from| from.min(last)) {
            if q.rows() == 1 {
                fetch_ahead(k, (0, from), i, dim);
            }
            for row in 0..step {
                for first in (row..rows).step_by(step * QUERIES) {
                    let at = i * task + first;
                    let data = &k.data()[from * k.cols() + at % heads / group * dim..];
                    let keys_here = Panel { data, stride: k.cols(), rows: together.min(keys - from), len: dim };
                    let queries = QUERIES.min((rows - first).div_ceil(step));
                    let queries = Panel { data: &q.data()[at * dim..], stride: step * dim, rows: queries, len: dim };
                    dots(isa, keys_here, queries, scale, (&mut out[first * keys + from..], step * keys));
                }
            }
        }
    });
    out
}

/// The values of a head, and how many query heads share a key head.
fn shape(q: usize, k: usize, heads: usize, kv_heads: usize) -> (usize, usize) {
    assert!(heads.is_multiple_of(kv_heads) && q.is_multiple_of(heads), "{q} values are no {heads} heads");
    assert_eq!(k, q / heads * kv_heads, "keys and values need {kv_heads} heads of {}", q / heads);
    (q / heads, heads / kv_heads)
}

/// Softmax over the keys that the mask admits: `exp(x - max)` with [`exp`]; their sum in sixteen lanes, key `i` to lane
/// `i mod 16`, reduced like a dot; each divided by the sum. All other keys are exactly 0.
///
/// # Panics
/// When the width of `x` is not a multiple of `heads`, or the mask admits keys beyond it.
pub fn softmax(isa: Isa, x: &Tensor<f32>, heads: usize, mask: Mask) -> Tensor<f32> {
    assert!(x.cols().is_multiple_of(heads), "{} scores are no {heads} heads", x.cols());
    let keys = x.cols() / heads;
    changed(x, keys.max(1), 16 * keys, |i, row| isa.run(Softmax { row, keys: mask.keys(i / heads) }))
}

struct Softmax<'a> {
    row: &'a mut [f32],
    keys: Range<usize>,
}

impl Kernel for Softmax<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Softmax { row, keys: Range { start, end } } = self;
        row[..start].fill(0.0);
        row[end..].fill(0.0);
        let row = &mut row[start..end];
        let max = maximum(row);
        for x in row.iter_mut() {
            *x = exp(*x - max);
        }
        // The keys before the first multiple of 16 begin in the middle of the lanes.
        let (head, rest) = row.split_at((start.next_multiple_of(16) - start).min(row.len()));
        let mut sums: Lanes = [0.0; 16];
        for (i, x) in head.iter().enumerate() {
            sums[start % 16 + i] += x;
        }
        let (whole, tail) = rest.as_chunks::<16>();
        for x in whole {
            for l in 0..16 {
                sums[l] += x[l];
            }
        }
        for (sum, x) in sums.iter_mut().zip(tail) {
            *sum += x;
        }
        let sum = reduce(&sums);
        for x in row {
            *x /= sum;
        }
    }
}

/// The largest value; a maximum has one value in any order (a NaN is passed over, and shows in the sum). In sixteen lanes,
/// for speed.
#[inline(always)]
fn maximum(row: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes: Lanes = [f32::NEG_INFINITY; 16];
    let (whole, tail) = row.as_chunks::<16>();
    for x in whole {
        for l in 0..16 {
            lanes[l] = larger(lanes[l], x[l]);
        }
    }
    let all = lanes.into_iter().chain(tail.iter().copied());
    all.fold(f32::NEG_INFINITY, larger)
}

/// `Σ p v` over the keys that the mask admits, from 0, in key order, one FMA each. Shapes as
/// [`Op::Mix`](twinpath_engine::Op::Mix).
///
/// # Panics
/// When the shapes do not fit the heads, or the mask admits keys that are not there.
pub fn mix(isa: Isa, p: &Tensor<f32>, v: &Tensor<f32>, heads: usize, kv_heads: usize, mask: Mask) -> Tensor<f32> {
    assert!(heads.is_multiple_of(kv_heads) && v.cols().is_multiple_of(kv_heads), "{} values", v.cols());
    assert_eq!(p.cols(), heads * v.rows(), "probabilities need {heads} heads of {} keys", v.rows());
    let (dim, group, keys) = (v.cols() / kv_heads, heads / kv_heads, v.rows());
    let together = if p.rows() == 1 { FETCHED } else { KEYS };
    let mut out = Tensor::zeros(p.rows(), heads * dim);
    // A group of heads reads the same values.
    for_each_chunk(out.data_mut(), group * dim, group * dim * keys, |i, out| {
        let (t, kv_head) = (i / kv_heads, i % kv_heads);
        let seen = mask.keys(t);
        for from in seen.clone().step_by(together) {
            let rows = together.min(seen.end - from);
            if p.rows() == 1 {
                fetch_ahead(v, (seen.start, from), kv_head, dim);
            }
            let weights = &p.row(t)[kv_head * group * keys + from..];
            let weights = Panel { data: weights, stride: keys, rows: group, len: rows };
            let values = &v.data()[from * v.cols() + kv_head * dim..];
            combine(isa, weights, Panel { data: values, stride: v.cols(), rows, len: dim }, out);
        }
    });
    out
}
