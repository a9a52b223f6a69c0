//! Blocks of sixteen rows for kernels of many positions: from rows as stored, or side by side.

use std::marker::PhantomData;

use super::Lanes;
use super::pack::Repeated;
use crate::fused::x86::Vnni;
use crate::fused::{Block, Job, Packed, TILE_ROWS as ROWS};
use crate::lines::Line;
use crate::simd::fetch::{Cache, fetch};

/// Reads a block of sixteen rows into what a kernel of many positions multiplies.
pub(in crate::fused) trait Fill<T> {
    /// Reads block `b` of the sixteen rows from `first`, and says what it will read for the next. Of fewer rows the last is
    /// repeated.
    ///
    /// # Safety
    /// AVX-512 F, BW, DQ, VL and VNNI.
    unsafe fn fill(&mut self, to: &mut T, first: usize, b: usize) -> Ahead;
}

/// Lines that will be read, to be fetched a few at a time: where all are asked for at once, many are waited for all the same.
pub(in crate::fused) struct Ahead {
    from: *const Line,
    lines: usize,
}

impl Ahead {
    pub(in crate::fused) const NONE: Ahead = Ahead { from: std::ptr::null(), lines: 0 };

    /// Fetches some.
    #[inline(always)]
    pub(in crate::fused) fn fetch(&mut self, lines: usize) {
        let lines = lines.min(self.lines);
        fetch(Cache::Second, self.from, lines);
        *self = Ahead { from: self.from.wrapping_add(lines), lines: self.lines - lines };
    }

    /// How many there are.
    pub(in crate::fused) fn lines(&self) -> usize {
        self.lines
    }
}

/// Rows as stored, of any format, unpacked one by one.
pub(in crate::fused) struct Stored<'a, F> {
    pub(in crate::fused) s: Vnni,
    pub(in crate::fused) job: &'a Job<'a>,
    pub(in crate::fused) blocks: [Block; ROWS],
    format: PhantomData<F>,
}

impl<'a, F: Packed> Stored<'a, F> {
    pub(in crate::fused) fn new(s: Vnni, job: &'a Job<'a>) -> Self {
        Stored { s, job, blocks: [const { Block::ZERO }; ROWS], format: PhantomData }
    }
}

/// Rows side by side: the tiles of the job, or made on the way.
pub(in crate::fused) struct Side<'a, F> {
    job: &'a Job<'a>,
    /// A tile that was made on the way.
    made: [Line; MOST_LINES],
    repeated: Repeated,
    format: PhantomData<F>,
}

/// Lines of the largest tile.
const MOST_LINES: usize = 53;

impl<'a, F: Lanes> Side<'a, F> {
    pub(in crate::fused) fn new(_: Vnni, job: &'a Job<'a>) -> Self {
        const { assert!(F::LINES <= MOST_LINES) };
        Side { job, made: [Line::ZERO; MOST_LINES], repeated: Repeated::ZERO, format: PhantomData }
    }

    /// Block `b` of the sixteen rows from `first`, and what is read for the next.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(in crate::fused) fn tile(&mut self, first: usize, b: usize) -> (*const Line, Ahead) {
        let weight = self.job.weight;
        if let Some(tiles) = self.job.tiles {
            let (tile, from) = tiles.tile(F::LINES, first / ROWS, b);
            return (tile.as_ptr(), Ahead { from, lines: F::LINES });
        }
        // Sixteen rows are one stretch of memory, met across: the next stretch is fetched in its own order.
        let next = weight.bytes().as_ptr().wrapping_add((first + ROWS) * weight.row_bytes() + b * ROWS * F::BYTES);
        fetch(Cache::First, next, ROWS * F::BYTES);
        let rows = self.repeated.blocks::<F>(weight, first, b);
        // SAFETY: this function's features; sixteen blocks are there, and `made` has at least `LINES`.
        unsafe { F::pack(rows, self.made.as_mut_ptr()) };
        (self.made.as_ptr(), Ahead::NONE)
    }
}
