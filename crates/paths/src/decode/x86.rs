//! The two formats of a Q4_K_M file with AVX-512, with the bits of their portable twins: into memory, or straight into a
//! dot product.

use std::arch::x86_64::*;

use crate::simd::dot::Lanes;
use crate::simd::fetch::{Cache, fetch};

/// How one format is decoded.
pub(super) trait Blocks {
    /// Bytes of a block of 256 values.
    const BYTES: usize;

    /// What the groups' scales make of the codes, 16 floats.
    ///
    /// # Safety
    /// AVX-512 F and F16C; a block at `block`.
    unsafe fn groups(block: *const u8) -> [f32; 16];

    /// Gives values `64 part ..` of a block to `to`, sixteen after sixteen, in their order: that of a dot's additions.
    ///
    /// # Safety
    /// AVX-512 F and BW; a block at `block`, whose groups these are; `part` below 4.
    unsafe fn part(block: *const u8, groups: &[f32; 16], part: usize, to: &mut impl Sink);
}

/// What sixteen values are made for.
pub(super) trait Sink {
    /// Takes the values from value `at` of the block.
    ///
    /// # Safety
    /// AVX-512 F; `at` is a multiple of 16 below 256.
    unsafe fn take(&mut self, at: usize, values: __m512);
}

/// Places of a block.
struct Places(*mut f32);

impl Sink for Places {
    #[inline(always)]
    unsafe fn take(&mut self, at: usize, values: __m512) {
        // SAFETY: the caller's; there are 256 places.
        unsafe { _mm512_storeu_ps(self.0.add(at), values) }
    }
}

/// A dot with 256 floats.
struct Dot {
    with: *const f32,
    sums: __m512,
}

impl Sink for Dot {
    #[inline(always)]
    unsafe fn take(&mut self, at: usize, values: __m512) {
        // SAFETY: the caller's; there are 256 floats.
        self.sums = unsafe { _mm512_fmadd_ps(values, _mm512_loadu_ps(self.with.add(at)), self.sums) };
    }
}

/// Decodes blocks into `out`, 256 places each.
#[target_feature(enable = "avx512f,avx512bw,f16c")]
pub(super) fn decode<F: Blocks>(blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.chunks_exact(F::BYTES).zip(out.as_chunks_mut::<256>().0) {
        // SAFETY: this function's features; a block, and 256 places.
        unsafe {
            let (block, mut places) = (block.as_ptr(), Places(out.as_mut_ptr()));
            let groups = F::groups(block);
            for part in 0..4 {
                F::part(block, &groups, part, &mut places);
            }
        }
    }
}

/// Rows that meet `x` block by block in turns: a dot waits for its sums, so that several must be on their way.
const ROWS: usize = 4;

/// The partial sums of each row of `rows` with `x`, in the order of [`dot`](crate::simd::dot).
///
/// # Panics
/// When rows are no blocks for `x`, or there are not as many as sums.
#[target_feature(enable = "avx512f,avx512bw,f16c")]
pub(super) fn dots<F: Blocks>(rows: &[u8], x: &[f32], sums: &mut [Lanes]) {
    let apart = x.len() / 256 * F::BYTES;
    assert!(x.len().is_multiple_of(256) && rows.len() == sums.len() * apart, "as many rows as sums");
    let (four, rest) = sums.as_chunks_mut::<ROWS>();
    for (i, sums) in four.iter_mut().enumerate() {
        // SAFETY: this function's features; so many rows.
        unsafe { of_rows::<F, ROWS>(rows[i * ROWS * apart..].as_ptr(), apart, x, sums) };
    }
    for (i, sums) in rest.iter_mut().enumerate() {
        // SAFETY: as above.
        unsafe {
            of_rows::<F, 1>(rows[(four.len() * ROWS + i) * apart..].as_ptr(), apart, x, std::array::from_mut(sums))
        };
    }
}

