//! Products of codes, in 256-bit vectors. Every function asks for AVX2 and is inlined into a caller compiled for it.

use std::arch::x86_64::*;

use super::Products;
use crate::fused::bytes::{Eight, Terms};
use crate::fused::{Block, Form, Packed, array, u16_at};

/// What eight blocks of 32 add to a sum.
///
/// # Safety
/// AVX2 and F16C.
#[inline(always)]
pub(super) unsafe fn eight<F: Packed, S: Products>(s: S, blocks: &[u8], activations: &Eight<'_>, terms: &mut Terms) {
    // SAFETY: the caller's; the arrays have the lengths that are read and written.
    unsafe {
        let mut block = Block::ZERO;
        let mut dots = [_mm256_setzero_si256(); 8];
        for i in 0..8 {
            F::unpack(s, &blocks[i * F::BYTES..(i + 1) * F::BYTES], &mut block);
            dots[i] = s.products::<F>(s.load(array(&block.codes, 0)), load_i8(activations.q, 32 * i));
        }
        let p = sum_each(dots);
        // The second of each pair of sums is zero.
        let mins = _mm256_set1_epi32(i32::from(block.mins[0]));
        let m = _mm256_madd_epi16(_mm256_loadu_si256(activations.sums.as_ptr().cast()), mins);
        let a = _mm256_loadu_ps(activations.d.as_ptr());
        let main = if F::FORM == Form::Offset { _mm256_sub_epi32(p, m) } else { p };
        _mm256_storeu_ps(terms.integers.as_mut_ptr(), _mm256_cvtepi32_ps(main));
        _mm256_storeu_ps(terms.scales.as_mut_ptr(), _mm256_mul_ps(halves::<F>(blocks, 0), a));
        if F::FORM != Form::Offset {
            _mm256_storeu_ps(terms.min_integers.as_mut_ptr(), _mm256_cvtepi32_ps(m));
            _mm256_storeu_ps(terms.min_scales.as_mut_ptr(), _mm256_mul_ps(halves::<F>(blocks, 2), a));
        }
    }
}

/// The f16 at byte `at` of each of eight blocks.
///
/// # Safety
/// AVX2 and F16C.
#[inline(always)]
pub(super) unsafe fn halves<F: Packed>(blocks: &[u8], at: usize) -> __m256 {
    let half = |i: usize| u16_at(blocks, i * F::BYTES + at).cast_signed();
    // SAFETY: the caller's.
    unsafe { _mm256_cvtph_ps(_mm_setr_epi16(half(0), half(1), half(2), half(3), half(4), half(5), half(6), half(7))) }
}

/// The sum of each of eight vectors.
///
/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn sum_each(v: [__m256i; 8]) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        let low = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
        let high = _mm256_hadd_epi32(_mm256_hadd_epi32(v[4], v[5]), _mm256_hadd_epi32(v[6], v[7]));
        _mm256_add_epi32(_mm256_permute2x128_si256::<0x20>(low, high), _mm256_permute2x128_si256::<0x31>(low, high))
    }
}

/// The products of 32 values times their scales, in eight partial sums.
///
/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn weigh<F: Packed>(block: &Block, i: usize, c: __m256i, q: __m256i) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        if F::TOP <= 127 {
            return narrow(c, q, scales_of_32::<F>(block, i));
        }
        let dot = wide(c, q);
        // Formats with codes above 127 have one scale per 32 values.
        if F::SHAPE.block == 32 { dot } else { _mm256_mullo_epi32(dot, _mm256_set1_epi32(i32::from(block.scales[i]))) }
    }
}

/// Σ `scale` c q in eight partial sums, for codes up to 127.
///
/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn narrow(c: __m256i, q: __m256i, scale: __m256i) -> __m256i {
    // A pair of products is at most 2 * 127 * 127 = 32258 in magnitude: vpmaddubsw does not saturate.
    // SAFETY: the caller's.
    unsafe { _mm256_madd_epi16(_mm256_maddubs_epi16(c, q), scale) }
}

/// Σ c q in eight partial sums, for all codes.
///
/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn wide(c: __m256i, q: __m256i) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        let low_c = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(c));
        let low_q = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(q));
        let high_c = _mm256_cvtepu8_epi16(_mm256_extracti128_si256::<1>(c));
        let high_q = _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(q));
        _mm256_add_epi32(_mm256_madd_epi16(low_c, low_q), _mm256_madd_epi16(high_c, high_q))
    }
}

