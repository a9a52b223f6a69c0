//! Q4_K: the words of a block as they are.

use std::arch::x86_64::*;

use super::pack::{Strided, put_words};
use super::{Lanes, Small, line};
use crate::fused::q4_k::Q4K;
use crate::lines::Line;

impl Lanes for Q4K {
    const LINES: usize = 36;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn pack(rows: Strided, tile: *mut Line) {
        // SAFETY: the caller's: 144 bytes are 36 words.
        unsafe { put_words::<9>(rows, 0, tile, 0) }
    }

    const RAISED: [u32; 4] = [0, 0, 4, 4];

    #[inline(always)]
    unsafe fn raised(tile: *const Line, part: usize) -> [__m512i; 16] {
        // SAFETY: the caller's: the last line is 4 + 8 * 3 + 7.
        unsafe {
            let (low, high) = (_mm512_set1_epi8(0x0f), _mm512_set1_epi8(0xf0_u8.cast_signed()));
            let mut codes = [_mm512_setzero_si512(); 16];
            for k in 0..8 {
                let w = line(tile, 4 + 8 * part + k);
                codes[k] = _mm512_and_si512(w, low);
                codes[8 + k] = _mm512_and_si512(w, high);
            }
            codes
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn small(tile: *const Line) -> Small {
        // SAFETY: the caller's.
        unsafe { scales_and_mins(tile) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn d_and_dm(tile: *const Line) -> [__m512; 2] {
        // SAFETY: the caller's.
        unsafe { two_halves(line(tile, 0)) }
    }
}

/// The two f16 of each word.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn two_halves(words: __m512i) -> [__m512; 2] {
    let half = |words| _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words));
    [half(words), half(_mm512_srli_epi32::<16>(words))]
}

/// The scales and minimums of Q4_K and Q5_K, whose words are in lines 1 to 3: see
/// [`scales_and_mins`](crate::fused::q4_k::scales_and_mins).
///
/// # Safety
/// AVX-512 F and BW; four lines at `tile`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn scales_and_mins(tile: *const Line) -> Small {
    // SAFETY: the caller's.
    let [a, b, c] = unsafe { [line(tile, 1), line(tile, 2), line(tile, 3)] };
    let (six, four) = (_mm512_set1_epi8(0x3f), _mm512_set1_epi8(0x0f));
    let upper = |w| _mm512_and_si512(_mm512_srli_epi32::<2>(w), _mm512_set1_epi8(0x30));
    // upper | c & four
    let scales = [_mm512_and_si512(a, six), _mm512_ternarylogic_epi32::<0xf8>(upper(a), c, four)];
    let c = _mm512_srli_epi32::<4>(c);
    let mins = [_mm512_and_si512(b, six), _mm512_ternarylogic_epi32::<0xf8>(upper(b), c, four)];
    // The first or the last two bytes of each word, in 16 bits.
    let first = _mm512_set4_epi32(
        0x800d_800c_u32.cast_signed(),
        0x8009_8008_u32.cast_signed(),
        0x8005_8004_u32.cast_signed(),
        0x8001_8000_u32.cast_signed(),
    );
    let last = _mm512_or_si512(first, _mm512_set1_epi32(0x0002_0002));
    let mut small = Small { scales: [_mm512_setzero_si512(); 8], mins: [_mm512_setzero_si512(); 8] };
    for i in 0..2 {
        small.scales[2 * i] = _mm512_shuffle_epi8(scales[i], first);
        small.scales[2 * i + 1] = _mm512_shuffle_epi8(scales[i], last);
        small.mins[2 * i] = _mm512_shuffle_epi8(mins[i], first);
        small.mins[2 * i + 1] = _mm512_shuffle_epi8(mins[i], last);
    }
    small
}
