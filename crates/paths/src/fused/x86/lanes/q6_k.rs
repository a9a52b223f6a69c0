//! Q6_K: four lines of scales, one of d, then of each 64 values four times three lines, whose bytes hold a code of one of the
//! first three groups and, above it, two bits of a code of the fourth.

use std::arch::x86_64::*;

use super::pack::{Strided, four_words, put, put_words};
use super::{Lanes, Small, line};
use crate::fused::q6_k::Q6K;
use crate::lines::Line;

impl Lanes for Q6K {
    const LINES: usize = 53;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn pack(rows: Strided, tile: *mut Line) {
        // SAFETY: the caller's: 4 words of scales, then two bytes of d, which end 16 that begin at 194.
        unsafe {
            put_words::<1>(rows, 192, tile, 0);
            put(tile, 4, _mm512_srli_epi32::<16>(four_words(rows, 194)[3]));
            for half in 0..2 {
                put_half(rows, half, tile.add(5 + 24 * half));
            }
        }
    }

    // The fourth group's codes have their bits where the line of the first has them.
    const RAISED: [u32; 4] = [0, 0, 0, 2];

    #[inline(always)]
    unsafe fn raised(tile: *const Line, part: usize) -> [__m512i; 16] {
        // SAFETY: the caller's: the last line is 5 + 12 * 3 + 3 * 3 + 2.
        unsafe {
            let six = _mm512_set1_epi8(0x3f);
            let [top2, top4, top6] = [0xc0_u8, 0xf0, 0xfc].map(|bits| _mm512_set1_epi8(bits.cast_signed()));
            let mut codes = [_mm512_setzero_si512(); 16];
            for k in 0..4 {
                let at = 5 + 12 * part + 3 * k;
                let [a, b, c] = [line(tile, at), line(tile, at + 1), line(tile, at + 2)];
                (codes[k], codes[4 + k]) = (_mm512_and_si512(a, six), _mm512_and_si512(b, six));
                codes[8 + k] = _mm512_and_si512(c, six);
                // mask ? first : second
                let ab = _mm512_ternarylogic_epi32::<0xca>(top2, a, _mm512_srli_epi16::<2>(b));
                let abc = _mm512_ternarylogic_epi32::<0xca>(top4, ab, _mm512_srli_epi16::<4>(c));
                codes[12 + k] = _mm512_and_si512(abc, top6);
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

/// Puts the codes of values `128 half ..` in 24 lines.
///
/// # Safety
/// AVX-512 F and BW; a block of each of sixteen rows; so many lines at `lines`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn put_half(rows: Strided, half: usize, lines: *mut Line) {
    let (nibble, pair) = (_mm512_set1_epi8(0x0f), _mm512_set1_epi8(0x30));
    let top = _mm512_set1_epi8(0xc0_u8.cast_signed());
    // SAFETY: the caller's: low nibbles are bytes 64 half .. of 128, pairs of upper bits bytes 32 half .. of the 64 after them.
    unsafe {
        let low = [0, 16, 32, 48].map(|at| four_words(rows, 64 * half + at));
        let upper = [0, 16].map(|at| four_words(rows, 128 + 32 * half + at));
        for odd in 0..2 {
            for k in 0..4 {
                // Of the second 64 values nibbles and pairs are four bits higher.
                let code = |words: usize, pairs: usize, up: u32| {
                    let low = _mm512_srlv_epi32(low[words][k], _mm512_set1_epi32(4 * odd));
                    let turn = _mm512_set1_epi32((up as i32 + 32 - 4 * odd) % 32);
                    let upper = _mm512_and_si512(_mm512_rolv_epi32(upper[pairs][k], turn), pair);
                    // upper | low & nibble
                    _mm512_ternarylogic_epi32::<0xf8>(upper, low, nibble)
                };
                let fourth = code(3, 1, 2);
                for (group, code) in [code(0, 0, 4), code(1, 1, 4), code(2, 0, 2)].into_iter().enumerate() {
                    let bits = _mm512_sllv_epi32(fourth, _mm512_set1_epi32(2 + 2 * group as i32));
                    let both = _mm512_ternarylogic_epi32::<0xf8>(code, bits, top);
                    put(lines, 12 * odd as usize + 3 * k + group, both);
                }
            }
        }
    }
}