/// The scales of values `32 i ..`, one per pair of values in their order.
///
/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn scales_of_32<F: Packed>(block: &Block, i: usize) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        if F::SHAPE.group == 32 {
            _mm256_set1_epi16(block.scales[i])
        } else {
            _mm256_set_m128i(_mm_set1_epi16(block.scales[2 * i + 1]), _mm_set1_epi16(block.scales[2 * i]))
        }
    }
}

/// The products of the minimums and the sums of codes, in eight partial sums; of 32-wide blocks in the first alone.
///
/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn minimums<F: Packed>(block: &Block, sums: &[i16]) -> __m256i {
    // SAFETY: the caller's; the loads read the sums that the slices have: 16, 8 or, of two, none.
    unsafe {
        match F::SHAPE.block / F::SHAPE.group {
            16 => {
                let sums: &[i16; 16] = sums.first_chunk().expect("a sum per group");
                let mins = _mm256_loadu_si256(block.mins.as_ptr().cast());
                _mm256_madd_epi16(_mm256_loadu_si256(sums.as_ptr().cast()), mins)
            }
            8 => {
                let sums: &[i16; 8] = sums.first_chunk().expect("a sum per group");
                let mins = _mm_loadu_si128(block.mins.as_ptr().cast());
                _mm256_zextsi128_si256(_mm_madd_epi16(_mm_loadu_si128(sums.as_ptr().cast()), mins))
            }
            _ => {
                let m = i32::from(sums[0]).wrapping_mul(i32::from(block.mins[0]));
                _mm256_zextsi128_si256(_mm_cvtsi32_si128(m))
            }
        }
    }
}

/// The two integers from their partial sums. Of an offset format only the difference counts: it comes as `(p - m, 0)`.
///
/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn join<F: Packed>(p: __m256i, m: __m256i) -> (i32, i32) {
    // SAFETY: the caller's.
    unsafe {
        if F::FORM == Form::Offset {
            (sum(_mm256_sub_epi32(p, m)), 0)
        } else if F::SHAPE.block == 32 {
            (sum(p), _mm256_cvtsi256_si32(m))
        } else {
            let both = _mm256_hadd_epi32(p, m);
            let both = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256::<1>(both));
            let both = _mm_hadd_epi32(both, both);
            (_mm_cvtsi128_si32(both), _mm_extract_epi32::<1>(both))
        }
    }
}

/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn sum(v: __m256i) -> i32 {
    // SAFETY: the caller's.
    unsafe {
        let v = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
        let v = _mm_add_epi32(v, _mm_shuffle_epi32::<0b00_00_11_10>(v));
        _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32::<1>(v)))
    }
}

/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn load_i8(q: &[i8], at: usize) -> __m256i {
    let q: &[i8; 32] = q[at..at + 32].first_chunk().expect("the range has 32 values");
    // SAFETY: the caller's; 32 readable bytes.
    unsafe { _mm256_loadu_si256(q.as_ptr().cast()) }
}

/// The scales of values `64 j ..` in the order in which two vectors of sums of four are packed: of each 16 bytes, four of
/// the first vector, then four of the second.
///
/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn scales_of_64<F: Packed>(block: &Block, j: usize) -> __m256i {
    const fn index(group: usize, j: usize) -> [u8; 32] {
        let mut index = [0; 32];
        let mut i = 0;
        while i < 32 {
            let (lane, of_second) = (i / 16, i % 16 / 8);
            let value = 64 * j + 32 * of_second + 16 * lane;
            index[i] = (2 * (value / group % 8) + i % 2) as u8;
            i += 1;
        }
        index
    }
    const LONG: [[u8; 32]; 4] = [index(32, 0), index(32, 1), index(32, 2), index(32, 3)];
    const SHORT: [[u8; 32]; 4] = [index(16, 0), index(16, 1), index(16, 2), index(16, 3)];
    let (index, half) = if F::SHAPE.group == 32 { (&LONG[j], 0) } else { (&SHORT[j], j / 2) };
    let scales: &[i16; 8] = block.scales[8 * half..8 * half + 8].first_chunk().expect("the range has 8 scales");
    // SAFETY: the caller's; 16 and 32 readable bytes.
    unsafe {
        let scales = _mm256_broadcastsi128_si256(_mm_loadu_si128(scales.as_ptr().cast()));
        _mm256_shuffle_epi8(scales, _mm256_loadu_si256(index.as_ptr().cast()))
    }
}
