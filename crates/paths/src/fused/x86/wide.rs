//! Whole rows of 256-wide blocks as stored and one position, in 512-bit vectors.
//!
//! Blocks of successive rows follow one another in memory, so a matrix is one stream of them. Four at a time are made into
//! their exact integers; what their sixteen partial sums have in common is added up for all four at once. Activations are
//! brought into the order in which a format's bytes meet them, with the first blocks repeated after the last, so that four
//! blocks across the end of a row find theirs in one place.

mod q4_k;
mod q6_k;

use std::arch::x86_64::*;

pub(in crate::fused) use self::q4_k::WideQ4K;
pub(in crate::fused) use self::q6_k::WideQ6K;
use super::Vnni;
use crate::columns::Columns;
use crate::fused::bytes::Bytes;
use crate::fused::row::{step, value};
use crate::fused::{Block, Job, Packed};
use crate::simd::fetch::{Cache, fetch};

/// Blocks taken together.
const UNIT: usize = 4;
/// Bytes between what is multiplied and what is fetched.
const AHEAD: usize = 4096;

/// The integers of four blocks as f32, `p` and `m` of each after the other, and their factors.
#[repr(C, align(32))]
pub(super) struct Four {
    integers: [f32; 2 * UNIT],
    factors: [f32; 2 * UNIT],
}

/// How four blocks of one format are read.
pub(in crate::fused) trait Wide: Packed {
    /// Where value `32 i ..` of a block's activations stands among them.
    const PLACE: [usize; 8];

    /// Four blocks: their integers, and `[d, dm]` of each without the activations' scale.
    ///
    /// # Safety
    /// AVX-512 F, BW, DQ, VL and VNNI; four blocks at `blocks`, the codes of four in this format's order at `q`, their sums
    /// at `sums`.
    unsafe fn four(blocks: *const u8, q: *const i8, sums: *const i16) -> (__m256i, __m256);
}

/// The codes of one block, on a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Codes256([i8; 256]);

/// The activations of one position, in a format's order.
struct Activations {
    q: Vec<Codes256>,
    sums: Vec<i16>,
    /// Each scale twice.
    d: Vec<f32>,
}

impl Activations {
    fn new<F: Wide>(job: &Job<'_>, position: usize) -> Activations {
        let (positions, blocks) = (job.codes.positions, job.weight.cols() / 256);
        let n = F::SHAPE.sums();
        let wrapped = blocks + UNIT - 1;
        let mut all = Activations { q: vec![Codes256([0; 256]); wrapped], sums: Vec::new(), d: Vec::new() };
        for (b, to) in all.q.iter_mut().enumerate() {
            let at = b % blocks * positions + position;
            for (from, place) in job.codes.q[at * 256..(at + 1) * 256].chunks_exact(32).zip(F::PLACE) {
                to.0[32 * place..32 * place + 32].copy_from_slice(from);
            }
            all.sums.extend_from_slice(&job.codes.sums[at * n..(at + 1) * n]);
            all.d.extend([job.codes.d[at]; 2]);
        }
        all
    }
}

