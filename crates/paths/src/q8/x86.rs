//! Q8_K in AVX-512: one pass over a block for its extremes, one for its codes.

use std::arch::x86_64::*;

use super::{Coding, MANY, Most, Part, Q8_K_BLOCK, extreme};

/// Codes blocks of each position as Q8_K. Of each the largest value is found while the one before is coded: a scale is known
/// long after the last value was read.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn code_all(coding: Coding<'_>) {
    let Coding { part: Part { b, q, d, sums, most: mosts }, shape, x, cols, .. } = coding;
    let (positions, count) = (x.len() / cols, d.len());
    let block = |i: usize| -> &[f32; Q8_K_BLOCK] {
        let x = &x[i % positions * cols + (b + i / positions) * Q8_K_BLOCK..];
        x.first_chunk().expect("columns are whole blocks")
    };
    let each = q.as_chunks_mut().0.iter_mut().zip(d.iter_mut().zip(sums.chunks_exact_mut(shape.sums())));
    let mut next = top(block(0));
    for (i, (q, (d, sums))) in each.enumerate() {
        let now = next;
        if i + 1 < count {
            next = top(block(i + 1));
        }
        *d = code(block(i), now, q, sums);
    }
    let each = mosts.chunks_exact_mut(positions.div_ceil(MANY)).zip(q.chunks_exact(positions * Q8_K_BLOCK));
    for (mosts, q) in each {
        for (to, q) in mosts.iter_mut().zip(q.chunks(MANY * Q8_K_BLOCK)) {
            *to = most(q.as_chunks().0, shape.group);
        }
    }
}

/// The largest sums of groups of 16 or 32 codes.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
fn most(q: &[[i8; 64]], group: usize) -> Most {
    let (zero, top) = (_mm512_setzero_si512(), _mm512_set1_epi8(-128));
    // Each lane of 64 bits adds its neighbour's, then that of two lanes away.
    let of_groups = |eights| {
        let sums = _mm512_add_epi64(eights, _mm512_shuffle_epi32::<0b01_00_11_10>(eights));
        if group < 32 { sums } else { _mm512_add_epi64(sums, _mm512_shuffle_i64x2::<0b10_11_00_01>(sums, sums)) }
    };
    let [mut both, mut twice] = [zero; 2];
    for q in q {
        // SAFETY: 64 readable bytes.
        let q = unsafe { _mm512_loadu_si512(q.as_ptr().cast()) };
        let magnitudes = of_groups(_mm512_sad_epu8(_mm512_abs_epi8(q), zero));
        // As unsigned bytes codes are 128 more.
        let sums = of_groups(_mm512_sad_epu8(_mm512_xor_si512(q, top), zero));
        let sums = _mm512_abs_epi64(_mm512_sub_epi64(sums, _mm512_set1_epi64(128 * group as i64)));
        both = _mm512_max_epu64(both, magnitudes);
        twice = _mm512_max_epu64(twice, _mm512_add_epi64(magnitudes, sums));
    }
    let [both, twice] = [both, twice].map(|v| _mm512_reduce_max_epu64(v) as u16);
    Most { both_signs: both, one_sign: twice / 2 }
}

/// [`quantise_q8_k`](super::quantise_q8_k), with the same bits, from what [`top`] found, and the sums of the codes of each
/// `16 · 16 / sums.len()`.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
fn code(x: &[f32; Q8_K_BLOCK], top: Result<f32, f32>, q: &mut [i8; Q8_K_BLOCK], sums: &mut [i16]) -> f32 {
    let top = match top {
        Ok(top) => top,
        Err(scale) => {
            q.fill(0);
            sums.fill(0);
            return scale;
        }
    };
    let iscale = -127.0 / top;
    if !iscale.is_finite() {
        q.fill(0);
        sums.fill(0);
        return 0.0;
    }
    let (times, mut fours) = (_mm512_set1_ps(iscale), [_mm512_setzero_si512(); 4]);
    // What packing puts 128 bits apart is brought together.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for (i, fours) in fours.iter_mut().enumerate() {
        let codes = |k: usize| {
            // SAFETY: 16 of 256 values from `64 i + 16 k`, where `i` and `k` are below 4.
            let x = unsafe { _mm512_loadu_ps(x.as_ptr().add(64 * i + 16 * k)) };
            // To the nearest, ties to even: the rounding that every Rust program runs under.
            _mm512_cvtps_epi32(_mm512_mul_ps(times, x))
        };
        // Packing saturates: 128 becomes 127, and below -127 there is nothing.
        let low = _mm512_packs_epi32(codes(0), codes(1));
        let high = _mm512_packs_epi32(codes(2), codes(3));
        let bytes = _mm512_permutexvar_epi32(order, _mm512_packs_epi16(low, high));
        // SAFETY: 64 of 256 places from `64 i`.
        unsafe { _mm512_storeu_si512(q.as_mut_ptr().add(64 * i).cast(), bytes) };
        *fours = _mm512_madd_epi16(_mm512_maddubs_epi16(_mm512_set1_epi8(1), bytes), _mm512_set1_epi16(1));
    }
    write_sums(fours, sums);
    1.0 / iscale
}

/// The value of largest magnitude, the first such; the scale where there is none because something is not finite.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
fn top(x: &[f32; Q8_K_BLOCK]) -> Result<f32, f32> {
    // Of bits as signed numbers the largest is that of the largest positive value, as unsigned ones of the largest negative.
    let (mut plus, mut minus) = ([_mm512_set1_epi32(i32::MIN); 2], [_mm512_setzero_si512(); 2]);
    for i in 0..16 {
        // SAFETY: 16 of 256 values from `16 i`.
        let bits = unsafe { _mm512_loadu_si512(x.as_ptr().add(16 * i).cast()) };
        plus[i % 2] = _mm512_max_epi32(plus[i % 2], bits);
        minus[i % 2] = _mm512_max_epu32(minus[i % 2], bits);
    }
    let plus = _mm512_reduce_max_epi32(_mm512_max_epi32(plus[0], plus[1]));
    let minus = _mm512_reduce_max_epu32(_mm512_max_epu32(minus[0], minus[1]));
    // Without a positive value `plus` is below zero, and without a negative one `minus` is.
    let minus = (minus ^ 1 << 31).cast_signed();
    let top = plus.max(minus).cast_unsigned();
    if top >= f32::INFINITY.to_bits() {
        return Err(f32::NAN);
    }
    if plus == minus {
        return Ok(extreme(x, top));
    }
    // No branch: of signs that change from block to block half would be foretold wrongly.
    Ok(f32::from_bits(top | u32::from(minus > plus) << 31))
}

/// From sums of four successive codes each, 64 values to a vector.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
fn write_sums(fours: [__m512i; 4], sums: &mut [i16]) {
    let two = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (a, b) = (two(fours[0], fours[1]), two(fours[2], fours[3]));
    let all = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    // Lane `4 i + k` is the sum of 16 values from `64 k + 16 i`.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let sixteen = _mm512_cvtepi32_epi16(_mm512_permutexvar_epi32(order, all));
    // SAFETY: the stores write as many values as the slices have.
    unsafe {
        if let Some(sums) = sums.first_chunk_mut::<16>() {
            _mm256_storeu_si256(sums.as_mut_ptr().cast(), sixteen);
        } else if let Some(sums) = sums.first_chunk_mut::<8>() {
            let eight = _mm256_cvtepi32_epi16(_mm256_madd_epi16(sixteen, _mm256_set1_epi16(1)));
            _mm_storeu_si128(sums.as_mut_ptr().cast(), eight);
        }
    }
}
