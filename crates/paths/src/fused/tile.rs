//! Sixteen rows of weights with many positions, on AVX-512's VNNI: lanes are rows.
//!
//! A block of each row is unpacked and interleaved once, four codes of one row after four of the next, so that one
//! instruction multiplies them all with four codes of an activation, broadcast from memory. No sum crosses lanes.

use std::arch::asm;
use std::arch::x86_64::*;

use super::x86::lanes::{Fill, Lanes, Side, Stored};
use super::{Block, Form, Job, Packed, TILE_ROWS as ROWS};
use crate::columns::Columns;

/// From this many positions on, interleaving pays.
pub(super) const MIN_POSITIONS: usize = 8;
/// Positions that share one interleaving; bounds the partial sums, of which 16 are kept per position.
const POSITIONS: usize = 512;

/// Sixteen rows' blocks, interleaved.
#[repr(C, align(64))]
pub(super) struct Tile {
    /// `[value / 4][row]`, four codes each.
    codes: [[u32; ROWS]; 64],
    /// `[group][row]`.
    scales: [[i32; ROWS]; 16],
    /// `[group / 2][row]`, a pair of minimums each; of an offset format, negated.
    mins: [[[i16; 2]; ROWS]; 8],
    d: [f32; ROWS],
    dm: [f32; ROWS],
}

impl Tile {
    const ZERO: Tile = Tile {
        codes: [[0; ROWS]; 64],
        scales: [[0; ROWS]; 16],
        mins: [[[0; 2]; ROWS]; 8],
        d: [0.0; ROWS],
        dm: [0.0; ROWS],
    };
}

impl<F: Packed> Fill<Tile> for Stored<'_, F> {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn fill(&mut self, tile: &mut Tile, first: usize, b: usize) {
        let groups = F::SHAPE.block / F::SHAPE.group;
        let mut block = Block::ZERO;
        for r in 0..ROWS {
            let bytes = self.job.block::<F>(first + r, b);
            F::unpack(self.s, bytes, &mut block);
            (tile.d[r], tile.dm[r]) = F::factors(self.s, bytes);
            for (to, codes) in tile.codes.iter_mut().zip(block.codes[..F::SHAPE.block].as_chunks::<4>().0) {
                to[r] = u32::from_le_bytes(*codes);
            }
            for g in 0..groups {
                tile.scales[g][r] = i32::from(block.scales[g]);
                // An offset times a scale is at most 4096 in magnitude.
                let min = block.mins[g];
                tile.mins[g / 2][r][g % 2] = if F::FORM == Form::Offset { min.wrapping_neg() } else { min };
            }
        }
    }
}

impl<F: Lanes> Fill<Tile> for Side<'_, F> {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn fill(&mut self, tile: &mut Tile, first: usize, b: usize) {
        let from = self.tile(first, b);
        // SAFETY: this function's features; a tile has its lines; 64 aligned writable bytes each.
        unsafe {
            let [d, dm] = F::d_and_dm(from);
            _mm512_store_ps(tile.d.as_mut_ptr(), d);
            _mm512_store_ps(tile.dm.as_mut_ptr(), dm);
            let small = F::small(from);
            for g in 0..F::SHAPE.block / F::SHAPE.group {
                _mm512_store_si512(tile.scales[g].as_mut_ptr().cast(), small.scale(g));
            }
            for (to, pair) in tile.mins.iter_mut().zip(small.mins) {
                let pair = if F::FORM == Form::Offset { _mm512_sub_epi16(_mm512_setzero_si512(), pair) } else { pair };
                _mm512_store_si512(to.as_mut_ptr().cast(), pair);
            }
            for part in 0..4 {
                for (to, codes) in tile.codes[16 * part..].iter_mut().zip(F::codes(from, part)) {
                    _mm512_store_si512(to.as_mut_ptr().cast(), codes);
                }
            }
        }
    }
}

/// The f32 sums of one position, a lane per row.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) acc: __m512,
    pub(super) accm: __m512,
}

