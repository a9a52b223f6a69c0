//! Blocks in parts of 32 values, in 256-bit vectors. Every function asks for AVX2 and is inlined into a caller compiled for
//! it.

use std::arch::x86_64::*;

use crate::fused::split::{EightRows, EightSums, Parts};
use crate::fused::{Block, Form, Packed};

/// Of four vectors that hold a pair of 32s each: the sum of every 32. In each 16 bytes of a vector, two numbers belong to
/// the first of its pair and two to the second.
///
/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn sum_pairs(v: [__m256i; 4]) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        let (low, high) = (_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
        _mm256_add_epi32(_mm256_permute2x128_si256::<0x20>(low, high), _mm256_permute2x128_si256::<0x31>(low, high))
    }
}

/// The first eight of 16 values, widened.
///
/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn first_eight(v: &[i16; 16]) -> __m256i {
    // SAFETY: the caller's; 16 readable bytes.
    unsafe { _mm256_cvtepi16_epi32(_mm_loadu_si128(v.as_ptr().cast())) }
}

/// Writes the integers of each 32, of which `p` are the first.
///
/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn write_parts<F: Packed>(p: __m256i, block: &Block, sums: &[i16], parts: &mut Parts) {
    // SAFETY: the caller's; the loads read the sums that the slices have, 16 or 8, and the stores write eight floats.
    unsafe {
        let m = if F::SHAPE.group == 16 {
            let sums: &[i16; 16] = sums.first_chunk().expect("a sum per group");
            let mins = _mm256_loadu_si256(block.mins.as_ptr().cast());
            _mm256_madd_epi16(_mm256_loadu_si256(sums.as_ptr().cast()), mins)
        } else {
            let sums: &[i16; 8] = sums.first_chunk().expect("a sum per group");
            let sums = _mm256_cvtepi16_epi32(_mm_loadu_si128(sums.as_ptr().cast()));
            _mm256_mullo_epi32(sums, first_eight(&block.mins))
        };
        if F::FORM == Form::Offset {
            _mm256_storeu_ps(parts.p.as_mut_ptr(), _mm256_cvtepi32_ps(_mm256_sub_epi32(p, m)));
        } else {
            _mm256_storeu_ps(parts.p.as_mut_ptr(), _mm256_cvtepi32_ps(p));
            _mm256_storeu_ps(parts.m.as_mut_ptr(), _mm256_cvtepi32_ps(m));
        }
    }
}

/// Adds one block of eight rows to their sums; lanes are rows.
///
/// # Safety
/// AVX2 and FMA.
#[inline(always)]
pub(super) unsafe fn add_rows<F: Packed>(rows: &EightRows, a: &[f32; 8], sums: &mut EightSums) {
    // SAFETY: the caller's; every load and store is of an array of eight floats.
    unsafe {
        let mut p = [_mm256_setzero_ps(); 8];
        for r in 0..8 {
            p[r] = _mm256_loadu_ps(rows.parts[r].p.as_ptr());
        }
        let p = turn(p);
        let d = _mm256_loadu_ps(rows.d.as_ptr());
        let mut acc = _mm256_loadu_ps(sums.acc.as_ptr());
        for j in 0..8 {
            acc = _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(a[j])), p[j], acc);
        }
        _mm256_storeu_ps(sums.acc.as_mut_ptr(), acc);
        if F::FORM != Form::Offset {
            let mut m = [_mm256_setzero_ps(); 8];
            for r in 0..8 {
                m[r] = _mm256_loadu_ps(rows.parts[r].m.as_ptr());
            }
            let m = turn(m);
            let dm = _mm256_loadu_ps(rows.dm.as_ptr());
            let mut accm = _mm256_loadu_ps(sums.accm.as_ptr());
            for j in 0..8 {
                accm = _mm256_fmadd_ps(_mm256_mul_ps(dm, _mm256_set1_ps(a[j])), m[j], accm);
            }
            _mm256_storeu_ps(sums.accm.as_mut_ptr(), accm);
        }
    }
}

/// Rows to columns. (Without closures: they would be compiled for the baseline, and these intrinsics with them.)
///
/// # Safety
/// AVX2.
#[inline(always)]
unsafe fn turn(v: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: the caller's.
    unsafe {
        // Pairs of rows, then fours, in each half of the columns; then the halves are brought together.
        let (mut four, mut turned) = ([_mm256_setzero_ps(); 8], [_mm256_setzero_ps(); 8]);
        for i in [0, 4] {
            let (a, b) = (_mm256_unpacklo_ps(v[i], v[i + 1]), _mm256_unpackhi_ps(v[i], v[i + 1]));
            let (c, d) = (_mm256_unpacklo_ps(v[i + 2], v[i + 3]), _mm256_unpackhi_ps(v[i + 2], v[i + 3]));
            four[i] = _mm256_shuffle_ps::<0x44>(a, c);
            four[i + 1] = _mm256_shuffle_ps::<0xee>(a, c);
            four[i + 2] = _mm256_shuffle_ps::<0x44>(b, d);
            four[i + 3] = _mm256_shuffle_ps::<0xee>(b, d);
        }
        for i in 0..4 {
            turned[i] = _mm256_permute2f128_ps::<0x20>(four[i], four[i + 4]);
            turned[i + 4] = _mm256_permute2f128_ps::<0x31>(four[i], four[i + 4]);
        }
        turned
    }
}