/// Evaluates `job` into `[positions, rows]`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(in crate::fused) fn run<F: Wide>(s: Vnni, job: &Job<'_>, out: &mut Columns<'_>) {
    let (rows, blocks) = (job.weight.rows(), job.weight.cols() / 256);
    if blocks == 0 {
        return super::super::row::rows::<F, Vnni>(s, job, out);
    }
    for t in 0..job.codes.positions {
        position::<F>(s, job, &Activations::new::<F>(job, t), out.of(t, 0..rows));
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn position<F: Wide>(s: Vnni, job: &Job<'_>, x: &Activations, out: &mut [f32]) {
    let (bytes, blocks) = (job.weight.bytes(), job.weight.cols() / 256);
    let bias = |row: usize| job.bias.map(|b| b[row]);
    let (mut sums, mut row, mut column) = (_mm_setzero_ps(), 0, 0);
    let fours = bytes.chunks_exact(UNIT * F::BYTES);
    let rest = fours.remainder();
    let mut four = Four { integers: [0.0; 8], factors: [0.0; 8] };
    for bytes in fours {
        fetch(Cache::First, bytes.as_ptr().wrapping_add(AHEAD), UNIT * F::BYTES);
        let (q, group_sums) = (&x.q[column..][..UNIT], &x.sums[column * F::SHAPE.sums()..]);
        let group_sums = &group_sums[..UNIT * F::SHAPE.sums()];
        let d = &x.d[2 * column..][..2 * UNIT];
        // SAFETY: this function's features; the slices hold four blocks, their activations and eight floats.
        unsafe {
            let (integers, factors) = F::four(bytes.as_ptr(), q.as_ptr().cast(), group_sums.as_ptr());
            _mm256_store_ps(four.integers.as_mut_ptr(), _mm256_cvtepi32_ps(integers));
            _mm256_store_ps(four.factors.as_mut_ptr(), _mm256_mul_ps(factors, _mm256_loadu_ps(d.as_ptr())));
        }
        for (integers, factors) in four.integers.as_chunks::<2>().0.iter().zip(four.factors.as_chunks::<2>().0) {
            sums = _mm_fmadd_ps(pair(factors), pair(integers), sums);
            column += 1;
            if column == blocks {
                out[row] = value(F::FORM, both(sums), bias(row));
                (sums, row, column) = (_mm_setzero_ps(), row + 1, 0);
            }
        }
    }
    let mut sums = both(sums);
    let mut block = Block::ZERO;
    for bytes in rest.chunks_exact(F::BYTES) {
        F::unpack(s, bytes, &mut block);
        let q = x.natural::<F>(column);
        let (p, m) = s.integers::<F>(&block, &q, &x.sums[column * F::SHAPE.sums()..(column + 1) * F::SHAPE.sums()]);
        step(F::FORM, &mut sums, F::factors(s, bytes), x.d[2 * column], p, m);
        column += 1;
        if column == blocks {
            out[row] = value(F::FORM, sums, bias(row));
            (sums, row, column) = ([0.0; 2], row + 1, 0);
        }
    }
}

impl Activations {
    /// The codes of block `b` in the order of the values.
    fn natural<F: Wide>(&self, b: usize) -> [i8; 256] {
        let mut q = [0; 256];
        for (to, place) in q.chunks_exact_mut(32).zip(F::PLACE) {
            to.copy_from_slice(&self.q[b].0[32 * place..][..32]);
        }
        q
    }
}

/// Two floats in the lower lanes.
#[inline(always)]
fn pair(x: &[f32; 2]) -> __m128 {
    // SAFETY: SSE2 is part of the target; eight readable bytes.
    unsafe { _mm_castpd_ps(_mm_load_sd(x.as_ptr().cast())) }
}

/// The two lower lanes.
#[inline(always)]
fn both(x: __m128) -> [f32; 2] {
    let mut lanes = [0.0; 4];
    // SAFETY: SSE is part of the target; 16 writable bytes.
    unsafe { _mm_storeu_ps(lanes.as_mut_ptr(), x) };
    [lanes[0], lanes[1]]
}

/// The sum of each of four vectors.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn sum_each(v: [__m512i; UNIT]) -> __m128i {
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    let all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
    _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
}

/// `a0 b0 a1 b1 …`
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn alternate(a: __m128i, b: __m128i) -> __m256i {
    _mm256_set_m128i(_mm_unpackhi_epi32(a, b), _mm_unpacklo_epi32(a, b))
}

/// An index for every byte of a vector of 512 bits.
#[repr(C, align(64))]
struct Index([u8; 64]);

impl Index {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn load(&self) -> __m512i {
        // SAFETY: 64 aligned bytes.
        unsafe { _mm512_load_si512(self.0.as_ptr().cast()) }
    }
}
