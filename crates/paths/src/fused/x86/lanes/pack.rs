//! Rows as stored to tiles.

use std::arch::x86_64::*;

use twinpath_formats::Matrix;

use super::{Lanes, ROWS, Vnni};
use crate::lines::Line;

/// Blocks at equal distances: a pointer for each row would not fit into registers.
#[derive(Clone, Copy)]
pub(in crate::fused) struct Strided {
    first: *const u8,
    apart: usize,
}

impl Strided {
    /// Byte `at` of the block of row `r`.
    #[inline(always)]
    fn of(self, r: usize, at: usize) -> *const u8 {
        self.first.wrapping_add(r * self.apart + at)
    }
}

/// Blocks of fewer than sixteen rows, the last of them repeated.
pub(super) struct Repeated([u8; ROWS * MOST_BYTES]);

/// Bytes of the largest block.
const MOST_BYTES: usize = 210;

impl Repeated {
    pub(super) const ZERO: Repeated = Repeated([0; ROWS * MOST_BYTES]);

    /// Block `b` of the rows from `first`.
    pub(super) fn blocks<F: Lanes>(&mut self, weight: Matrix<'_>, first: usize, b: usize) -> Strided {
        const { assert!(F::BYTES <= MOST_BYTES) };
        if first + ROWS <= weight.rows() {
            return Strided { first: weight.row(first)[b * F::BYTES..].as_ptr(), apart: weight.row_bytes() };
        }
        for (r, to) in self.0.chunks_exact_mut(F::BYTES).take(ROWS).enumerate() {
            let row = weight.row((first + r).min(weight.rows() - 1));
            to.copy_from_slice(&row[b * F::BYTES..(b + 1) * F::BYTES]);
        }
        Strided { first: self.0.as_ptr(), apart: F::BYTES }
    }
}

/// Makes the tiles of a group of strips, of the rows from `first`; where there are fewer, the last is repeated.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn pack<F: Lanes>(_: Vnni, weight: Matrix<'_>, first: usize, tiles: &mut [Line]) {
    let mut repeated = Repeated::ZERO;
    let strips = tiles.len() / F::LINES / (weight.cols() / 256).max(1);
    for (i, tile) in tiles.chunks_exact_mut(F::LINES).enumerate() {
        let rows = repeated.blocks::<F>(weight, first + i % strips * ROWS, i / strips);
        // SAFETY: this function's features; sixteen blocks are there, and `tile` has `LINES`.
        unsafe { F::pack(rows, tile.as_mut_ptr()) };
    }
}

/// Four successive words of each row, at byte `at`.
///
/// # Safety
/// AVX-512 F; 16 readable bytes at `at` of each row.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn four_words(rows: Strided, at: usize) -> [__m512i; 4] {
    let mut v = [_mm512_setzero_si512(); 4];
    for (k, v) in v.iter_mut().enumerate() {
        // SAFETY: the caller's.
        unsafe {
            // Lane `i` of 128 bits is of row `4 i + k`.
            let first = _mm_loadu_si128(rows.of(k, at).cast());
            let second = _mm_loadu_si128(rows.of(4 + k, at).cast());
            let third = _mm_loadu_si128(rows.of(8 + k, at).cast());
            let fourth = _mm_loadu_si128(rows.of(12 + k, at).cast());
            let two = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(first), second);
            *v = _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(two, third), fourth);
        }
    }
    let (a, b) = (_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    let (c, d) = (_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    [_mm512_unpacklo_epi64(a, c), _mm512_unpackhi_epi64(a, c), _mm512_unpacklo_epi64(b, d), _mm512_unpackhi_epi64(b, d)]
}

/// Writes a line.
///
/// # Safety
/// AVX-512 F; a line at `tile + i`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn put(tile: *mut Line, i: usize, v: __m512i) {
    // SAFETY: the caller's.
    unsafe { _mm512_store_si512(tile.add(i).cast(), v) }
}

/// Puts `4 N` successive words of each row, from byte `from` on, in lines `to ..`.
///
/// # Safety
/// AVX-512 F; so many bytes and lines.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn put_words<const N: usize>(rows: Strided, from: usize, tile: *mut Line, to: usize) {
    for i in 0..N {
        // SAFETY: the caller's.
        unsafe {
            let words = four_words(rows, from + 16 * i);
            for (k, word) in words.into_iter().enumerate() {
                put(tile, to + 4 * i + k, word);
            }
        }
    }
}
