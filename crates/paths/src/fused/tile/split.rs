//! Activations that have a scale per 32 values of a 256-wide block.

use std::arch::x86_64::*;

use super::dots::{Dots, dpwssd};
use super::{Activations, ROWS, Sums, Tile};
use crate::fused::x86::lanes::one_of;
use crate::fused::{Form, Packed, by_32};

/// Scales of the activations that meet a block, where each 32 values have one.
pub(super) const SCALES: usize = 8;

/// Adds one block to the sums of `P` positions, 32 values after 32; see [`split`](crate::fused::split).
///
/// # Safety
/// AVX-512 F and VNNI; `a` and `sums` of `P` positions; blocks of 256; scales are multiplied where groups are 32.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn add_split<F: Packed, const P: usize>(tile: &Tile, a: Activations<'_>, sums: &mut [Sums; P]) {
    let groups = 32 / F::SHAPE.group;
    assert!(!by_32::<F>() || a.scaled.len() == P * SCALES, "scaled sums of each position");
    // SAFETY: the caller's: the two values read at `pair < sums / 2`, of position `t < P`, are inside, and so is the scale.
    unsafe {
        let dots = Dots::<P>::new::<F>(a.q, a.sums);
        let [mut acc, mut accm] = [[_mm512_setzero_ps(); P]; 2];
        for t in 0..P {
            (acc[t], accm[t]) = (sums[t].acc, sums[t].accm);
        }
        for j in 0..SCALES {
            let mut p = [_mm512_setzero_si512(); P];
            if by_32::<F>() {
                p = dots.of::<F>(tile, j);
            } else {
                for g in j * groups..(j + 1) * groups {
                    dots.add_group::<F>(tile, g, &mut p);
                }
            }
            let (w, v, mins) = tile.split::<F>(j);
            for t in 0..P {
                let scale = _mm512_set1_ps(*a.d.get_unchecked(t * SCALES + j));
                acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(w, scale), _mm512_cvtepi32_ps(p[t]), acc[t]);
                if F::FORM != Form::Offset {
                    let m = if by_32::<F>() {
                        _mm512_set1_ps(*a.scaled.get_unchecked(t * SCALES + j))
                    } else {
                        let pair = a.sums.as_ptr().add(t * F::SHAPE.sums() + 2 * j);
                        _mm512_mul_ps(scale, _mm512_cvtepi32_ps(dpwssd(_mm512_setzero_si512(), mins, pair)))
                    };
                    accm[t] = _mm512_fmadd_ps(v, m, accm[t]);
                }
            }
        }
        for t in 0..P {
            sums[t] = Sums { acc: acc[t], accm: accm[t] };
        }
    }
}

impl Tile {
    /// Multiplies scales and minimums by the block's, exactly.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn scale_all<F: Packed>(&mut self) {
        // SAFETY: 64 aligned readable and writable bytes each.
        unsafe {
            let (d, dm) = (_mm512_load_ps(self.d.as_ptr()), _mm512_load_ps(self.dm.as_ptr()));
            for j in 0..SCALES {
                let scaled = |pairs: &[[i16; 2]; ROWS], d| {
                    let pairs = _mm512_load_si512(pairs.as_ptr().cast());
                    _mm512_mul_ps(d, _mm512_cvtepi32_ps(one_of(pairs, j)))
                };
                _mm512_store_ps(self.scaled[j].as_mut_ptr(), scaled(&self.scales[j / 2], d));
                if F::FORM != Form::Offset {
                    _mm512_store_ps(self.scaled_mins[j].as_mut_ptr(), scaled(&self.mins[j / 2], dm));
                }
            }
        }
    }

    /// What scales and minimums of the `j`-th 32 values are multiplied with in f32, and the minimums of its two groups, where
    /// it has two.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn split<F: Packed>(&self, j: usize) -> (__m512, __m512, __m512i) {
        let (w, v) = if by_32::<F>() { (&self.scaled[j], &self.scaled_mins[j]) } else { (&self.d, &self.dm) };
        // SAFETY: 64 aligned readable bytes each.
        unsafe {
            let mins = _mm512_load_si512(self.mins[j].as_ptr().cast());
            (_mm512_load_ps(w.as_ptr()), _mm512_load_ps(v.as_ptr()), mins)
        }
    }
}
