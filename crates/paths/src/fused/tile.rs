//! Sixteen rows of weights with many positions, on AVX-512's VNNI: lanes are rows.
//!
//! A block of each row is unpacked and interleaved once, four codes of one row after four of the next, so that one
//! instruction multiplies them all with four codes of an activation, broadcast from memory. No sum crosses lanes.

mod dots;
mod split;

use std::arch::x86_64::*;

pub(super) use self::dots::dpwssd;
use self::dots::{Dots, in_pairs};
use self::split::{SCALES, add_split};
use super::x86::lanes::{Ahead, Fill, Lanes, Side, Stored};
use super::{Block, Form, Job, Packed, TILE_ROWS as ROWS, by_32};
use crate::columns::Columns;
use crate::q8::{MANY, Most};

/// From this many positions on, interleaving pays.
pub(super) const MIN_POSITIONS: usize = MANY;
/// Positions that share one interleaving; bounds the partial sums, of which 16 are kept per position.
const POSITIONS: usize = 512;

/// Sixteen rows' blocks, interleaved.
#[repr(C, align(64))]
pub(super) struct Tile {
    /// `[value / 4][row]`, four codes each.
    codes: [[u32; ROWS]; 64],
    /// `[group / 2][row]`, a pair each.
    scales: [[[i16; 2]; ROWS]; 8],
    /// The same, of minimums; an offset format has none.
    mins: [[[i16; 2]; ROWS]; 8],
    d: [f32; ROWS],
    dm: [f32; ROWS],
    /// `[group][row]`, scales and minimums times the block's; where a scale of activations meets one of weights.
    scaled: [[f32; ROWS]; SCALES],
    scaled_mins: [[f32; ROWS]; SCALES],
}

impl Tile {
    const ZERO: Tile = Tile {
        codes: [[0; ROWS]; 64],
        scales: [[[0; 2]; ROWS]; 8],
        mins: [[[0; 2]; ROWS]; 8],
        d: [0.0; ROWS],
        dm: [0.0; ROWS],
        scaled: [[0.0; ROWS]; SCALES],
        scaled_mins: [[0.0; ROWS]; SCALES],
    };
}

impl<F: Packed> Fill<Tile> for Stored<'_, F> {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn fill(&mut self, tile: &mut Tile, first: usize, b: usize) -> Ahead {
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
                tile.scales[g / 2][r][g % 2] = block.scales[g];
                tile.mins[g / 2][r][g % 2] = block.mins[g];
            }
        }
        Ahead::NONE
    }
}

impl<F: Lanes> Fill<Tile> for Side<'_, F> {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn fill(&mut self, tile: &mut Tile, first: usize, b: usize) -> Ahead {
        let (from, ahead) = self.tile(first, b);
        // SAFETY: this function's features; a tile has its lines; 64 aligned writable bytes each.
        unsafe {
            let [d, dm] = F::d_and_dm(from);
            _mm512_store_ps(tile.d.as_mut_ptr(), d);
            _mm512_store_ps(tile.dm.as_mut_ptr(), dm);
            let small = F::small(from);
            let pairs = F::SHAPE.block / F::SHAPE.group / 2;
            for (to, pair) in tile.scales.iter_mut().zip(small.scales).take(pairs) {
                _mm512_store_si512(to.as_mut_ptr().cast(), pair);
            }
            if F::FORM != Form::Offset {
                for (to, pair) in tile.mins.iter_mut().zip(small.mins).take(pairs) {
                    _mm512_store_si512(to.as_mut_ptr().cast(), pair);
                }
            }
            for part in 0..4 {
                for (to, codes) in tile.codes[16 * part..].iter_mut().zip(F::codes(from, part)) {
                    _mm512_store_si512(to.as_mut_ptr().cast(), codes);
                }
            }
        }
        ahead
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
    let (scales, eights) = (job.codes.scales.of(F::SHAPE), all.div_ceil(MANY));
    let mut tile = Tile::ZERO;
    let zero = Sums { acc: _mm512_setzero_ps(), accm: _mm512_setzero_ps() };
    let mut sums = vec![zero; all.min(POSITIONS)];
    for first in (0..rows).step_by(ROWS) {
        for start in (0..all).step_by(POSITIONS) {
            let positions = POSITIONS.min(all - start);
            sums.fill(zero);
            for b in 0..job.weight.cols() / F::SHAPE.block {
                // SAFETY: this function's features.
                let ahead = unsafe { fill.fill(&mut tile, first, b) };
                if SPLIT && by_32::<F>() {
                    tile.scale_all::<F>();
                }
                let at = b * all + start;
                let activations = Activations {
                    q: &job.codes.q[at * F::SHAPE.block..(at + positions) * F::SHAPE.block],
                    sums: &job.codes.sums[at * F::SHAPE.sums()..(at + positions) * F::SHAPE.sums()],
                    d: &job.codes.d[at * scales..(at + positions) * scales],
                    scaled: job.codes.scaled.get(at * SCALES..(at + positions) * SCALES).unwrap_or_default(),
                };
                let most = job.codes.most.get(b * eights + start / MANY..).unwrap_or_default();
                // SAFETY: this function's features are those asked for.
                unsafe { multiply::<F, SPLIT>(&tile, activations, most, &mut sums[..positions], ahead) };
            }
            let now = first..rows.min(first + ROWS);
            for (t, sums) in (start..).zip(&sums[..positions]) {
                let bias = job.bias.map(|b| &b[now.clone()]);
                // SAFETY: places of so many rows.
                unsafe { write_past::<F>(sums, bias, out.places(t, now.clone()), now.len()) };
            }
        }
    }
    _mm_sfence();
    // SAFETY: each strip of rows was, at each position, and the fence is before whatever this thread says.
    unsafe { out.all_written() };
}