/// Evaluates `job` into `[positions, rows]`; with `SPLIT`, its activations have a scale per 32 values of a 256-wide block.
/// Rows are read by `fill`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn run<F: Packed, const SPLIT: bool>(job: &Job<'_>, mut fill: impl Fill<Tile>, out: &mut Columns<'_>) {
    let (rows, all) = (job.weight.rows(), job.codes.positions);
    let scales = job.codes.scales.of(F::SHAPE);
    let mut tile = Tile::ZERO;
    let zero = Sums { acc: _mm512_setzero_ps(), accm: _mm512_setzero_ps() };
    let mut sums = vec![zero; all.min(POSITIONS)];
    for first in (0..rows).step_by(ROWS) {
        for start in (0..all).step_by(POSITIONS) {
            let positions = POSITIONS.min(all - start);
            sums.fill(zero);
            for b in 0..job.weight.cols() / F::SHAPE.block {
                // SAFETY: this function's features.
                unsafe { fill.fill(&mut tile, first, b) };
                let at = b * all + start;
                let activations = Activations {
                    q: &job.codes.q[at * F::SHAPE.block..(at + positions) * F::SHAPE.block],
                    sums: &job.codes.sums[at * F::SHAPE.sums()..(at + positions) * F::SHAPE.sums()],
                    d: &job.codes.d[at * scales..(at + positions) * scales],
                };
                // SAFETY: this function's features are those asked for.
                unsafe { multiply::<F, SPLIT>(&tile, activations, &mut sums[..positions]) };
            }
            for (t, sums) in sums[..positions].iter().enumerate() {
                let n = ROWS.min(rows - first);
                let out = out.of(start + t, first..first + n);
                finish::<F>(sums, job.bias.map(|b| &b[first..first + n]), out);
            }
        }
    }
}

/// One block's coded activations of some positions.
#[derive(Clone, Copy)]
struct Activations<'a> {
    q: &'a [i8],
    sums: &'a [i16],
    d: &'a [f32],
}

/// Adds one block to the sums of all positions.
///
/// # Safety
/// AVX-512 F and VNNI.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn multiply<F: Packed, const SPLIT: bool>(tile: &Tile, a: Activations<'_>, sums: &mut [Sums]) {
    let mut rest = (a, sums);
    // SAFETY: the caller's.
    unsafe {
        while rest.1.len() >= 8 {
            rest = some::<F, 8, SPLIT>(tile, rest.0, rest.1);
        }
        while rest.1.len() >= 2 {
            rest = some::<F, 2, SPLIT>(tile, rest.0, rest.1);
        }
        while !rest.1.is_empty() {
            rest = some::<F, 1, SPLIT>(tile, rest.0, rest.1);
        }
    }
}

/// Adds one block to the sums of the first `P` positions; gives back the others.
///
/// # Safety
/// AVX-512 F and VNNI.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn some<'a, 's, F: Packed, const P: usize, const SPLIT: bool>(
    tile: &Tile,
    a: Activations<'a>,
    sums: &'s mut [Sums],
) -> (Activations<'a>, &'s mut [Sums]) {
    let (q, later_q) = a.q.split_at(P * F::SHAPE.block);
    let (code_sums, later_sums) = a.sums.split_at(P * F::SHAPE.sums());
    let (d, later_d) = a.d.split_at(if SPLIT { P * SCALES } else { P });
    let (sums, later) = sums.split_at_mut(P);
    let now = Activations { q, sums: code_sums, d };
    // SAFETY: the caller's, and the slices hold `P` blocks each.
    unsafe {
        if SPLIT {
            add_split::<F, P>(tile, now, sums);
        } else {
            add::<F, P>(tile, now, sums);
        }
    }
    (Activations { q: later_q, sums: later_sums, d: later_d }, later)
}

/// Adds one block to the sums of `P` positions.
///
/// # Safety
/// AVX-512 F and VNNI; `a` and `sums` of `P` positions.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn add<F: Packed, const P: usize>(tile: &Tile, a: Activations<'_>, sums: &mut [Sums]) {
    // SAFETY: the caller's: the two values read at `pair < sums / 2`, of position `t < P`, are inside.
    unsafe {
        let mut p = [_mm512_setzero_si512(); P];
        for g in 0..F::SHAPE.block / F::SHAPE.group {
            add_group::<F, P>(tile, a.q, g, &mut p);
        }
        let mut m = if F::FORM == Form::Offset { p } else { [_mm512_setzero_si512(); P] };
        for pair in 0..F::SHAPE.sums() / 2 {
            let w = _mm512_load_si512(tile.mins[pair].as_ptr().cast());
            for t in 0..P {
                m[t] = dpwssd(m[t], w, a.sums.as_ptr().add(t * F::SHAPE.sums() + 2 * pair));
            }
        }
        let (weight_d, weight_dm) = (_mm512_load_ps(tile.d.as_ptr()), _mm512_load_ps(tile.dm.as_ptr()));
        for t in 0..P {
            let a = _mm512_set1_ps(a.d[t]);
            let main = if F::FORM == Form::Offset { m[t] } else { p[t] };
            sums[t].acc = _mm512_fmadd_ps(_mm512_mul_ps(weight_d, a), _mm512_cvtepi32_ps(main), sums[t].acc);
            if F::FORM != Form::Offset {
                sums[t].accm = _mm512_fmadd_ps(_mm512_mul_ps(weight_dm, a), _mm512_cvtepi32_ps(m[t]), sums[t].accm);
            }
        }
    }
}

/// Scales of the activations that meet a block, where each 32 values have one.
const SCALES: usize = 8;

