//! Blocks in parts of 32 values, in 256-bit vectors. Every function asks for AVX2 and is inlined into a caller compiled for
//! it.

use std::arch::x86_64::*;

use crate::fused::split::{Activations, EightRows, EightSums, Parts};
use crate::fused::{Block, Form, Packed, by_32, offset_log};

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

/// Writes the integers of each 32, of which `p` are the first.
///
/// # Safety
/// AVX2.
#[inline(always)]
pub(super) unsafe fn write_parts<F: Packed>(mut p: __m256i, block: &Block, sums: &[i16], parts: &mut Parts) {
    // SAFETY: the caller's; the loads read the sums that the slices have, 16 or 8, and eight of 16 scales and minimums; the
    // stores write eight words.
    unsafe {
        if by_32::<F>() {
            let [scales, mins] = [&block.scales, &block.mins].map(|v| _mm_loadu_si128(v.as_ptr().cast()));
            let (first, last) = (_mm_unpacklo_epi16(scales, mins), _mm_unpackhi_epi16(scales, mins));
            _mm256_storeu_si256(parts.beside.as_mut_ptr().cast(), _mm256_set_m128i(last, first));
            if F::FORM == Form::Offset {
                let sums: &[i16; 8] = sums.first_chunk().expect("a sum per group");
                let sums = _mm256_cvtepi16_epi32(_mm_loadu_si128(sums.as_ptr().cast()));
                p = _mm256_sub_epi32(p, _mm256_sllv_epi32(sums, _mm256_set1_epi32(offset_log::<F>() as i32)));
            }
        } else {
            let sums: &[i16; 16] = sums.first_chunk().expect("a sum per group");
            let mins = _mm256_loadu_si256(block.mins.as_ptr().cast());
            let m = _mm256_madd_epi16(_mm256_loadu_si256(sums.as_ptr().cast()), mins);
            if F::FORM == Form::Offset {
                p = _mm256_sub_epi32(p, m);
            } else {
                _mm256_storeu_ps(parts.beside.as_mut_ptr().cast(), _mm256_cvtepi32_ps(m));
            }
        }
        _mm256_storeu_ps(parts.p.as_mut_ptr(), _mm256_cvtepi32_ps(p));
    }
}

/// Adds one block of eight rows to their sums; lanes are rows.
///
/// # Safety
/// AVX2 and FMA.
#[inline(always)]
pub(super) unsafe fn add_rows<F: Packed>(rows: &EightRows, x: Activations<'_>, sums: &mut EightSums) {
    // SAFETY: the caller's; every load and store is of an array of eight floats.
    unsafe {
        let [mut p, mut beside, mut scales] = [[_mm256_setzero_ps(); 8]; 3];
        for r in 0..8 {
            beside[r] = _mm256_loadu_ps(rows.parts[r].beside.as_ptr().cast());
        }
        let beside = turn(beside);
        let (d, dm) = (_mm256_loadu_ps(rows.d.as_ptr()), _mm256_loadu_ps(rows.dm.as_ptr()));
        let mut accm = _mm256_loadu_ps(sums.accm.as_ptr());
        for j in 0..8 {
            let a = _mm256_set1_ps(x.a[j]);
            let (w, v, m) = if by_32::<F>() {
                let pairs = _mm256_castps_si256(beside[j]);
                let scale = _mm256_cvtepi32_ps(_mm256_srai_epi32::<16>(_mm256_slli_epi32::<16>(pairs)));
                let min = _mm256_cvtepi32_ps(_mm256_srai_epi32::<16>(pairs));
                (_mm256_mul_ps(d, scale), _mm256_mul_ps(dm, min), _mm256_set1_ps(x.scaled[j]))
            } else {
                (d, dm, _mm256_mul_ps(a, beside[j]))
            };
            scales[j] = _mm256_mul_ps(w, a);
            if F::FORM != Form::Offset {
                accm = _mm256_fmadd_ps(v, m, accm);
            }
        }
        _mm256_storeu_ps(sums.accm.as_mut_ptr(), accm);
        for r in 0..8 {
            p[r] = _mm256_loadu_ps(rows.parts[r].p.as_ptr());
        }
        let p = turn(p);
        let mut acc = _mm256_loadu_ps(sums.acc.as_ptr());
        for j in 0..8 {
            acc = _mm256_fmadd_ps(scales[j], p[j], acc);
        }
        _mm256_storeu_ps(sums.acc.as_mut_ptr(), acc);
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
