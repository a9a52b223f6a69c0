//! Sixteen rows of 256-wide blocks with many positions, on AMX's int8 tiles.
//!
//! A tile adds up 256 products of two signed bytes for each of 16 positions and 16 rows. So that a block's groups need not
//! be told apart, their scales are multiplied into the codes first: `v = scale · code`, of an offset format
//! `scale · (code - offset)`, is at most 4096 in magnitude (see the bounds of the module above), and `v = 128 high + low`,
//! with `high` in -32..=32 and `low` in 0..=127. The sums of both with the activations are exact, and so is
//! `p = 128 Σ high q + Σ low q`; minimums and all f32 operations are those of [`tile`](super::super::tile).
//!
//! What is met again and again stays near: some blocks of four strips of rows live in the second-level cache while all
//! positions pass, and 32 positions of a block and the totals of four strips in the first.

use std::arch::x86_64::*;

use super::Vnni;
use super::lanes::{Ahead, Fill, Lanes, Side, Stored};
use crate::columns::Columns;
use crate::fused::tile::{Sums as Totals, dpwssd, finish};
use crate::fused::{Block, Form, Job, Packed, TILE_ROWS as ROWS};
use crate::simd::amx::{HasTiles, TileRegisters};

/// AMX beside VNNI.
#[derive(Debug, Clone, Copy)]
pub(in crate::fused) struct Amx(Vnni, HasTiles);

impl Amx {
    /// If the job's instruction set has it, and bringing rows into tiles pays.
    pub(in crate::fused) fn of(job: &Job<'_>) -> Option<Self> {
        let pays = job.codes.positions >= MIN_POSITIONS && job.weight.cols() > 0;
        Some(Amx(Vnni::new(job.isa)?, HasTiles::new(job.isa)?)).filter(|_| pays)
    }

    /// What it is beside.
    pub(in crate::fused) fn vnni(self) -> Vnni {
        self.0
    }
}

/// From this many positions on, bringing rows into tiles pays.
const MIN_POSITIONS: usize = 16;
/// Positions multiplied at once: two tiles.
const POSITIONS: usize = 32;
/// Rows, in sixteens, that meet the same positions one after another.
const STRIPS: usize = 4;
/// Blocks of them, at most: 32 strips of nine KiB are a seventh of a second-level cache of 2 MiB.
const BLOCKS: usize = 8;

/// One block of sixteen rows, as tiles read it.
#[derive(Clone)]
#[repr(C, align(64))]
pub(in crate::fused) struct Strip {
    /// `[value / 4][row]`, four bytes each.
    low: [[u32; ROWS]; 64],
    /// The same.
    high: [[u32; ROWS]; 64],
    /// `[group / 2][row]`, a pair of minimums each; for formats that are not offset.
    mins: [[u32; ROWS]; 8],
    d: [f32; ROWS],
    dm: [f32; ROWS],
}

impl Strip {
    const ZERO: Strip =
        Strip { low: [[0; ROWS]; 64], high: [[0; ROWS]; 64], mins: [[0; ROWS]; 8], d: [0.0; ROWS], dm: [0.0; ROWS] };
}

/// `Σ low q` and `Σ high q` of 16 positions, then of 16 more, `[position][row]`.
#[repr(C, align(64))]
struct Sums([[[[i32; ROWS]; 16]; 2]; 2]);

impl Sums {
    const ZERO: Sums = Sums([[[[0; ROWS]; 16]; 2]; 2]);
}

/// Adds to the sums what values `64 part ..` make of 32 positions `q`, `[position][256]`, and a strip. Tiles 0
/// to 3 are those of `low` and of `high` with 16 positions and then with 16 more; 4 and 5 hold positions, 6 and 7 weights.
#[inline(always)]
fn multiply(tiles: &mut TileRegisters, q: &[i8], strip: &Strip, part: usize) {
    assert!(q.len() == POSITIONS * 256 && part < PARTS, "two tiles of positions");
    // SAFETY: 64 of 256 bytes are read of each of 32 positions, which `q` has, and `part` is 0 to 3.
    unsafe {
        tiles.load::<4>(q.as_ptr().add(64 * part), 256);
        weights::<6>(tiles, &strip.low, part);
        weights::<7>(tiles, &strip.high, part);
        tiles.multiply::<0, 4, 6>();
        tiles.load::<5>(q.as_ptr().add(16 * 256 + 64 * part), 256);
    }
    tiles.multiply::<1, 4, 7>();
    tiles.multiply::<2, 5, 6>();
    tiles.multiply::<3, 5, 7>();
}

