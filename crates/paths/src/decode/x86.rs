//! The two formats of a Q4_K_M file with AVX-512, with the bits of their portable twins.

use std::arch::x86_64::*;

/// Sixteen codes widened to 32 bits.
///
/// # Safety
/// `from` points to 16 bytes.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn widened(from: *const u8) -> __m512i {
    // SAFETY: the caller's.
    _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(from.cast()) })
}

/// Q4_K. Each group of 32 has sixteen values: they are computed once and looked up. Scale times code is exact, so one
/// rounding is left, that of the subtraction.
#[target_feature(enable = "avx512f,f16c")]
pub(super) fn q4_k(blocks: &[[u8; 144]], out: &mut [[f32; 256]]) {
    let codes = _mm512_set_ps(15.0, 14.0, 13.0, 12.0, 11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0);
    for (block, out) in blocks.iter().zip(out) {
        let groups = scales_mins(block);
        // SAFETY: floats of `groups`.
        let value = |j: usize| unsafe { _mm512_fmsub_ps(codes, spread(&groups[j]), spread(&groups[8 + j])) };
        for pair in 0..4 {
            let (low, high) = (value(2 * pair), value(2 * pair + 1));
            for half in 0..2 {
                // SAFETY: 16 of the 128 bytes of codes, and of each of two groups 16 values.
                unsafe {
                    let q = widened(block.as_ptr().add(16 + 32 * pair + 16 * half));
                    let to = out.as_mut_ptr().add(64 * pair + 16 * half);
                    // Of an index the low four bits count.
                    _mm512_storeu_ps(to, _mm512_permutexvar_ps(q, low));
                    _mm512_storeu_ps(to.add(32), _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(q), high));
                }
            }
        }
    }
}

/// `x` in every lane, by the load that spreads it: LLVM would rather load several and shuffle each into place twice, and
/// shuffling is what all the rest does.
///
/// # Safety
/// `x` points to a float.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn spread(x: *const f32) -> __m512 {
    let v;
    // SAFETY: the caller's; the instruction is one of AVX-512 F and changes nothing but its register.
    unsafe {
        std::arch::asm!(
            "vbroadcastss {v}, dword ptr [{x}]",
            v = lateout(zmm_reg) v, x = in(reg) x, options(pure, readonly, nostack, preserves_flags)
        );
    }
    v
}

/// The eight scales, then the eight minimums.
#[inline]
#[target_feature(enable = "avx512f,f16c")]
fn scales_mins(block: &[u8; 144]) -> [f32; 16] {
    let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let (a, b, c) = (word(4), word(8), word(12));
    let high = |of: u32| of >> 2 & 0x3030_3030;
    let both = |low: u32, high: u32| i64::from(low) | i64::from(high) << 32;
    let scales = both(a & 0x3f3f_3f3f, c & 0x0f0f_0f0f | high(a));
    let mins = both(b & 0x3f3f_3f3f, c >> 4 & 0x0f0f_0f0f | high(b));
    let units = _mm512_mask_blend_ps(0xff00, unit(block, 0), unit(block, 2));
    let mut groups = [0.0; 16];
    let steps = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_set_epi64x(mins, scales)));
    // SAFETY: sixteen floats.
    unsafe { _mm512_storeu_ps(groups.as_mut_ptr(), _mm512_mul_ps(steps, units)) };
    groups
}

/// An f16 at a byte offset, in every lane.
#[inline]
#[target_feature(enable = "avx512f,f16c")]
fn unit(block: &[u8], at: usize) -> __m512 {
    _mm512_cvtph_ps(_mm256_set1_epi16(i16::from_le_bytes([block[at], block[at + 1]])))
}

/// Q6_K.
#[target_feature(enable = "avx512f,avx512bw,f16c")]
pub(super) fn q6_k(blocks: &[[u8; 210]], out: &mut [[f32; 256]]) {
    for (block, out) in blocks.iter().zip(out) {
        let scales = scales(block);
        for half in 0..2 {
            let codes = codes(block, half);
            for group in 0..8 {
                // SAFETY: 16 of the 128 codes, a scale, and 16 of the 128 values.
                unsafe {
                    let q = _mm512_cvtepi8_epi32(_mm_loadu_si128(codes.as_ptr().cast::<u8>().add(16 * group).cast()));
                    let values = _mm512_mul_ps(_mm512_cvtepi32_ps(q), spread(&scales[8 * half + group]));
                    _mm512_storeu_ps(out.as_mut_ptr().add(128 * half + 16 * group), values);
                }
            }
        }
    }
}

/// The sixteen scales.
#[inline]
#[target_feature(enable = "avx512f,f16c")]
fn scales(block: &[u8; 210]) -> [f32; 16] {
    let mut scales = [0.0; 16];
    // SAFETY: sixteen bytes, and sixteen floats.
    unsafe {
        let steps = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(block.as_ptr().add(192).cast())));
        _mm512_storeu_ps(scales.as_mut_ptr(), _mm512_mul_ps(steps, unit(block, 208)));
    }
    scales
}

/// The 128 codes of a half, less 32, in the order of their values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn codes(block: &[u8; 210], half: usize) -> [[i8; 64]; 2] {
    let (mut codes, low_bits, high_bits) = ([[0; 64]; 2], _mm512_set1_epi8(15), _mm512_set1_epi8(0x30));
    // SAFETY: 64 bytes of low bits, 32 of high bits.
    let (low, high) = unsafe {
        let high = _mm256_loadu_si256(block.as_ptr().add(128 + 32 * half).cast());
        (_mm512_loadu_si512(block.as_ptr().add(64 * half).cast()), _mm512_broadcast_i64x4(high))
    };
    // Plane `j` of 32 values has its high bits at bit `2 j` of these bytes; they belong at bit 4.
    let shifted = |by: [i64; 2]| _mm512_set_epi64(by[1], by[1], by[1], by[1], by[0], by[0], by[0], by[0]);
    let planes = [
        (low, _mm512_sllv_epi64(high, shifted([4, 2]))),
        (_mm512_srli_epi16::<4>(low), _mm512_srlv_epi64(high, shifted([0, 2]))),
    ];
    for ((low, high), codes) in planes.into_iter().zip(&mut codes) {
        let both = _mm512_or_si512(_mm512_and_si512(low, low_bits), _mm512_and_si512(high, high_bits));
        // SAFETY: 64 bytes.
        unsafe { _mm512_storeu_si512(codes.as_mut_ptr().cast(), _mm512_sub_epi8(both, _mm512_set1_epi8(32))) };
    }
    codes
}