/// Those of `R` rows, while the next ones are fetched.
///
/// # Safety
/// AVX-512 F and BW and F16C; `R` rows of blocks for `x` at `rows`, `apart` bytes after each other.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,f16c")]
unsafe fn of_rows<F: Blocks, const R: usize>(rows: *const u8, apart: usize, x: &[f32], sums: &mut [Lanes; R]) {
    let mut all = [_mm512_setzero_ps(); R];
    for (b, x) in x.as_chunks::<256>().0.iter().enumerate() {
        let blocks: [_; R] = std::array::from_fn(|r| rows.wrapping_add(r * apart + b * F::BYTES));
        let mut groups = [[0.0; 16]; R];
        for (block, groups) in blocks.iter().zip(&mut groups) {
            fetch(Cache::First, block.wrapping_add(ROWS * apart), F::BYTES);
            // SAFETY: the caller's.
            *groups = unsafe { F::groups(*block) };
        }
        for part in 0..4 {
            for r in 0..R {
                let mut dot = Dot { with: x.as_ptr(), sums: all[r] };
                // SAFETY: the caller's; 256 floats.
                unsafe { F::part(blocks[r], &groups[r], part, &mut dot) };
                all[r] = dot.sums;
            }
        }
    }
    for (sums, all) in sums.iter_mut().zip(all) {
        // SAFETY: sixteen floats.
        unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), all) };
    }
}

/// Q4_K. Each group of 32 has sixteen values: they are computed once and looked up. Scale times code is exact, so one
/// rounding is left, that of the subtraction.
pub(super) struct Q4K;

impl Blocks for Q4K {
    const BYTES: usize = 144;

    #[inline(always)]
    unsafe fn groups(block: *const u8) -> [f32; 16] {
        // SAFETY: the caller's; 144 bytes.
        unsafe { scales_mins(&*block.cast()) }
    }

    #[inline(always)]
    unsafe fn part(block: *const u8, groups: &[f32; 16], part: usize, to: &mut impl Sink) {
        // SAFETY: the caller's; floats of `groups`; 32 of the 128 bytes of codes.
        unsafe {
            let codes =
                _mm512_set_ps(15.0, 14.0, 13.0, 12.0, 11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0);
            let (j, k) = (2 * part, 2 * part + 1);
            let low = _mm512_fmsub_ps(codes, spread(&groups[j]), spread(&groups[8 + j]));
            let high = _mm512_fmsub_ps(codes, spread(&groups[k]), spread(&groups[8 + k]));
            let bytes = block.add(16 + 32 * part);
            let q = [widened(bytes), widened(bytes.add(16))];
            // Of an index the low four bits count.
            to.take(64 * part, _mm512_permutexvar_ps(q[0], low));
            to.take(64 * part + 16, _mm512_permutexvar_ps(q[1], low));
            to.take(64 * part + 32, _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(q[0]), high));
            to.take(64 * part + 48, _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(q[1]), high));
        }
    }
}

/// Q6_K.
pub(super) struct Q6K;

impl Blocks for Q6K {
    const BYTES: usize = 210;

    #[inline(always)]
    unsafe fn groups(block: *const u8) -> [f32; 16] {
        // SAFETY: the caller's; 210 bytes.
        unsafe { scales(&*block.cast()) }
    }

    #[inline(always)]
    unsafe fn part(block: *const u8, groups: &[f32; 16], part: usize, to: &mut impl Sink) {
        // SAFETY: the caller's; 210 bytes; 16 of the 64 codes, and a float of `groups`.
        unsafe {
            let codes = codes(&*block.cast(), part);
            for group in 0..4 {
                let q = _mm512_cvtepi8_epi32(_mm_loadu_si128(codes.as_ptr().add(16 * group).cast()));
                let values = _mm512_mul_ps(_mm512_cvtepi32_ps(q), spread(&groups[4 * part + group]));
                to.take(64 * part + 16 * group, values);
            }
        }
    }
}

/// Sixteen codes widened to 32 bits.
///
/// # Safety
/// `from` points to 16 bytes.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn widened(from: *const u8) -> __m512i {
    // SAFETY: the caller's.
    _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(from.cast()) })
}