/// The same, 32 values after 32.
///
/// # Safety
/// AVX-512 F and VNNI; `a` and `sums` of `P` positions; blocks of 256.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn add_split<F: Packed, const P: usize>(tile: &Tile, a: Activations<'_>, sums: &mut [Sums]) {
    let groups = 32 / F::SHAPE.group;
    // SAFETY: the caller's: the two values read at `pair < sums / 2`, of position `t < P`, are inside, and so is the scale.
    unsafe {
        let (weight_d, weight_dm) = (_mm512_load_ps(tile.d.as_ptr()), _mm512_load_ps(tile.dm.as_ptr()));
        let [mut acc, mut accm] = [[_mm512_setzero_ps(); P]; 2];
        for t in 0..P {
            (acc[t], accm[t]) = (sums[t].acc, sums[t].accm);
        }
        for j in 0..SCALES {
            let mut p = [_mm512_setzero_si512(); P];
            for g in j * groups..(j + 1) * groups {
                add_group::<F, P>(tile, a.q, g, &mut p);
            }
            // A pair of minimums is that of two groups: both, or one of them alone.
            let pair = j * groups / 2;
            let mut w = _mm512_load_si512(tile.mins[pair].as_ptr().cast());
            if groups == 1 {
                w = if j % 2 == 0 {
                    _mm512_maskz_mov_epi16(0x5555_5555, w)
                } else {
                    _mm512_maskz_mov_epi16(0xaaaa_aaaa, w)
                };
            }
            for t in 0..P {
                let scale = _mm512_set1_ps(*a.d.get_unchecked(t * SCALES + j));
                let pair = a.sums.as_ptr().add(t * F::SHAPE.sums() + 2 * pair);
                if F::FORM == Form::Offset {
                    p[t] = dpwssd(p[t], w, pair);
                } else {
                    let m = _mm512_cvtepi32_ps(dpwssd(_mm512_setzero_si512(), w, pair));
                    accm[t] = _mm512_fmadd_ps(_mm512_mul_ps(weight_dm, scale), m, accm[t]);
                }
                acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(weight_d, scale), _mm512_cvtepi32_ps(p[t]), acc[t]);
            }
        }
        for t in 0..P {
            sums[t] = Sums { acc: acc[t], accm: accm[t] };
        }
    }
}

/// Adds to `p` what group `g` makes of each position's codes.
///
/// # Safety
/// AVX-512 F and VNNI; `q` of `P` positions.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn add_group<F: Packed, const P: usize>(tile: &Tile, q: &[i8], g: usize, p: &mut [__m512i; P]) {
    let quads = F::SHAPE.group / 4;
    // SAFETY: the caller's: the four bytes read at `value / 4 < block / 4`, of position `t < P`, are inside.
    unsafe {
        let mut dot = [_mm512_setzero_si512(); P];
        for quad in g * quads..(g + 1) * quads {
            let w = _mm512_load_si512(tile.codes[quad].as_ptr().cast());
            for t in 0..P {
                dot[t] = dpbusd(dot[t], w, q.as_ptr().add(t * F::SHAPE.block + 4 * quad));
            }
        }
        if F::SHAPE.block == F::SHAPE.group {
            *p = dot;
        } else {
            let scale = _mm512_load_si512(tile.scales[g].as_ptr().cast());
            for t in 0..P {
                p[t] = _mm512_add_epi32(p[t], _mm512_mullo_epi32(dot[t], scale));
            }
        }
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

/// The same for a pair of 16-bit values per lane.
///
/// # Safety
/// AVX-512 F and VNNI; two readable values at `sums`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn dpwssd(mut acc: __m512i, w: __m512i, sums: *const i16) -> __m512i {
    // SAFETY: the caller's.
    unsafe {
        asm!("vpdpwssd {acc}, {w}, dword ptr [{q}]{{1to16}}", acc = inout(zmm_reg) acc, w = in(zmm_reg) w,
            q = in(reg) sums, options(pure, readonly, nostack, preserves_flags));
    }
    acc
}

/// Writes the values of one position, of at most sixteen rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn finish<F: Packed>(sums: &Sums, bias: Option<&[f32]>, out: &mut [f32]) {
    let mut y = match F::FORM {
        Form::Offset => sums.acc,
        Form::MinusMin => _mm512_sub_ps(sums.acc, sums.accm),
        Form::PlusMin => _mm512_add_ps(sums.acc, sums.accm),
    };
    assert!(out.len() <= ROWS && bias.is_none_or(|b| b.len() == out.len()), "the rows of a tile");
    let rows = ((1u32 << out.len()) - 1) as u16;
    // SAFETY: the mask has a bit for each float of `out`, and of `bias`, which is as long.
    unsafe {
        if let Some(bias) = bias {
            y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(rows, bias.as_ptr()));
        }
        _mm512_mask_storeu_ps(out.as_mut_ptr(), rows, y);
    }
}
