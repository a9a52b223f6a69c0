//! Sixteen rows of 256-wide blocks with many positions, on AMX's int8 tiles.
//!
//! A tile adds up 256 products of two signed bytes for each of 16 positions and 16 rows. So that a block's groups need not
//! be told apart, their scales are multiplied into the codes first: `v = scale · code` has 14 bits with its sign (see the
//! bounds of the module above), and `v = 128 high + low`, with `high` in -63..=62 and `low` in 0..=127. The sums of both
//! with the activations are exact, and so is `p = 128 Σ high q + Σ low q`; minimums and all f32 operations are those of
//! [`tile`](super::super::tile).

use std::arch::asm;
use std::arch::x86_64::*;

use super::Vnni;
use super::lanes::{Fill, Lanes, Side, Stored};
use crate::fused::tile::{Sums as Totals, finish};
use crate::fused::{Block, Form, Job, Packed, TILE_ROWS as ROWS};
use crate::simd::Isa;
use crate::simd::amx::{HasTiles, TileRegisters};

/// AMX beside VNNI.
#[derive(Debug, Clone, Copy)]
pub(in crate::fused) struct Amx(Vnni, HasTiles);

impl Amx {
    /// If `isa` has it.
    pub(in crate::fused) fn new(isa: Isa) -> Option<Self> {
        Some(Amx(Vnni::new(isa)?, HasTiles::new(isa)?))
    }

    /// What it is beside.
    pub(in crate::fused) fn vnni(self) -> Vnni {
        self.0
    }
}

/// From this many positions on, bringing rows into tiles pays.
pub(in crate::fused) const MIN_POSITIONS: usize = 16;
/// Positions multiplied at once: two tiles.
const POSITIONS: usize = 32;

/// One block of sixteen rows, as tiles read it.
#[repr(C, align(64))]
pub(in crate::fused) struct Strip {
    /// `[value / 4][row]`, four bytes each.
    low: [[u32; ROWS]; 64],
    /// The same.
    high: [[u32; ROWS]; 64],
    /// `[group / 2][row]`, a pair of minimums each.
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

/// Evaluates `job`, whose activations have a scale per block of 256, into `[positions, rows]`. Rows are read by `fill`.
///
/// Each product of tiles is started before the sums of the one before are added up: tiles and vectors then work side by side.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(in crate::fused) fn run<F: Packed>(s: Amx, job: &Job<'_>, mut fill: impl Fill<Strip>, out: &mut [f32]) {
    let (rows, positions) = (job.weight.rows(), job.codes.positions);
    let whole = positions / POSITIONS * POSITIONS;
    let tail = tail(job, whole);
    let (mut strips, mut sums) = ([Strip::ZERO; 2], [Sums::ZERO; 2]);
    let zero = Totals { acc: _mm512_setzero_ps(), accm: _mm512_setzero_ps() };
    let mut totals = vec![zero; positions];
    let tiles = TileRegisters::shaped(s.1);
    for first in (0..rows).step_by(ROWS) {
        totals.fill(zero);
        let (mut step, mut before) = (0, None);
        for b in 0..job.weight.cols() / 256 {
            // SAFETY: this function's features.
            unsafe { fill.fill(&mut strips[b % 2], first, b) };
            let q = &job.codes.q[b * positions * 256..(b + 1) * positions * 256];
            for start in (0..positions).step_by(POSITIONS) {
                let q = if start < whole { &q[start * 256..] } else { &tail[b * POSITIONS * 256..] };
                multiply(&tiles, &q[..POSITIONS * 256], &strips[b % 2], &mut sums[step % 2]);
                if let Some((b, start)) = before.replace((b, start)) {
                    add::<F>(job, (b, start), &strips[b % 2], &sums[(step + 1) % 2], &mut totals);
                }
                step += 1;
            }
        }
        if let Some((b, start)) = before {
            add::<F>(job, (b, start), &strips[b % 2], &sums[(step + 1) % 2], &mut totals);
        }
        let n = ROWS.min(rows - first);
        let bias = job.bias.map(|b| &b[first..first + n]);
        for (t, totals) in totals.iter().enumerate() {
            finish::<F>(totals, bias, &mut out[t * rows + first..t * rows + first + n]);
        }
    }
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
    unsafe fn fill(&mut self, strip: &mut Strip, first: usize, b: usize) {
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
            strip.put::<F>(part, turn(&self.blocks, 64 * part), &small);
        }
    }
}

impl<F: Lanes> Fill<Strip> for Side<'_, F> {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn fill(&mut self, strip: &mut Strip, first: usize, b: usize) {
        let tile = self.tile(first, b);
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
                strip.put::<F>(part, F::codes(tile, part), &small.scales);
            }
        }
    }
}

impl Strip {
    /// Puts the codes of values `64 part ..`, multiplied by their scales, of which `scales` holds pairs.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn put<F: Packed>(&mut self, part: usize, codes: [__m512i; 16], scales: &[__m512i]) {
        let quads = F::SHAPE.group / 4;
        for i in 0..16 {
            let quad = 16 * part + i;
            let pair = scales[quad / quads / 2];
            let scale = if (quad / quads).is_multiple_of(2) {
                _mm512_mask_mov_epi16(_mm512_slli_epi32::<16>(pair), 0x5555_5555, pair)
            } else {
                _mm512_mask_mov_epi16(_mm512_srli_epi32::<16>(pair), 0xaaaa_aaaa, pair)
            };
            let (low, high) = scaled(codes[i], scale);
            store(&mut self.low[quad], low);
            store(&mut self.high[quad], high);
        }
    }
}