/// One block's coded activations of some positions.
#[derive(Clone, Copy)]
struct Activations<'a> {
    q: &'a [i8],
    sums: &'a [i16],
    d: &'a [f32],
    /// See [`Codes`](crate::q8::Codes): empty where it is.
    scaled: &'a [f32],
}

impl Activations<'_> {
    /// Those of `P` positions from the `t`-th.
    #[inline(always)]
    fn some<F: Packed, const P: usize, const SPLIT: bool>(self, t: usize) -> Self {
        let scales = if SPLIT { SCALES } else { 1 };
        Activations {
            q: &self.q[t * F::SHAPE.block..(t + P) * F::SHAPE.block],
            sums: &self.sums[t * F::SHAPE.sums()..(t + P) * F::SHAPE.sums()],
            d: &self.d[t * scales..(t + P) * scales],
            scaled: self.scaled.get(t * SCALES..(t + P) * SCALES).unwrap_or_default(),
        }
    }
}

/// Adds one block to the sums of all positions. `most` has one of each eight positions, or none; lines ahead are fetched on
/// the way.
///
/// # Safety
/// AVX-512 F and VNNI; activations of as many positions as `sums`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn multiply<F: Packed, const SPLIT: bool>(
    tile: &Tile,
    a: Activations<'_>,
    most: &[Most],
    sums: &mut [Sums],
    mut ahead: Ahead,
) {
    let each = ahead.lines().div_ceil((sums.len() / 4).max(1));
    // The starts of an offset format's dots were only just written; fewer wait for them.
    let (eights, rest) = sums.split_at_mut(if F::FORM == Form::Offset { 0 } else { sums.len() / MANY * MANY });
    let (fours, ones) = rest.as_chunks_mut::<4>();
    let mut t = 0;
    // SAFETY: the caller's.
    unsafe {
        for sums in eights.as_chunks_mut().0 {
            ahead.fetch(2 * each);
            t = some::<F, MANY, SPLIT>(tile, a, most, sums, t);
        }
        for sums in fours {
            ahead.fetch(each);
            t = some::<F, 4, SPLIT>(tile, a, most, sums, t);
        }
        for sums in ones {
            t = some::<F, 1, SPLIT>(tile, a, most, std::array::from_mut(sums), t);
        }
    }
}

/// Adds one block to the sums of `P` positions from the `t`-th on; gives back which comes next.
///
/// # Safety
/// AVX-512 F and VNNI.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn some<F: Packed, const P: usize, const SPLIT: bool>(
    tile: &Tile,
    a: Activations<'_>,
    most: &[Most],
    sums: &mut [Sums; P],
    t: usize,
) -> usize {
    let now = a.some::<F, P, SPLIT>(t);
    let in_pairs = most.get(t / MANY).is_some_and(in_pairs::<F>);
    // SAFETY: the caller's, and the slices hold `P` blocks each.
    unsafe {
        match in_pairs {
            _ if SPLIT => add_split::<F, P>(tile, now, sums),
            true => add::<F, P, true>(tile, now, sums),
            false => add::<F, P, false>(tile, now, sums),
        }
    }
    t + P
}

