//! Q6_K.

use std::arch::x86_64::*;

use super::{Index, UNIT, Wide, alternate, sum_each};
use crate::fused::q6_k::Q6K;
use crate::fused::u16_at;

pub(in crate::fused) use crate::fused::q6_k::Q6K as WideQ6K;

/// The scales of 128 values in the upper bytes of 16-bit places. Of sums of four products, packed, each 16 bytes hold four
/// of group `lane` and four of group `lane + 4`.
const fn upper(first: u8) -> Index {
    let mut index = [0x80; 64];
    let mut i = 0;
    while i < 32 {
        index[2 * i + 1] = first + (i / 8) as u8 + (i % 8 / 4 * 4) as u8;
        i += 1;
    }
    Index(index)
}

static FIRST: Index = upper(0);
static SECOND: Index = upper(8);

impl Wide for Q6K {
    // The low nibbles of 64 bytes are 64 successive values, the high ones the next 64.
    const PLACE: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn four(blocks: *const u8, q: *const i8, sums: *const i16) -> (__m256i, __m256) {
        // SAFETY: the caller's: the last byte read is that of the fourth block, of its codes and its sums.
        unsafe {
            let mut p = [_mm512_setzero_si512(); UNIT];
            for b in 0..UNIT {
                let (block, q) = (blocks.add(b * 210), q.add(b * 256));
                let scales = _mm_loadu_si128(block.add(192).cast());
                let each = _mm512_broadcast_i32x4(scales);
                let first = _mm512_srai_epi16::<8>(_mm512_shuffle_epi8(each, FIRST.load()));
                let second = _mm512_srai_epi16::<8>(_mm512_shuffle_epi8(each, SECOND.load()));
                let sum = _mm512_dpwssd_epi32(_mm512_setzero_si512(), products(block, block.add(128), q), first);
                let sum = _mm512_dpwssd_epi32(sum, products(block.add(64), block.add(160), q.add(128)), second);
                // 32 times a scale is at most 4096 in magnitude.
                let offset = _mm256_slli_epi16::<5>(_mm256_cvtepi8_epi16(scales));
                let m = _mm256_madd_epi16(offset, _mm256_loadu_si256(sums.add(b * 16).cast()));
                p[b] = _mm512_sub_epi32(sum, _mm512_zextsi256_si512(m));
            }
            let blocks = std::slice::from_raw_parts(blocks, UNIT * 210);
            let half = |b: usize| u64::from(u16_at(blocks, b * 210 + 208));
            let halves = _mm_cvtsi64_si128((half(0) | half(1) << 16 | half(2) << 32 | half(3) << 48).cast_signed());
            let zero = _mm_setzero_si128();
            (alternate(sum_each(p), zero), _mm256_cvtph_ps(_mm_unpacklo_epi16(halves, zero)))
        }
    }
}

/// Sums of four products of 128 codes, packed to i16: each is at most 4 * 63 * 127 = 32004.
///
/// # Safety
/// 64 readable bytes at `low`, 32 at `high`, 128 at `q`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn products(low: *const u8, high: *const u8, q: *const i8) -> __m512i {
    let (zero, nibble, code) = (_mm512_setzero_si512(), _mm512_set1_epi8(15), _mm512_set1_epi8(63));
    // Of 16 lanes of 32 bits, the first eight are those of one 32, the others of the next.
    let two = _mm512_inserti64x4::<1>(zero, _mm256_set1_epi32(2));
    // SAFETY: the caller's.
    unsafe {
        let w = _mm512_loadu_si512(low.cast());
        let pairs = _mm512_broadcast_i64x4(_mm256_loadu_si256(high.cast()));
        let first = _mm512_sllv_epi32(pairs, _mm512_sub_epi32(_mm512_set1_epi32(4), two));
        let second = _mm512_srlv_epi32(pairs, two);
        // nibble ? w : pairs, then without what a shift brought in.
        let first = _mm512_and_si512(_mm512_ternarylogic_epi32::<0xca>(nibble, w, first), code);
        let second = _mm512_ternarylogic_epi32::<0xca>(nibble, _mm512_srli_epi16::<4>(w), second);
        let first = _mm512_dpbusd_epi32(zero, first, _mm512_loadu_si512(q.cast()));
        let second = _mm512_dpbusd_epi32(zero, _mm512_and_si512(second, code), _mm512_loadu_si512(q.add(64).cast()));
        _mm512_packs_epi32(first, second)
    }
}
