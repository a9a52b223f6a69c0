//! Sixteen rows of 256-wide blocks side by side, in 512-bit vectors: lanes are rows.
//!
//! A block of each of sixteen rows is a tile: 32-bit words, word `i` of all rows in one line of 64 bytes. Four codes of each
//! row meet four codes of an activation, broadcast from memory, in one instruction, and no sum crosses lanes. So the f32 sums
//! cost sixteen rows as much as one, whether the activations have a scale per 256 values or per 32. Tiles are made on the way,
//! from rows as stored, or once for all (see [`Tiles`](crate::fused::tiles::Tiles)); both have the same bits.

mod fill;
mod pack;
mod q4_k;
mod q5_k;
mod q6_k;
mod runs;

use std::arch::asm;
use std::arch::x86_64::*;
use std::cell::Cell;

use twinpath_formats::Matrix;

pub(in crate::fused) use self::fill::{Ahead, Fill, Side, Stored};
use self::pack::Strided;
use self::runs::Starts;
use super::Vnni;
use super::amx::{self, Amx};
use crate::columns::Columns;
use crate::fused::tile::{self, Sums, finish};
use crate::fused::tiles::{GROUP, Interleaved, Layout};
use crate::fused::{Form, Job, PART_ROWS, Packed, TILE_ROWS as ROWS, by_32};
use crate::lines::Line;
use crate::q8::Scales;
use crate::simd::Isa;
use crate::simd::fetch::{self, Cache, fetch};

/// How sixteen blocks of one format lie side by side.
pub(in crate::fused) trait Lanes: Packed {
    /// Lines of a tile, in the order in which they are read.
    const LINES: usize;

    /// Makes a tile of a block of each row.
    ///
    /// # Safety
    /// AVX-512 F; a block of each of sixteen rows, `LINES` at `tile`.
    unsafe fn pack(rows: Strided, tile: *mut Line);

    /// Bits by which [`raised`](Self::raised) has the codes of values `64 part + 16 i ..` higher than they are.
    const RAISED: [u32; 4];

    /// The codes of values `64 part ..`, four to a lane, each of eight bits.
    ///
    /// # Safety
    /// AVX-512 F and BW; `LINES` at `tile`; `part` below 4.
    unsafe fn raised(tile: *const Line, part: usize) -> [__m512i; 16];

    /// The same, where they belong.
    ///
    /// # Safety
    /// As [`raised`](Self::raised).
    #[inline(always)]
    unsafe fn codes(tile: *const Line, part: usize) -> [__m512i; 16] {
        // SAFETY: the caller's.
        let mut codes = unsafe { Self::raised(tile, part) };
        for (four, bits) in codes.as_chunks_mut::<4>().0.iter_mut().zip(Self::RAISED).filter(|(_, bits)| *bits > 0) {
            for code in four {
                // What a byte loses to the right is zero.
                // SAFETY: the caller's.
                *code = unsafe { _mm512_srlv_epi32(*code, _mm512_set1_epi32(bits as i32)) };
            }
        }
        codes
    }

    /// Scales and minimums.
    ///
    /// # Safety
    /// AVX-512 F and BW; `LINES` at `tile`.
    unsafe fn small(tile: *const Line) -> Small;

    /// `d` and `dm` of each row.
    ///
    /// # Safety
    /// AVX-512 F; `LINES` at `tile`.
    unsafe fn d_and_dm(tile: *const Line) -> [__m512; 2];
}

/// Of each row the scales and minimums of two successive groups, 16 bits each; of 8 groups the first four count.
pub(in crate::fused) struct Small {
    pub(in crate::fused) scales: [__m512i; 8],
    pub(in crate::fused) mins: [__m512i; 8],
}

impl Small {
    /// The scale of group `g`, in 32 bits.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn scale(&self, g: usize) -> __m512i {
        one_of(self.scales[g / 2], g)
    }

    /// The minimum of group `g`, in 32 bits.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn min(&self, g: usize) -> __m512i {
        one_of(self.mins[g / 2], g)
    }
}

