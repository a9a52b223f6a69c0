//! Q4_K.

use std::arch::x86_64::*;

use super::{Index, UNIT, Wide, alternate, sum_each};
use crate::fused::q4_k::Q4K;

pub(in crate::fused) use crate::fused::q4_k::Q4K as WideQ4K;

/// Byte `2 k` of each 16 is scale or minimum `of[lane][k]`, byte `2 k + 1` zero.
const fn widen(of: [[u8; 8]; 4]) -> Index {
    let mut index = [0x80; 64];
    let mut i = 0;
    while i < 32 {
        index[2 * i] = of[i / 8][i % 8];
        i += 1;
    }
    Index(index)
}

/// Of sums of four products, packed: four of one group, four of the next.
const fn halves(first: u8) -> Index {
    let (a, b) = (first, first + 2);
    let (low, high) = ([a, a, a, a, a + 1, a + 1, a + 1, a + 1], [b, b, b, b, b + 1, b + 1, b + 1, b + 1]);
    widen([low, low, high, high])
}

static FIRST: Index = halves(0);
static SECOND: Index = halves(4);
static MINS: Index = widen([[8, 9, 10, 11, 12, 13, 14, 15]; 4]);

impl Wide for Q4K {
    // The low nibbles of 64 bytes are groups 0 and 2, the high ones 1 and 3.
    const PLACE: [usize; 8] = [0, 2, 1, 3, 4, 6, 5, 7];

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn four(blocks: *const u8, q: *const i8, sums: *const i16) -> (__m256i, __m256) {
        // SAFETY: the caller's: the last byte read is that of the fourth block, of its codes and its sums.
        unsafe {
            let head = |b: usize| _mm_loadu_si128(blocks.add(b * 144).cast());
            let heads = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(head(0)), head(1));
            let heads = _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(heads, head(2)), head(3));
            let small = scales_and_mins(heads);
            let mut p = [_mm512_setzero_si512(); UNIT];
            let groups = [
                _mm512_shuffle_i32x4::<0x00>(small, small),
                _mm512_shuffle_i32x4::<0x55>(small, small),
                _mm512_shuffle_i32x4::<0xaa>(small, small),
                _mm512_shuffle_i32x4::<0xff>(small, small),
            ];
            for b in 0..UNIT {
                let (codes, q) = (blocks.add(b * 144 + 16), q.add(b * 256));
                let first = _mm512_shuffle_epi8(groups[b], FIRST.load());
                let second = _mm512_shuffle_epi8(groups[b], SECOND.load());
                p[b] = _mm512_dpwssd_epi32(_mm512_setzero_si512(), products(codes, q), first);
                p[b] = _mm512_dpwssd_epi32(p[b], products(codes.add(64), q.add(128)), second);
            }
            let mins = _mm512_shuffle_epi8(small, MINS.load());
            let m = _mm512_madd_epi16(mins, _mm512_loadu_si512(sums.cast()));
            let m = _mm512_add_epi32(m, _mm512_shuffle_epi32::<0b10_11_00_01>(m));
            let m = _mm512_add_epi32(m, _mm512_shuffle_epi32::<0b01_00_11_10>(m));
            let first_of_each = _mm512_castsi128_si512(_mm_setr_epi32(0, 4, 8, 12));
            let m = _mm512_castsi512_si128(_mm512_permutexvar_epi32(first_of_each, m));
            let factors = _mm512_castsi512_si128(_mm512_permutexvar_epi32(first_of_each, heads));
            (alternate(sum_each(p), m), _mm256_cvtph_ps(factors))
        }
    }
}

/// Of four blocks' first 16 bytes: eight bytes of scales, then eight of minimums.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn scales_and_mins(heads: __m512i) -> __m512i {
    // As in `q4_k::scales_and_mins`, with its words a, b, c in lanes 1 to 3: a, a >> 2, b, b >> 2 and _, c, _, c >> 4.
    let ab = _mm512_shuffle_epi32::<0b10_10_01_01>(heads);
    let c = _mm512_shuffle_epi32::<0b11_11_11_11>(heads);
    let ab = _mm512_srlv_epi32(ab, _mm512_set4_epi32(2, 0, 2, 0));
    let c = _mm512_srlv_epi32(c, _mm512_set4_epi32(4, 0, 0, 0));
    let ab = _mm512_and_si512(ab, _mm512_set4_epi32(0x3030_3030, 0x3f3f_3f3f, 0x3030_3030, 0x3f3f_3f3f));
    // ab | c & mask
    _mm512_ternarylogic_epi32::<0xf8>(ab, c, _mm512_set4_epi32(0x0f0f_0f0f, 0, 0x0f0f_0f0f, 0))
}

/// Sums of four products of 128 codes, packed to i16: each is at most 4 * 15 * 127 = 7620.
///
/// # Safety
/// 64 readable bytes at `codes`, 128 at `q`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn products(codes: *const u8, q: *const i8) -> __m512i {
    let (zero, nibble) = (_mm512_setzero_si512(), _mm512_set1_epi8(15));
    // SAFETY: the caller's.
    unsafe {
        let w = _mm512_loadu_si512(codes.cast());
        let (low, high) = (_mm512_and_si512(w, nibble), _mm512_and_si512(_mm512_srli_epi16::<4>(w), nibble));
        let low = _mm512_dpbusd_epi32(zero, low, _mm512_loadu_si512(q.cast()));
        let high = _mm512_dpbusd_epi32(zero, high, _mm512_loadu_si512(q.add(64).cast()));
        _mm512_packs_epi32(low, high)
    }
}
