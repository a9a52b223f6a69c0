//! Dots of sixteen rows with some positions, and their scales.
//!
//! Of two units that multiply, dots take every turn, and a product of 32 bits for each group's scale takes as much as a dot of
//! four values. Two groups' dots that fit 16 bits meet both scales in one. How large a dot can become, the activations say:
//! of a code `c` within `R` of zero it is at most `R Σ |q|` in magnitude, and nearly always that fits.

use std::arch::asm;
use std::arch::x86_64::*;

use super::{ROWS, Tile};
use crate::fused::x86::lanes::one_of;
use crate::fused::{Form, Packed, offset_log};
use crate::q8::Most;

/// How far a format's codes are from zero, or from its offset.
const fn reach<F: Packed>() -> usize {
    if matches!(F::FORM, Form::Offset) { 1 << offset_log::<F>() } else { F::TOP as usize }
}

/// Whether two groups' dots are to meet their scales together where they fit. Of Gaussian values, in codes whose largest of 256
/// is 127, magnitudes of one sign come to a seventh of what they could and of both to two sevenths; so where a dot could be
/// more than four times what fits, too few do.
const fn pairs<F: Packed>() -> bool {
    F::SHAPE.block > F::SHAPE.group && reach::<F>() * 127 * F::SHAPE.group <= 4 * i16::MAX as usize
}

/// Whether two groups' dots with these activations are to meet their scales together: they all fit 16 bits. Around an offset
/// codes can have the sign of every activation; above zero, those with activations of one sign alone are the worst.
#[inline(always)]
pub(super) fn in_pairs<F: Packed>(most: &Most) -> bool {
    let most = if F::FORM == Form::Offset { most.both_signs } else { most.one_sign };
    pairs::<F>() && usize::from(most) * reach::<F>() <= i16::MAX as usize
}

/// The codes of `P` positions that meet one block, and what their dots begin with.
pub(super) struct Dots<'a, const P: usize> {
    q: &'a [i8],
    /// `[position][group]`, of an offset format: less the offset for each code.
    starts: [[i32; 16]; P],
}

impl<'a, const P: usize> Dots<'a, P> {
    /// # Safety
    /// AVX-512 F, BW and VL; codes and sums of `P` positions.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(super) unsafe fn new<F: Packed>(q: &'a [i8], sums: &[i16]) -> Self {
        let mut starts = [[0; 16]; P];
        if F::FORM == Form::Offset {
            let log = _mm512_set1_epi32(offset_log::<F>() as i32);
            let groups = ((1u32 << (F::SHAPE.block / F::SHAPE.group)) - 1) as u16;
            for (t, starts) in starts.iter_mut().enumerate() {
                // SAFETY: the mask has a bit for each group of a position; 64 writable bytes.
                unsafe {
                    let sums = _mm256_maskz_loadu_epi16(groups, sums.as_ptr().add(t * F::SHAPE.sums()));
                    let offsets = _mm512_sllv_epi32(_mm512_cvtepi16_epi32(sums), log);
                    let starting = _mm512_sub_epi32(_mm512_setzero_si512(), offsets);
                    _mm512_storeu_si512(starts.as_mut_ptr().cast(), starting);
                }
            }
        }
        Dots { q, starts }
    }

    /// Those of group `g`.
    ///
    /// # Safety
    /// AVX-512 F and VNNI; codes of `P` positions; a group of the block.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(super) unsafe fn of<F: Packed>(&self, tile: &Tile, g: usize) -> [__m512i; P] {
        let quads = F::SHAPE.group / 4;
        let mut dots = [_mm512_setzero_si512(); P];
        if F::FORM == Form::Offset {
            for (dot, starts) in dots.iter_mut().zip(&self.starts) {
                // SAFETY: an element of a reference. Volatile, because LLVM would move it from lane to lane instead.
                *dot = _mm512_set1_epi32(unsafe { (&raw const starts[g]).read_volatile() });
            }
        }
        for quad in g * quads..(g + 1) * quads {
            // SAFETY: the caller's: the four bytes read at `value / 4 < block / 4`, of position `t < P`, are inside.
            unsafe {
                let w = _mm512_load_si512(tile.codes[quad].as_ptr().cast());
                let q = self.q.as_ptr().add(4 * quad);
                match &mut dots[..] {
                    [a, b, c, d, e, f, g, h] => {
                        dpbusd_four::<F>([a, b, c, d], w, q);
                        dpbusd_four::<F>([e, f, g, h], w, q.add(4 * F::SHAPE.block));
                    }
                    [a, b, c, d] => dpbusd_four::<F>([a, b, c, d], w, q),
                    dots => {
                        for (t, dot) in dots.iter_mut().enumerate() {
                            *dot = dpbusd(*dot, w, q.add(t * F::SHAPE.block));
                        }
                    }
                }
            }
        }
        dots
    }

    /// Adds to `p` what groups `2 pair` and `2 pair + 1` make, whose dots fit 16 bits.
    ///
    /// # Safety
    /// AVX-512 F, BW and VNNI; codes of `P` positions; groups of the block.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(super) unsafe fn add_pair<F: Packed>(&self, tile: &Tile, pair: usize, p: &mut [__m512i; P]) {
        // SAFETY: the caller's; 64 aligned readable bytes.
        unsafe {
            let (even, odd) = (self.of::<F>(tile, 2 * pair), self.of::<F>(tile, 2 * pair + 1));
            let scales = _mm512_load_si512(tile.scales[pair].as_ptr().cast());
            for t in 0..P {
                let both = _mm512_mask_mov_epi16(_mm512_slli_epi32::<16>(odd[t]), 0x5555_5555, even[t]);
                p[t] = _mm512_dpwssd_epi32(p[t], both, scales);
            }
        }
    }

    /// Adds to `p` what group `g` makes, in 32 bits.
    ///
    /// # Safety
    /// AVX-512 F and VNNI; codes of `P` positions; a group of the block.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(super) unsafe fn add_group<F: Packed>(&self, tile: &Tile, g: usize, p: &mut [__m512i; P]) {
        // SAFETY: the caller's.
        let dots = unsafe { self.of::<F>(tile, g) };
        if F::SHAPE.block == F::SHAPE.group {
            *p = dots;
        } else {
            let scale = tile.scale(g);
            for t in 0..P {
                p[t] = _mm512_add_epi32(p[t], _mm512_mullo_epi32(dots[t], scale));
            }
        }
    }
}