/// Of pairs of successive groups' values that of group `g`, in 32 bits.
#[inline]
#[target_feature(enable = "avx512f")]
pub(in crate::fused) fn one_of(pairs: __m512i, g: usize) -> __m512i {
    let pairs = if g.is_multiple_of(2) { _mm512_slli_epi32::<16>(pairs) } else { pairs };
    _mm512_srai_epi32::<16>(pairs)
}

/// Word `i` of each row. Lines are read in the order in which the program asks for them, which LLVM would change: processors
/// foresee a stream whose lines come in their own order.
///
/// # Safety
/// AVX-512 F; a line at `tile + i`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn line(tile: *const Line, i: usize) -> __m512i {
    // SAFETY: the caller's.
    unsafe { tile.add(i).cast::<__m512i>().read_volatile() }
}

/// Bytes between the tile that is multiplied and what is fetched; on processors that foresee a stream, farther.
const AHEAD: usize = 8192;
const FAR_AHEAD: usize = 16384;

/// Brings a quarter of a later tile nearer: all of it at once would keep loads waiting. Where the processor foresees the
/// stream, one line is enough to set it on its way.
#[inline]
fn fetch_ahead<F: Lanes>(tile: *const Line, part: usize, foreseen: bool) {
    let quarter = F::LINES.div_ceil(4);
    let from = tile.cast::<u8>().wrapping_add(part * quarter * 64);
    match foreseen {
        true => fetch(Cache::Second, from.wrapping_add(FAR_AHEAD), 1),
        false => fetch(Cache::Second, from.wrapping_add(AHEAD), 64 * quarter),
    }
}

/// One block's codes, what its dots begin with, its sums and scales, of one position.
#[derive(Clone, Copy)]
struct Activations {
    /// Whether the processor foresees the stream of weights.
    foreseen: bool,
    q: *const i8,
    starts: *const Starts,
    sums: *const i16,
    d: *const f32,
    /// Sums times scales, where a scale of activations meets one of weights.
    scaled: *const f32,
}

/// How weights of one format are laid out.
pub(in crate::fused) const fn layout<F: Lanes>() -> Layout {
    Layout { lines: F::LINES, fill: fill::<F> }
}

fn fill<F: Lanes>(isa: Isa, weight: Matrix<'_>, first: usize, tiles: &mut [Line]) {
    if let Some(s) = Vnni::new(isa) {
        // SAFETY: `s` proves the features.
        unsafe { pack::pack::<F>(s, weight, first, tiles) }
    }
}

/// Evaluates `job` into `[positions, rows]`.
pub(in crate::fused) fn linear<F: Lanes>(job: &Job<'_>, out: &mut Columns<'_>) {
    let (split, many) = (job.codes.scales == Scales::Per32, job.codes.positions >= tile::MIN_POSITIONS);
    let Some(s) = Vnni::new(job.isa).filter(|_| job.weight.rows() > 0) else {
        return crate::fused::run::<F>(job, out);
    };
    // SAFETY: `s` and the `Amx` prove the features.
    unsafe {
        match (many, job.tiles) {
            (true, _) => {
                let side = Side::<F>::new(s, job);
                match Amx::of(job).filter(|_| !split) {
                    Some(s) => amx::run::<F>(s, job, side, out),
                    None if split => tile::run::<F, true>(job, side, out),
                    None => tile::run::<F, false>(job, side, out),
                }
            }
            (false, Some(tiles)) if split => run::<F, true>(job, tiles, out),
            (false, Some(tiles)) => run::<F, false>(job, tiles, out),
            (false, None) => crate::fused::run::<F>(job, out),
        }
    }
}