/// The low seven bits of `scale · code` and what is above them, of four codes in each lane.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn scaled(codes: __m512i, scale: __m512i) -> (__m512i, __m512i) {
    let lower = _mm512_set1_epi16(0x00ff);
    let even = _mm512_mullo_epi16(_mm512_and_si512(codes, lower), scale);
    let odd = _mm512_mullo_epi16(_mm512_srli_epi16::<8>(codes), scale);
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

/// The sums of 32 positions' codes with a strip.
#[inline(always)]
fn multiply(_tiles: &TileRegisters, q: &[i8], strip: &Strip, sums: &mut Sums) {
    assert_eq!(q.len(), POSITIONS * 256, "two tiles of positions");
    // Tiles 0 to 3 are the sums, 4 and 5 positions, 6 and 7 the low and high bytes of rows, 64 values at a time.
    macro_rules! values {
        ($positions:literal, $more:literal, $low:literal, $high:literal) => {
            concat!(
                "tileloadd tmm4, [{q} + {block}*1 + ",
                $positions,
                "]\n",
                "tileloadd tmm6, [{w} + {line}*1 + ",
                $low,
                "]\n",
                "tileloadd tmm7, [{w} + {line}*1 + ",
                $high,
                "]\n",
                "tdpbssd tmm0, tmm4, tmm6\n",
                "tileloadd tmm5, [{q} + {block}*1 + ",
                $more,
                "]\n",
                "tdpbssd tmm1, tmm4, tmm7\n",
                "tdpbssd tmm2, tmm5, tmm6\n",
                "tdpbssd tmm3, tmm5, tmm7\n",
            )
        };
    }
    // SAFETY: `_tiles` proves AMX and the shape of the tiles. Read are 32 positions of 256 bytes and a strip's low and high
    // bytes, twice 4096 and adjacent; written are the 4096 bytes of `sums`. No tile is used across this statement.
    unsafe {
        asm!(
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            values!("0", "4096", "0", "4096"),
            values!("64", "4160", "1024", "5120"),
            values!("128", "4224", "2048", "6144"),
            values!("192", "4288", "3072", "7168"),
            "tilestored [{sums} + {line}*1], tmm0",
            "tilestored [{sums} + {line}*1 + 1024], tmm1",
            "tilestored [{sums} + {line}*1 + 2048], tmm2",
            "tilestored [{sums} + {line}*1 + 3072], tmm3",
            q = in(reg) q.as_ptr(),
            w = in(reg) &raw const *strip,
            sums = in(reg) &raw mut *sums,
            block = in(reg) 256usize,
            line = in(reg) 64usize,
            options(nostack, preserves_flags),
        );
    }
}

/// Adds block `b` to the totals of at most 32 positions from `start` on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn add<F: Packed>(job: &Job<'_>, (b, start): (usize, usize), strip: &Strip, sums: &Sums, totals: &mut [Totals]) {
    let (positions, n) = (job.codes.positions, F::SHAPE.sums());
    let end = positions.min(start + POSITIONS);
    let (from, to) = (b * positions + start, b * positions + end);
    let (group_sums, d, totals) = (&job.codes.sums[from * n..to * n], &job.codes.d[from..to], &mut totals[start..end]);
    let load = |v: &[i32; ROWS]| {
        // SAFETY: 64 readable bytes.
        unsafe { _mm512_loadu_si512(v.as_ptr().cast()) }
    };
    // SAFETY: 64 readable bytes each.
    let (weight_d, weight_dm) = unsafe { (_mm512_loadu_ps(strip.d.as_ptr()), _mm512_loadu_ps(strip.dm.as_ptr())) };
    let mut mins = [_mm512_setzero_si512(); 8];
    for (to, from) in mins.iter_mut().zip(&strip.mins) {
        // SAFETY: 64 readable bytes.
        *to = unsafe { _mm512_loadu_si512(from.as_ptr().cast()) };
    }
    let each = group_sums.chunks_exact(F::SHAPE.sums()).zip(d);
    for (t, (totals, (group_sums, d))) in totals.iter_mut().zip(each).enumerate() {
        let [low, high] = &sums.0[t / 16];
        let p = _mm512_add_epi32(load(&low[t % 16]), _mm512_slli_epi32::<7>(load(&high[t % 16])));
        let mut m = [_mm512_setzero_si512(); 2];
        for (i, pair) in group_sums.as_chunks::<2>().0.iter().enumerate() {
            let pair = i32::from(pair[0]) & 0xffff | i32::from(pair[1]) << 16;
            m[i % 2] = _mm512_dpwssd_epi32(m[i % 2], mins[i], _mm512_set1_epi32(pair));
        }
        let m = _mm512_add_epi32(m[0], m[1]);
        let a = _mm512_set1_ps(*d);
        let main = if F::FORM == Form::Offset { _mm512_sub_epi32(p, m) } else { p };
        totals.acc = _mm512_fmadd_ps(_mm512_mul_ps(weight_d, a), _mm512_cvtepi32_ps(main), totals.acc);
        if F::FORM != Form::Offset {
            totals.accm = _mm512_fmadd_ps(_mm512_mul_ps(weight_dm, a), _mm512_cvtepi32_ps(m), totals.accm);
        }
    }
}