/// Puts values `64 part ..` of a strip into a tile.
#[inline(always)]
fn weights<const T: usize>(tiles: &mut TileRegisters, quads: &[[u32; ROWS]; 64], part: usize) {
    let lines: &[[u32; ROWS]; 16] = &quads.as_chunks().0[part];
    // SAFETY: the reference is to 16 readable lines of 64 bytes.
    unsafe { tiles.load::<T>(lines.as_ptr().cast(), 64) };
}

/// Writes the sums.
#[inline(always)]
fn store_sums(tiles: &mut TileRegisters, Sums([[low, high], [low_16, high_16]]): &mut Sums) {
    tiles.store::<0>(low);
    tiles.store::<1>(high);
    tiles.store::<2>(low_16);
    tiles.store::<3>(high_16);
}

/// Evaluates `job`, whose activations have a scale per block of 256, into `[positions, rows]`. Rows are read by `fill`.
///
/// A product of tiles and the sums of the one before are worked at in turns: tiles and vectors then work side by side.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(in crate::fused) fn run<F: Packed>(s: Amx, job: &Job<'_>, mut fill: impl Fill<Strip>, out: &mut Columns<'_>) {
    let mut tiles = TileRegisters::shaped(s.1);
    let (rows, positions, blocks) = (job.weight.rows(), job.codes.positions, job.weight.cols() / 256);
    let whole = positions / POSITIONS * POSITIONS;
    let tail = tail(job, whole);
    let together = blocks.div_ceil(blocks.div_ceil(BLOCKS));
    let (mut strips, mut sums) = (vec![Strip::ZERO; STRIPS * together], Sums::ZERO);
    let padded = positions.next_multiple_of(POSITIONS);
    let mut totals = vec![Totals { acc: _mm512_setzero_ps(), accm: _mm512_setzero_ps() }; STRIPS * padded];
    for first in (0..rows).step_by(STRIPS * ROWS) {
        let count = STRIPS.min((rows - first).div_ceil(ROWS));
        for from in (0..blocks).step_by(together) {
            let blocks = together.min(blocks - from);
            for i in 0..count * blocks {
                // SAFETY: this function's features.
                let mut ahead = unsafe { fill.fill(&mut strips[i], first + i % count * ROWS, from + i / count) };
                ahead.fetch(ahead.lines());
            }
            let mut before: Option<Step<'_>> = None;
            for start in (0..positions).step_by(POSITIONS) {
                for (i, strip) in strips[..count * blocks].iter().enumerate() {
                    let b = from + i / count;
                    let q = if start < whole {
                        &job.codes.q[(b * positions + start) * 256..]
                    } else {
                        &tail[b * POSITIONS * 256..]
                    };
                    tiles.zero_four();
                    for part in 0..PARTS {
                        multiply(&mut tiles, &q[..POSITIONS * 256], strip, part);
                        if let Some(before) = &before {
                            add::<F>(job, before, part, &sums, &mut totals, out);
                        }
                    }
                    store_sums(&mut tiles, &mut sums);
                    let (row, totals) = (first + i % count * ROWS, i % count * padded + start);
                    before = Some(Step { b, start, strip, row, totals });
                }
            }
            if let Some(before) = &before {
                for part in 0..PARTS {
                    add::<F>(job, before, part, &sums, &mut totals, out);
                }
            }
        }
    }
}

/// A product of tiles whose sums are to be added up.
struct Step<'s> {
    /// The block, the first position, and the weights.
    b: usize,
    start: usize,
    strip: &'s Strip,
    /// The first row, and where the totals are.
    row: usize,
    totals: usize,
}

/// The codes of positions `whole ..` of each block, with zeros up to a number that tiles take.
fn tail(job: &Job<'_>, whole: usize) -> Vec<i8> {
    let positions = job.codes.positions;
    if whole == positions {
        return Vec::new();
    }
    let mut tail = vec![0; job.weight.cols() * POSITIONS];
    for (to, from) in tail.chunks_exact_mut(POSITIONS * 256).zip(job.codes.q.chunks_exact(positions * 256)) {
        to[..(positions - whole) * 256].copy_from_slice(&from[whole * 256..]);
    }
    tail
}

