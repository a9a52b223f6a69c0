//! Sums reduced sixteen together, and dots that never leave registers.

use std::arch::x86_64::*;

use super::Lanes;

/// Sixteen sums, [`reduced`].
#[target_feature(enable = "avx512f")]
pub(super) fn reduce_16(sums: &[Lanes; 16], out: &mut [f32; 16]) {
    let mut v = [_mm512_setzero_ps(); 16];
    for (v, sums) in v.iter_mut().zip(sums) {
        // SAFETY: sixteen readable floats.
        *v = unsafe { _mm512_loadu_ps(sums.as_ptr()) };
    }
    // SAFETY: sixteen writable floats.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), reduced(&v)) };
}

/// The tree of sixteen sums at once: each step adds halves of two vectors and keeps both results in one.
#[inline]
#[target_feature(enable = "avx512f")]
fn reduced(sums: &[__m512; 16]) -> __m512 {
    let mut v = *sums;
    for (s, v) in v.iter_mut().enumerate() {
        // The last step leaves sum `s` at place `4 (s mod 4) + s / 4`.
        *v = sums[s % 4 * 4 + s / 4];
    }
    for i in 0..8 {
        let (a, b) = (v[2 * i], v[2 * i + 1]);
        v[i] = _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xee>(a, b));
    }
    for i in 0..4 {
        let (a, b) = (v[2 * i], v[2 * i + 1]);
        v[i] = _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
    }
    for i in 0..2 {
        let (a, b) = (v[2 * i], v[2 * i + 1]);
        v[i] = _mm512_add_ps(_mm512_shuffle_ps::<0x44>(a, b), _mm512_shuffle_ps::<0xee>(a, b));
    }
    let (a, b) = (v[0], v[1]);
    _mm512_add_ps(_mm512_shuffle_ps::<0x88>(a, b), _mm512_shuffle_ps::<0xdd>(a, b))
}

/// The dots of eight rows from `x` on and `C` rows from `y` on, times `scale`, at `out` and `apart` values after it.
///
/// # Safety
/// AVX-512 F; rows of `len` floats, a multiple of 16, at their distances; eight writable floats for each of `C`.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn dots_8<const C: usize>(
    (x, x_stride): (*const f32, usize),
    (y, y_stride): (*const f32, usize),
    len: usize,
    scale: f32,
    (out, apart): (*mut f32, usize),
) {
    const { assert!(C == 1 || C == 2) };
    let mut acc = [_mm512_setzero_ps(); 16];
    let mut rows = [x; 8];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = x.wrapping_add(r * x_stride);
    }
    let second = y.wrapping_add(y_stride);
    for at in (0..len).step_by(16) {
        // SAFETY: the caller's: sixteen floats of each row.
        unsafe {
            let v = [
                _mm512_loadu_ps(y.add(at)),
                if C == 2 { _mm512_loadu_ps(second.add(at)) } else { _mm512_setzero_ps() },
            ];
            for r in 0..8 {
                let u = _mm512_loadu_ps(rows[r].add(at));
                for c in 0..C {
                    acc[8 * c + r] = _mm512_fmadd_ps(u, v[c], acc[8 * c + r]);
                }
            }
        }
    }
    let all = _mm512_mul_ps(reduced(&acc), _mm512_set1_ps(scale));
    // SAFETY: the caller's.
    unsafe {
        _mm256_storeu_ps(out, _mm512_castps512_ps256(all));
        if C == 2 {
            let second = _mm512_castpd_ps(_mm512_castpd256_pd512(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(all))));
            _mm256_storeu_ps(out.add(apart), _mm512_castps512_ps256(second));
        }
    }
}
