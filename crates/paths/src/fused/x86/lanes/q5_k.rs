//! Q5_K: the words of a block as they are.

use std::arch::x86_64::*;

use super::pack::{Strided, put_words};
use super::q4_k::{scales_and_mins, two_halves};
use super::{Lanes, Small, line};
use crate::fused::q5_k::Q5K;
use crate::lines::Line;

impl Lanes for Q5K {
    const LINES: usize = 44;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn pack(rows: Strided, tile: *mut Line) {
        // SAFETY: the caller's: 176 bytes are 44 words.
        unsafe { put_words::<11>(rows, 0, tile, 0) }
    }

    const RAISED: [u32; 4] = [0; 4];

    #[inline(always)]
    unsafe fn raised(tile: *const Line, part: usize) -> [__m512i; 16] {
        // SAFETY: the caller's: the last line is 12 + 8 * 3 + 7.
        unsafe {
            let (nibble, bit) = (_mm512_set1_epi8(15), _mm512_set1_epi8(16));
            // Bit `g` of a byte to bit 4 of the same.
            let turn = _mm512_set1_epi32((36 - 2 * part as i32) % 32);
            let next = _mm512_set1_epi32((35 - 2 * part as i32) % 32);
            let mut codes = [_mm512_setzero_si512(); 16];
            for k in 0..8 {
                let (fifth, w) = (line(tile, 4 + k), line(tile, 12 + 8 * part + k));
                let low = _mm512_and_si512(_mm512_rolv_epi32(fifth, turn), bit);
                let high = _mm512_and_si512(_mm512_rolv_epi32(fifth, next), bit);
                // fifth | w & nibble
                codes[k] = _mm512_ternarylogic_epi32::<0xf8>(low, w, nibble);
                codes[8 + k] = _mm512_ternarylogic_epi32::<0xf8>(high, _mm512_srli_epi16::<4>(w), nibble);
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