impl Tile {
    /// The scale of group `g`, in 32 bits.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn scale(&self, g: usize) -> __m512i {
        const { assert!(size_of::<[[i16; 2]; ROWS]>() == 64) };
        // SAFETY: 64 aligned readable bytes.
        one_of(unsafe { _mm512_load_si512(self.scales[g / 2].as_ptr().cast()) }, g)
    }
}

/// Adds to each lane of `acc` the products of its four codes in `w` with the four at `q`. In assembly, because LLVM hoists
/// broadcasts that are intrinsics out of the loop and spills them; not `pure`, because it would make the sums of one position
/// after those of another, each a chain of products that wait for one another.
///
/// # Safety
/// AVX-512 F and VNNI; four readable bytes at `q`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn dpbusd(mut acc: __m512i, w: __m512i, q: *const i8) -> __m512i {
    // SAFETY: the caller's.
    unsafe {
        asm!("vpdpbusd {acc}, {w}, dword ptr [{q}]{{1to16}}", acc = inout(zmm_reg) acc, w = in(zmm_reg) w,
            q = in(reg) q, options(readonly, nostack, preserves_flags));
    }
    acc
}

/// The same with four positions from that of `q` on. In one, because the distances between them are then no instructions.
///
/// # Safety
/// AVX-512 F and VNNI; four readable bytes at `q`, and a block, two and three farther.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn dpbusd_four<F: Packed>([a, b, c, d]: [&mut __m512i; 4], w: __m512i, q: *const i8) {
    // SAFETY: the caller's.
    unsafe {
        asm!(
            "vpdpbusd {a}, {w}, dword ptr [{q}]{{1to16}}",
            "vpdpbusd {b}, {w}, dword ptr [{q} + {block}]{{1to16}}",
            "vpdpbusd {c}, {w}, dword ptr [{q} + 2 * {block}]{{1to16}}",
            "vpdpbusd {d}, {w}, dword ptr [{q} + 3 * {block}]{{1to16}}",
            a = inout(zmm_reg) *a,
            b = inout(zmm_reg) *b,
            c = inout(zmm_reg) *c,
            d = inout(zmm_reg) *d,
            w = in(zmm_reg) w,
            q = in(reg) q,
            block = const F::SHAPE.block,
            options(readonly, nostack, preserves_flags),
        );
    }
}

/// Adds to each lane of `acc` the products of its pair of 16-bit values in `w` with the pair at `sums`.
///
/// # Safety
/// AVX-512 F and VNNI; two readable values at `sums`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(in crate::fused) unsafe fn dpwssd(mut acc: __m512i, w: __m512i, sums: *const i16) -> __m512i {
    // SAFETY: the caller's.
    unsafe {
        asm!("vpdpwssd {acc}, {w}, dword ptr [{q}]{{1to16}}", acc = inout(zmm_reg) acc, w = in(zmm_reg) w,
            q = in(reg) sums, options(pure, readonly, nostack, preserves_flags));
    }
    acc
}