/// Evaluates `job` into `[positions, rows]` from these tiles; with `SPLIT`, its activations have a scale per 32 values.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn run<F: Lanes, const SPLIT: bool>(job: &Job<'_>, tiles: Interleaved<'_>, out: &mut Columns<'_>) {
    let (rows, blocks, codes) = (job.weight.rows(), job.weight.cols() / 256, job.codes);
    let (positions, scales, group_sums) = (codes.positions, codes.scales.of(F::SHAPE), F::SHAPE.sums());
    let mut starts = STARTS.take();
    starts.clear();
    starts.extend(codes.q.as_chunks().0.iter().map(|q| runs::starts::<F>(q)));
    assert!(starts.len() == blocks * positions && codes.d.len() == starts.len() * scales, "codes of all columns");
    assert!(codes.sums.len() == starts.len() * group_sums, "sums of all columns");
    let by_32 = SPLIT && by_32::<F>();
    assert!(!by_32 || codes.scaled.len() == codes.d.len(), "scaled sums of all columns");
    let foreseen = fetch::foresees();
    let zero = [Sums { acc: _mm512_setzero_ps(), accm: _mm512_setzero_ps() }; GROUP];
    let mut sums = [zero; tile::MIN_POSITIONS - 1];
    let sums = &mut sums[..positions];
    for (first, group) in (0..rows).step_by(PART_ROWS).zip(tiles.groups()) {
        sums.fill(zero);
        let strips = (rows - first).div_ceil(ROWS).min(GROUP);
        for (b, block) in group.chunks_exact(strips * F::LINES).take(blocks).enumerate() {
            for (s, tile) in block.chunks_exact(F::LINES).enumerate() {
                for (t, sums) in sums.iter_mut().enumerate() {
                    let (at, tile, sums) = (b * positions + t, tile.as_ptr(), &mut sums[s]);
                    // SAFETY: this function's features; a tile has `LINES`, and of block `at` the codes and what belongs to
                    // them are where the assertions say.
                    unsafe {
                        let x = Activations {
                            foreseen,
                            q: codes.q.as_ptr().add(at * 256),
                            starts: starts.as_ptr().add(at),
                            sums: codes.sums.as_ptr().add(at * group_sums),
                            d: codes.d.as_ptr().add(at * scales),
                            scaled: codes.scaled.as_ptr().wrapping_add(if by_32 { at * scales } else { 0 }),
                        };
                        *sums = if SPLIT { add_split::<F>(tile, x, *sums) } else { add::<F>(tile, x, *sums) };
                    }
                }
            }
        }
        for (t, sums) in sums.iter().enumerate() {
            for (s, sums) in sums[..strips].iter().enumerate() {
                let rows = first + s * ROWS..rows.min(first + (s + 1) * ROWS);
                finish::<F>(sums, job.bias.map(|b| &b[rows.clone()]), out.of(t, rows));
            }
        }
    }
    STARTS.set(starts);
}

thread_local! {
    /// Kept from part to part: the allocator has one heap, and threads that ask it at once wait for one another.
    static STARTS: Cell<Vec<Starts>> = const { Cell::new(Vec::new()) };
}

/// The same pointer, of which the compiler knows nothing: it would keep broadcasts for later blocks, and spill them.
#[inline(always)]
fn opaque<T>(p: *const T) -> *const T {
    let mut same = p.expose_provenance();
    // SAFETY: no instruction.
    unsafe { asm!("/* {} */", inout(reg) same, options(pure, nomem, nostack, preserves_flags)) };
    std::ptr::with_exposed_provenance(same)
}

/// Two successive sums in each lane.
///
/// # Safety
/// AVX-512 F; two values at `sums + 2 pair`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn sums_of_pair(sums: *const i16, pair: usize) -> __m512i {
    // SAFETY: the caller's.
    _mm512_set1_epi32(unsafe { sums.add(2 * pair).cast::<i32>().read_unaligned() })
}

