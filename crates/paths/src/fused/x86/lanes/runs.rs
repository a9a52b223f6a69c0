//! Dots that fit 16 bits, so that those of two groups meet both scales in one instruction.
//!
//! With `C` half of what codes can reach, a centred code `c - C` is at most `C` in magnitude, and over a run of `256 / C`
//! values `|Σ (c - C) q|` at most `C · 127 · 256 / C = 32512`. A dot that begins with `-C Σ q` is such a sum, and costs
//! nothing: it would otherwise begin with zero. What is missing afterwards, `C Σ sc Σ q`, is a product like that of the
//! minimums; an offset format's offset is `C`, so that it wants the centred sum itself.

use std::arch::x86_64::*;

use super::Lanes;
use crate::fused::Form;

/// Half of what the codes of a format can reach.
const fn centre<F: Lanes>() -> i32 {
    (F::TOP as i32 + 1) / 2
}

/// Successive values, four to a vector of codes, that a dot of 16 bits can have.
const fn quads<F: Lanes>() -> usize {
    64 / centre::<F>() as usize
}

/// What the dots of a block begin with: that of the run from value `4 i` with word `i`.
pub(super) type Starts = [i32; 64];

/// The starts of one block's runs, whose codes these meet.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn starts<F: Lanes>(q: &[i8; 256]) -> Starts {
    const { assert!(matches!(quads::<F>(), 2 | 4 | 8) && F::SHAPE.group.is_multiple_of(4 * quads::<F>())) };
    let mut starts = [0; 64];
    let [a, b, c, d] = F::RAISED.map(|bits| -(centre::<F>() << bits));
    let times = _mm512_setr_epi32(a, a, a, a, b, b, b, b, c, c, c, c, d, d, d, d);
    for (starts, q) in starts.as_chunks_mut::<16>().0.iter_mut().zip(q.as_chunks::<64>().0) {
        // SAFETY: 64 readable and 64 writable bytes.
        unsafe {
            let codes = _mm512_loadu_si512(q.as_ptr().cast());
            let mut sums = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), codes);
            // Each lane adds its neighbour's, then that of two lanes away, and of four.
            sums = _mm512_add_epi32(sums, _mm512_shuffle_epi32::<0b10_11_00_01>(sums));
            if quads::<F>() >= 4 {
                sums = _mm512_add_epi32(sums, _mm512_shuffle_epi32::<0b01_00_11_10>(sums));
            }
            if quads::<F>() == 8 {
                sums = _mm512_add_epi32(sums, _mm512_shuffle_i64x2::<0b10_11_00_01>(sums, sums));
            }
            _mm512_storeu_si512(starts.as_mut_ptr().cast(), _mm512_mullo_epi32(sums, times));
        }
    }
    starts
}

/// Adds to `p` the centred dots of groups `2 pair` and `2 pair + 1` times their `scales`; `codes` are those of the 64 values
/// around.
///
/// # Safety
/// AVX-512 F, BW and VNNI; the codes of a block at `q`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn add_pair<F: Lanes>(
    codes: &[__m512i; 16],
    (q, starts): (*const i8, *const Starts),
    (pair, scales): (usize, __m512i),
    p: &mut [__m512i; 2],
) {
    let group = F::SHAPE.group / 4;
    for (run, p) in p.iter_mut().enumerate().take(group / quads::<F>()) {
        let first = 2 * pair * group + run * quads::<F>();
        // SAFETY: the caller's: both runs are inside the block.
        let (even, odd) = unsafe {
            let start = |first| _mm512_set1_epi32(starts.cast::<i32>().add(first).read());
            let (even, odd) = (start(first), start(first + group));
            let run = quads::<F>();
            (dot(codes, q, (first, run), even), dot(codes, q, (first + group, run), odd))
        };
        const { assert!(F::RAISED[0] == 0 && (F::SHAPE.group == 32 || F::RAISED[2] == 0), "the even one is as it is") };
        let up = 16 - F::RAISED[(first + group) % 16 / 4];
        let odd = _mm512_sllv_epi32(odd, _mm512_set1_epi32(up as i32));
        *p = _mm512_dpwssd_epi32(*p, _mm512_mask_mov_epi16(odd, 0x5555_5555, even), scales);
    }
}

/// `start` and the products of so many vectors of `codes`, which are those of the 64 values around, from value `4 first` on.
///
/// # Safety
/// AVX-512 F and VNNI; the codes of a block at `q`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn dot(
    codes: &[__m512i; 16],
    q: *const i8,
    (first, quads): (usize, usize),
    start: __m512i,
) -> __m512i {
    let mut dots = [start, _mm512_setzero_si512()];
    for quad in first..first + quads {
        // Two chains, where one would be long.
        let dot = &mut dots[if quads == 8 { quad % 2 } else { 0 }];
        // SAFETY: the caller's.
        let q = unsafe { q.add(4 * quad).cast::<i32>().read_unaligned() };
        *dot = _mm512_dpbusd_epi32(*dot, codes[quad % 16], _mm512_set1_epi32(q));
    }
    _mm512_add_epi32(dots[0], dots[1])
}

/// `Σ sc Σ c q` of the block from its centred sums `p` and `s = Σ sc Σ q`; of an offset format, less the offset's part.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn join<F: Lanes>(p: [__m512i; 2], s: __m512i) -> __m512i {
    let p = _mm512_add_epi32(p[0], p[1]);
    if F::FORM == Form::Offset {
        return p;
    }
    let log = centre::<F>().trailing_zeros();
    _mm512_add_epi32(p, _mm512_sllv_epi32(s, _mm512_set1_epi32(log as i32)))
}