impl<F: Packed> Fill<Strip> for Stored<'_, F> {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn fill(&mut self, strip: &mut Strip, first: usize, b: usize) -> Ahead {
        for (r, block) in self.blocks.iter_mut().enumerate() {
            let bytes = self.job.block::<F>(first + r, b);
            F::unpack(self.s, bytes, block);
            (strip.d[r], strip.dm[r]) = F::factors(self.s, bytes);
        }
        let small = turn(&self.blocks, 256);
        for (to, pair) in strip.mins.iter_mut().zip(&small[8..]) {
            store(to, *pair);
        }
        for part in 0..4 {
            strip.put::<F>(part, turn(&self.blocks, 64 * part), &small[..8], &small[8..]);
        }
        Ahead::NONE
    }
}

impl<F: Lanes> Fill<Strip> for Side<'_, F> {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn fill(&mut self, strip: &mut Strip, first: usize, b: usize) -> Ahead {
        let (tile, ahead) = self.tile(first, b);
        // SAFETY: this function's features; a tile has its lines; 64 writable bytes each.
        unsafe {
            let [d, dm] = F::d_and_dm(tile);
            _mm512_storeu_ps(strip.d.as_mut_ptr(), d);
            _mm512_storeu_ps(strip.dm.as_mut_ptr(), dm);
            let small = F::small(tile);
            for (to, pair) in strip.mins.iter_mut().zip(small.mins) {
                store(to, pair);
            }
            for part in 0..4 {
                strip.put::<F>(part, F::codes(tile, part), &small.scales, &small.mins);
            }
        }
        ahead
    }
}

impl Strip {
    /// Puts the codes of values `64 part ..`, multiplied by their scales, of which `scales` holds pairs; of an offset format
    /// less `mins`, offset times scale.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn put<F: Packed>(&mut self, part: usize, codes: [__m512i; 16], scales: &[__m512i], mins: &[__m512i]) {
        let quads = F::SHAPE.group / 4;
        for i in 0..16 {
            let quad = 16 * part + i;
            let (pair, second) = (quad / quads / 2, !(quad / quads).is_multiple_of(2));
            let min = if F::FORM == Form::Offset { one_of(mins[pair], second) } else { _mm512_setzero_si512() };
            let (low, high) = scaled(codes[i], one_of(scales[pair], second), min);
            store(&mut self.low[quad], low);
            store(&mut self.high[quad], high);
        }
    }
}

/// Of each pair the first or the second, twice.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn one_of(pairs: __m512i, second: bool) -> __m512i {
    if second {
        _mm512_mask_mov_epi16(_mm512_srli_epi32::<16>(pairs), 0xaaaa_aaaa, pairs)
    } else {
        _mm512_mask_mov_epi16(_mm512_slli_epi32::<16>(pairs), 0x5555_5555, pairs)
    }
}

/// The low seven bits of `scale · code - min` and what is above them, of four codes in each lane.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn scaled(codes: __m512i, scale: __m512i, min: __m512i) -> (__m512i, __m512i) {
    let lower = _mm512_set1_epi16(0x00ff);
    let even = _mm512_sub_epi16(_mm512_mullo_epi16(_mm512_and_si512(codes, lower), scale), min);
    let odd = _mm512_sub_epi16(_mm512_mullo_epi16(_mm512_srli_epi16::<8>(codes), scale), min);
    // lower ? a : b
    let low = _mm512_ternarylogic_epi32::<0xca>(lower, even, _mm512_slli_epi16::<8>(odd));
    let high = _mm512_ternarylogic_epi32::<0xca>(lower, _mm512_srai_epi16::<7>(even), _mm512_slli_epi16::<1>(odd));
    (_mm512_and_si512(low, _mm512_set1_epi8(0x7f)), high)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(to: &mut [u32; ROWS], v: __m512i) {
    // SAFETY: 64 writable bytes.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), v) }
}

