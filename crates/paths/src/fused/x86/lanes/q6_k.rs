//! Q6_K: four lines of scales, one of d, then for each half of 128 values and each four of 32 two lines of low nibbles and
//! one of upper bit pairs.

use std::arch::x86_64::*;

use super::pack::{Strided, four_words, put, put_words};
use super::{Lanes, Small, line};
use crate::fused::q6_k::Q6K;
use crate::fused::tiles::Line;

impl Lanes for Q6K {
    const LINES: usize = 53;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn pack(rows: Strided, tile: *mut Line) {
        // SAFETY: the caller's: 48 words of codes, 4 of scales, then two bytes of d, which end 16 that begin at 194.
        unsafe {
            put_words::<1>(rows, 192, tile, 0);
            put(tile, 4, _mm512_srli_epi32::<16>(four_words(rows, 194)[3]));
            for (plane, from) in [(0, 0), (1, 32), (0, 64), (1, 96), (2, 128), (2, 160)] {
                let half = if plane == 2 { (from - 128) / 32 } else { from / 64 };
                for i in 0..2 {
                    for (k, word) in four_words(rows, from + 16 * i).into_iter().enumerate() {
                        put(tile, 5 + 24 * half + 3 * (4 * i + k) + plane, word);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn codes(tile: *const Line, part: usize) -> [__m512i; 16] {
        // SAFETY: the caller's: the last line is 5 + 24 + 21 + 2.
        unsafe {
            let (nibble, pair) = (_mm512_set1_epi8(15), _mm512_set1_epi8(0x30));
            // The first 64 values of a half have their bits 4 and 2 places lower, the others their nibbles 4 higher.
            let odd = (part % 2) as i32;
            let (down, up) = (_mm512_set1_epi32(4 * odd), _mm512_set1_epi32(4 - 4 * odd));
            let next = _mm512_set1_epi32((2 + 28 * odd) % 32);
            let mut codes = [_mm512_setzero_si512(); 16];
            for k in 0..8 {
                let at = 5 + 24 * (part / 2) + 3 * k;
                let (a, b, upper) = (line(tile, at), line(tile, at + 1), line(tile, at + 2));
                let first = _mm512_and_si512(_mm512_sllv_epi32(upper, up), pair);
                let second = _mm512_and_si512(_mm512_rolv_epi32(upper, next), pair);
                // upper | low & nibble
                codes[k] = _mm512_ternarylogic_epi32::<0xf8>(first, _mm512_srlv_epi32(a, down), nibble);
                codes[8 + k] = _mm512_ternarylogic_epi32::<0xf8>(second, _mm512_srlv_epi32(b, down), nibble);
            }
            codes
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn small(tile: *const Line) -> Small {
        // The first or the last two bytes of each word, in the upper halves of 16 bits.
        let first = _mm512_set4_epi32(0x0d80_0c80, 0x0980_0880, 0x0580_0480, 0x0180_0080);
        let last = _mm512_or_si512(first, _mm512_set1_epi32(0x0200_0200));
        let mut small = Small { scales: [_mm512_setzero_si512(); 8], mins: [_mm512_setzero_si512(); 8] };
        for i in 0..8 {
            // SAFETY: the caller's.
            let word = unsafe { line(tile, i / 2) };
            let upper = _mm512_shuffle_epi8(word, if i % 2 == 0 { first } else { last });
            small.scales[i] = _mm512_srai_epi16::<8>(upper);
            // 32 times a scale is at most 4096 in magnitude.
            small.mins[i] = _mm512_srai_epi16::<3>(upper);
        }
        small
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn d_and_dm(tile: *const Line) -> [__m512; 2] {
        // SAFETY: the caller's.
        let d = unsafe { _mm512_cvtph_ps(_mm512_cvtepi32_epi16(line(tile, 4))) };
        [d, _mm512_setzero_ps()]
    }
}