/// Adds one block to the sums of `P` positions; with `PAIRS`, two groups at once, whose dots fit 16 bits.
///
/// # Safety
/// AVX-512 F and VNNI; `a` and `sums` of `P` positions.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn add<F: Packed, const P: usize, const PAIRS: bool>(tile: &Tile, a: Activations<'_>, sums: &mut [Sums; P]) {
    let groups = F::SHAPE.block / F::SHAPE.group;
    let [mut p, mut m] = [[_mm512_setzero_si512(); P]; 2];
    // SAFETY: the caller's: the two values read at `pair < sums / 2`, of position `t < P`, are inside.
    unsafe {
        let dots = Dots::<P>::new::<F>(a.q, a.sums);
        if PAIRS {
            for pair in 0..groups / 2 {
                dots.add_pair::<F>(tile, pair, &mut p);
            }
        } else {
            for g in 0..groups {
                dots.add_group::<F>(tile, g, &mut p);
            }
        }
        if F::FORM != Form::Offset {
            for pair in 0..F::SHAPE.sums() / 2 {
                let w = _mm512_load_si512(tile.mins[pair].as_ptr().cast());
                for t in 0..P {
                    m[t] = dpwssd(m[t], w, a.sums.as_ptr().add(t * F::SHAPE.sums() + 2 * pair));
                }
            }
        }
        let (weight_d, weight_dm) = (_mm512_load_ps(tile.d.as_ptr()), _mm512_load_ps(tile.dm.as_ptr()));
        for t in 0..P {
            let a = _mm512_set1_ps(a.d[t]);
            sums[t].acc = _mm512_fmadd_ps(_mm512_mul_ps(weight_d, a), _mm512_cvtepi32_ps(p[t]), sums[t].acc);
            if F::FORM != Form::Offset {
                sums[t].accm = _mm512_fmadd_ps(_mm512_mul_ps(weight_dm, a), _mm512_cvtepi32_ps(m[t]), sums[t].accm);
            }
        }
    }
}

/// Writes the values of one position, of at most sixteen rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn finish<F: Packed>(sums: &Sums, bias: Option<&[f32]>, out: &mut [f32]) {
    // SAFETY: the mask has a bit for each float of `out`.
    unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), mask(out.len()), values::<F>(sums, bias, out.len())) }
}

/// The same past the caches, where the values are a line of them: what many positions make is not read before it has left them,
/// and a line that is written to would first be read.
///
/// # Safety
/// Places of `rows` values at `out`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn write_past<F: Packed>(sums: &Sums, bias: Option<&[f32]>, out: *mut f32, rows: usize) {
    let y = values::<F>(sums, bias, rows);
    // SAFETY: the caller's; the mask has a bit for each.
    unsafe {
        if rows == ROWS && out.addr().is_multiple_of(64) {
            _mm512_stream_ps(out, y);
        } else {
            _mm512_mask_storeu_ps(out, mask(rows), y);
        }
    }
}

/// The values of one position, of so many rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn values<F: Packed>(sums: &Sums, bias: Option<&[f32]>, rows: usize) -> __m512 {
    let y = match F::FORM {
        Form::Offset => sums.acc,
        Form::MinusMin => _mm512_sub_ps(sums.acc, sums.accm),
        Form::PlusMin => _mm512_add_ps(sums.acc, sums.accm),
    };
    let Some(bias) = bias else { return y };
    assert!(bias.len() == rows, "a bias for each row");
    // SAFETY: the mask has a bit for each float of `bias`.
    _mm512_add_ps(y, unsafe { _mm512_maskz_loadu_ps(mask(rows), bias.as_ptr()) })
}

/// A bit for each row of at most sixteen.
#[inline(always)]
fn mask(rows: usize) -> u16 {
    assert!(rows <= ROWS, "the rows of a tile");
    ((1u32 << rows) - 1) as u16
}