/// `x` in every lane, by the load that spreads it: LLVM would rather load several and shuffle each into place twice, and
/// shuffling is what all the rest does.
///
/// # Safety
/// `x` points to a float.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn spread(x: *const f32) -> __m512 {
    let v;
    // SAFETY: the caller's; the instruction is one of AVX-512 F and changes nothing but its register.
    unsafe {
        std::arch::asm!(
            "vbroadcastss {v}, dword ptr [{x}]",
            v = lateout(zmm_reg) v, x = in(reg) x, options(pure, readonly, nostack, preserves_flags)
        );
    }
    v
}

/// The eight scales, then the eight minimums.
#[inline]
#[target_feature(enable = "avx512f,f16c")]
fn scales_mins(block: &[u8; 144]) -> [f32; 16] {
    let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let (a, b, c) = (word(4), word(8), word(12));
    let high = |of: u32| of >> 2 & 0x3030_3030;
    let both = |low: u32, high: u32| i64::from(low) | i64::from(high) << 32;
    let scales = both(a & 0x3f3f_3f3f, c & 0x0f0f_0f0f | high(a));
    let mins = both(b & 0x3f3f_3f3f, c >> 4 & 0x0f0f_0f0f | high(b));
    let units = _mm512_mask_blend_ps(0xff00, unit(block, 0), unit(block, 2));
    let mut groups = [0.0; 16];
    let steps = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_set_epi64x(mins, scales)));
    // SAFETY: sixteen floats.
    unsafe { _mm512_storeu_ps(groups.as_mut_ptr(), _mm512_mul_ps(steps, units)) };
    groups
}

/// An f16 at a byte offset, in every lane.
#[inline]
#[target_feature(enable = "avx512f,f16c")]
fn unit(block: &[u8], at: usize) -> __m512 {
    _mm512_cvtph_ps(_mm256_set1_epi16(i16::from_le_bytes([block[at], block[at + 1]])))
}

/// The sixteen scales.
#[inline]
#[target_feature(enable = "avx512f,f16c")]
fn scales(block: &[u8; 210]) -> [f32; 16] {
    let mut scales = [0.0; 16];
    // SAFETY: sixteen bytes, and sixteen floats.
    unsafe {
        let steps = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(block.as_ptr().add(192).cast())));
        _mm512_storeu_ps(scales.as_mut_ptr(), _mm512_mul_ps(steps, unit(block, 208)));
    }
    scales
}

/// The codes of values `64 part ..`, less 32, in the order of their values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn codes(block: &[u8; 210], part: usize) -> [i8; 64] {
    let (half, odd) = (part / 2, (part % 2) as i64);
    // SAFETY: 64 bytes of low bits, 32 of high bits.
    let (low, high) = unsafe {
        let high = _mm256_loadu_si256(block.as_ptr().add(128 + 32 * half).cast());
        (_mm512_loadu_si512(block.as_ptr().add(64 * half).cast()), _mm512_broadcast_i64x4(high))
    };
    // The second 64 values have the upper nibbles. Plane `j` of 32 values has its high bits at bit `2 j` of these bytes; they
    // belong at bit 4.
    let low = _mm512_srlv_epi64(low, _mm512_set1_epi64(4 * odd));
    let (first, second) = (4 - 4 * odd, (2 - 4 * odd).rem_euclid(64));
    let turn = _mm512_set_epi64(second, second, second, second, first, first, first, first);
    let high = _mm512_and_si512(_mm512_rolv_epi64(high, turn), _mm512_set1_epi8(0x30));
    // high | low & 15
    let both = _mm512_ternarylogic_epi64::<0xf8>(high, low, _mm512_set1_epi8(15));
    let mut codes = [0; 64];
    // SAFETY: 64 bytes.
    unsafe { _mm512_storeu_si512(codes.as_mut_ptr().cast(), _mm512_sub_epi8(both, _mm512_set1_epi8(32))) };
    codes
}