/// Of each block the 64 bytes from `at`, four of one row beside four of the next.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn turn(blocks: &[Block; ROWS], at: usize) -> [__m512i; 16] {
    const { assert!(size_of::<Block>() == 256 + 64) };
    let (mut v, mut w) = ([_mm512_setzero_si512(); 16], [_mm512_setzero_si512(); 16]);
    for r in 0..ROWS {
        // SAFETY: `at` is at most 256, and a block is 64 bytes longer.
        v[r] = unsafe { _mm512_loadu_si512((&raw const blocks[r]).cast::<u8>().add(at).cast()) };
    }
    // Pairs of rows, then fours, in each 128 bits; then the 128s are brought together.
    for i in (0..16).step_by(2) {
        w[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        w[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    for i in (0..16).step_by(4) {
        v[i] = _mm512_unpacklo_epi64(w[i], w[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(w[i], w[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(w[i + 1], w[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(w[i + 1], w[i + 3]);
    }
    for i in 0..4 {
        w[i] = _mm512_shuffle_i32x4::<0x88>(v[i], v[i + 4]);
        w[i + 4] = _mm512_shuffle_i32x4::<0xdd>(v[i], v[i + 4]);
        w[i + 8] = _mm512_shuffle_i32x4::<0x88>(v[i + 8], v[i + 12]);
        w[i + 12] = _mm512_shuffle_i32x4::<0xdd>(v[i + 8], v[i + 12]);
    }
    for i in 0..4 {
        v[i] = _mm512_shuffle_i32x4::<0x88>(w[i], w[i + 8]);
        v[i + 8] = _mm512_shuffle_i32x4::<0xdd>(w[i], w[i + 8]);
        v[i + 4] = _mm512_shuffle_i32x4::<0x88>(w[i + 4], w[i + 12]);
        v[i + 12] = _mm512_shuffle_i32x4::<0xdd>(w[i + 4], w[i + 12]);
    }
    v
}

/// Turns of tiles and vectors in a step: 64 values each, and eight positions.
const PARTS: usize = 4;

/// Adds what a step made to the totals of the `part`-th eight of its positions, and writes those that are complete.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn add<F: Packed>(
    job: &Job<'_>,
    step: &Step<'_>,
    part: usize,
    sums: &Sums,
    totals: &mut [Totals],
    out: &mut Columns<'_>,
) {
    const EACH: usize = POSITIONS / PARTS;
    let (positions, n, strip) = (job.codes.positions, F::SHAPE.sums(), step.strip);
    let first = step.start + EACH * part;
    let end = positions.min(first + EACH);
    if end <= first {
        return;
    }
    let (from, to) = (step.b * positions + first, step.b * positions + end);
    let (group_sums, d) = (&job.codes.sums[from * n..to * n], &job.codes.d[from..to]);
    let totals = &mut totals[step.totals + EACH * part..][..end - first];
    if step.b == 0 {
        totals.fill(Totals { acc: _mm512_setzero_ps(), accm: _mm512_setzero_ps() });
    }
    let load = |v: &[i32; ROWS]| {
        // SAFETY: 64 readable bytes.
        unsafe { _mm512_loadu_si512(v.as_ptr().cast()) }
    };
    // SAFETY: 64 readable bytes each.
    let (weight_d, weight_dm) = unsafe { (_mm512_loadu_ps(strip.d.as_ptr()), _mm512_loadu_ps(strip.dm.as_ptr())) };
    let [low, high] = &sums.0[part / 2];
    let lines = low[EACH * (part % 2)..].iter().zip(&high[EACH * (part % 2)..]);
    let each = group_sums.chunks_exact(n).zip(d);
    for ((totals, (group_sums, d)), (low, high)) in totals.iter_mut().zip(each).zip(lines) {
        let p = _mm512_add_epi32(load(low), _mm512_slli_epi32::<7>(load(high)));
        let a = _mm512_set1_ps(*d);
        totals.acc = _mm512_fmadd_ps(_mm512_mul_ps(weight_d, a), _mm512_cvtepi32_ps(p), totals.acc);
        if F::FORM != Form::Offset {
            let mut m = [_mm512_setzero_si512(); 2];
            for pair in 0..F::SHAPE.sums() / 2 {
                // SAFETY: 64 readable bytes; a pair of the position's sums.
                unsafe {
                    let mins = _mm512_loadu_si512(strip.mins[pair].as_ptr().cast());
                    m[pair % 2] = dpwssd(m[pair % 2], mins, group_sums.as_ptr().add(2 * pair));
                }
            }
            let m = _mm512_cvtepi32_ps(_mm512_add_epi32(m[0], m[1]));
            totals.accm = _mm512_fmadd_ps(_mm512_mul_ps(weight_dm, a), m, totals.accm);
        }
    }
    if step.b + 1 == job.weight.cols() / 256 {
        let rows = step.row..job.weight.rows().min(step.row + ROWS);
        let bias = job.bias.map(|b| &b[rows.clone()]);
        for (t, totals) in (first..).zip(totals.iter()) {
            finish::<F>(totals, bias, out.of(t, rows.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