/// Adds one block.
///
/// # Safety
/// AVX-512 F, BW and VNNI; `LINES` at `tile`; a block's activations.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn add<F: Lanes>(tile: *const Line, x: Activations, sums: Sums) -> Sums {
    let (q, starts, group_sums) = (opaque(x.q), opaque(x.starts), opaque(x.sums));
    // SAFETY: the caller's.
    unsafe {
        let factors = F::d_and_dm(tile);
        let (small, zero) = (F::small(tile), _mm512_setzero_si512());
        let (pairs, mut p, mut s, mut m) = (32 / F::SHAPE.group, [zero; 2], zero, zero);
        for part in 0..4 {
            fetch_ahead::<F>(tile, part, x.foreseen);
            let codes = F::raised(tile, part);
            for pair in part * pairs..(part + 1) * pairs {
                runs::add_pair::<F>(&codes, (q, starts), (pair, small.scales[pair]), &mut p);
            }
        }
        if F::FORM != Form::Offset {
            for pair in 0..F::SHAPE.sums() / 2 {
                let sums = sums_of_pair(group_sums, pair);
                s = _mm512_dpwssd_epi32(s, small.scales[pair], sums);
                m = _mm512_dpwssd_epi32(m, small.mins[pair], sums);
            }
        }
        join_block::<F>(factors, _mm512_set1_ps(*x.d), runs::join::<F>(p, s), m, sums)
    }
}

/// Adds one block, 32 values after 32.
///
/// # Safety
/// As [`add`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn add_split<F: Lanes>(tile: *const Line, x: Activations, mut sums: Sums) -> Sums {
    const { assert!(by_32::<F>() != matches!(F::FORM, Form::Offset), "groups of 32 with minimums, or others without") };
    let (q, starts, d, scaled) = (opaque(x.q), opaque(x.starts), opaque(x.d), opaque(x.scaled));
    // SAFETY: the caller's.
    unsafe {
        let ([weight_d, weight_dm], small, zero) = (F::d_and_dm(tile), F::small(tile), _mm512_setzero_si512());
        for part in 0..4 {
            fetch_ahead::<F>(tile, part, x.foreseen);
            let codes = F::raised(tile, part);
            for j in [2 * part, 2 * part + 1] {
                let a = _mm512_set1_ps(*d.add(j));
                let (w, p) = if by_32::<F>() {
                    let v = _mm512_mul_ps(weight_dm, _mm512_cvtepi32_ps(small.min(j)));
                    sums.accm = _mm512_fmadd_ps(v, _mm512_set1_ps(*scaled.add(j)), sums.accm);
                    let raised = _mm512_set1_epi32(F::RAISED[8 * j % 16 / 4] as i32);
                    let dot = _mm512_srav_epi32(runs::dot(&codes, q, (8 * j, 8), zero), raised);
                    (_mm512_mul_ps(weight_d, _mm512_cvtepi32_ps(small.scale(j))), dot)
                } else {
                    let mut p = [zero; 2];
                    runs::add_pair::<F>(&codes, (q, starts), (j, small.scales[j]), &mut p);
                    (weight_d, runs::join::<F>(p, zero))
                };
                sums.acc = _mm512_fmadd_ps(_mm512_mul_ps(w, a), _mm512_cvtepi32_ps(p), sums.acc);
            }
        }
    }
    sums
}

/// Adds what the two integers make under the activations' scale `a`; an offset format's is one, without `m`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn join_block<F: Lanes>([d, dm]: [__m512; 2], a: __m512, p: __m512i, m: __m512i, sums: Sums) -> Sums {
    let acc = _mm512_fmadd_ps(_mm512_mul_ps(d, a), _mm512_cvtepi32_ps(p), sums.acc);
    let accm = match F::FORM {
        Form::Offset => sums.accm,
        _ => _mm512_fmadd_ps(_mm512_mul_ps(dm, a), _mm512_cvtepi32_ps(m), sums.accm),
    };
    Sums { acc, accm }
}
