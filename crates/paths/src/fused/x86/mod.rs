//! [`Bytes`] in AVX2, alone and with AVX-512's VNNI.
//!
//! A value of either type is made only where an [`Isa`] of its level exists. Their functions are inlined into a caller that
//! is compiled for that level.

pub(in crate::fused) mod amx;
pub(in crate::fused) mod lanes;
mod products;
mod split;
pub(in crate::fused) mod wide;

use std::arch::x86_64::*;

use self::products::{eight, join, load_i8, minimums, narrow, scales_of_64, sum_each, weigh, wide};
use self::split::{add_rows, sum_pairs, write_parts};
use super::bytes::{Bytes, Eight, Terms};
use super::split::{Activations, EightRows, EightSums, Parts};
use super::{Block, Packed, array, by_32};
use crate::simd::{Isa, Level};

/// AVX2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

/// AVX2 with the 256-bit VNNI of AVX-512VL: Zen 4 does as many products per cycle in 256 bits as in 512, and 32 bytes are
/// what every format is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vnni(Avx2);

impl Avx2 {
    /// If `isa` has it.
    pub(super) fn new(isa: Isa) -> Option<Self> {
        (isa.level() >= Level::Avx2).then_some(Avx2(()))
    }
}

impl Vnni {
    /// If `isa` has it.
    pub(super) fn new(isa: Isa) -> Option<Self> {
        (isa.level() >= Level::Avx512Vnni).then_some(Vnni(Avx2(())))
    }
}

impl Bytes for Avx2 {
    type V = __m256i;

    #[inline(always)]
    fn load(self, from: &[u8; 32]) -> __m256i {
        // SAFETY: 32 readable bytes; `self` proves AVX2.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn nibbles(self, from: &[u8; 16]) -> __m256i {
        // SAFETY: 16 readable bytes; `self` proves AVX2.
        unsafe {
            let v = _mm_loadu_si128(from.as_ptr().cast());
            let v = _mm256_set_m128i(_mm_srli_epi16::<4>(v), v);
            _mm256_and_si256(v, _mm256_set1_epi8(15))
        }
    }
    #[inline(always)]
    fn store(self, v: __m256i, to: &mut [u8; 32]) {
        // SAFETY: 32 writable bytes; `self` proves AVX2.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) }
    }
    #[inline(always)]
    fn bits<const N: i32>(self, v: __m256i, mask: u8) -> __m256i {
        // The shift of 16-bit lanes brings bits of the upper byte into the lower: the mask must exclude them.
        debug_assert!(u32::from(mask) <= 0xff >> N);
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_and_si256(_mm256_srli_epi16::<N>(v), _mm256_set1_epi8(mask.cast_signed())) }
    }
    #[inline(always)]
    fn or_shifted<const N: i32>(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_or_si256(a, _mm256_slli_epi16::<N>(b)) }
    }
    #[inline(always)]
    fn flip(self, v: __m256i, mask: u8) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_xor_si256(v, _mm256_set1_epi8(mask.cast_signed())) }
    }
    #[inline(always)]
    fn or_where(self, a: __m256i, set: u32, byte: u8) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe {
            // Byte i gets byte i / 8 of `set` (a shuffle stays inside 16 bytes, and `set` is in all of them).
            let of = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
            let spread = _mm256_shuffle_epi8(_mm256_set1_epi32(set.cast_signed()), of);
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201u64.cast_signed());
            let chosen = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
            _mm256_or_si256(a, _mm256_and_si256(chosen, _mm256_set1_epi8(byte.cast_signed())))
        }
    }
    #[inline(always)]
    fn lookup(self, table: &[u8; 16], v: __m256i) -> __m256i {
        // SAFETY: 16 readable bytes; `self` proves AVX2.
        unsafe { _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())), v) }
    }
    #[inline(always)]
    fn widen(self, bytes: [u64; 2], minus: i16, times: i16, to: &mut [i16; 16]) {
        // SAFETY: 32 writable bytes; `self` proves AVX2.
        unsafe {
            let v = _mm256_cvtepi8_epi16(_mm_set_epi64x(bytes[1].cast_signed(), bytes[0].cast_signed()));
            let v = _mm256_mullo_epi16(_mm256_sub_epi16(v, _mm256_set1_epi16(minus)), _mm256_set1_epi16(times));
            _mm256_storeu_si256(to.as_mut_ptr().cast(), v);
        }
    }
    #[inline(always)]
    fn half(self, bits: u16) -> f32 {
        // SAFETY: `self` proves F16C.
        unsafe { _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits)))) }
    }
    #[inline(always)]
    fn integers<F: Packed>(self, block: &Block, q: &[i8], sums: &[i16]) -> (i32, i32) {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let mut p = _mm256_setzero_si256();
            for i in 0..F::SHAPE.block / 32 {
                let c = self.load(array(&block.codes, 32 * i));
                let q = load_i8(q, 32 * i);
                p = _mm256_add_epi32(p, weigh::<F>(block, i, c, q));
            }
            join::<F>(p, minimums::<F>(block, sums))
        }
    }
    #[inline(always)]
    fn eight<F: Packed>(self, blocks: &[u8], activations: &Eight<'_>, terms: &mut Terms) {
        // SAFETY: `self` proves AVX2 and F16C.
        unsafe { eight::<F, _>(self, blocks, activations, terms) }
    }
    #[inline(always)]
    fn parts<F: Packed>(self, block: &Block, q: &[i8; 256], sums: &[i16], parts: &mut Parts) {
        let mut p = [self.load(&[0; 32]); 8];
        // SAFETY: `self` proves AVX2.
        unsafe {
            for (i, p) in p.iter_mut().enumerate() {
                let (c, q) = (self.load(array(&block.codes, 32 * i)), load_i8(q, 32 * i));
                *p = if by_32::<F>() { self.products::<F>(c, q) } else { weigh::<F>(block, i, c, q) };
            }
            write_parts::<F>(sum_each(p), block, sums, parts);
        }
    }
    #[inline(always)]
    fn add_rows<F: Packed>(self, rows: &EightRows, x: Activations<'_>, sums: &mut EightSums) {
        // SAFETY: `self` proves AVX2 and FMA.
        unsafe { add_rows::<F>(rows, x, sums) }
    }
}

/// The product of the codes of one 32-wide block.
trait Products: Bytes<V = __m256i> {
    /// Σ c q in eight partial sums.
    fn products<F: Packed>(self, c: __m256i, q: __m256i) -> __m256i;
}

impl Products for Avx2 {
    #[inline(always)]
    fn products<F: Packed>(self, c: __m256i, q: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { if F::TOP <= 127 { narrow(c, q, _mm256_set1_epi16(1)) } else { wide(c, q) } }
    }
}

impl Products for Vnni {
    #[inline(always)]
    fn products<F: Packed>(self, c: __m256i, q: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX-512VL and VNNI.
        unsafe { _mm256_dpbusd_epi32(_mm256_setzero_si256(), c, q) }
    }
}

impl Bytes for Vnni {
    type V = __m256i;

    #[inline(always)]
    fn load(self, from: &[u8; 32]) -> __m256i {
        self.0.load(from)
    }
    #[inline(always)]
    fn nibbles(self, from: &[u8; 16]) -> __m256i {
        self.0.nibbles(from)
    }
    #[inline(always)]
    fn store(self, v: __m256i, to: &mut [u8; 32]) {
        self.0.store(v, to);
    }
    #[inline(always)]
    fn bits<const N: i32>(self, v: __m256i, mask: u8) -> __m256i {
        self.0.bits::<N>(v, mask)
    }
    #[inline(always)]
    fn or_shifted<const N: i32>(self, a: __m256i, b: __m256i) -> __m256i {
        self.0.or_shifted::<N>(a, b)
    }
    #[inline(always)]
    fn flip(self, v: __m256i, mask: u8) -> __m256i {
        self.0.flip(v, mask)
    }
    #[inline(always)]
    fn or_where(self, a: __m256i, set: u32, byte: u8) -> __m256i {
        self.0.or_where(a, set, byte)
    }
    #[inline(always)]
    fn lookup(self, table: &[u8; 16], v: __m256i) -> __m256i {
        self.0.lookup(table, v)
    }
    #[inline(always)]
    fn widen(self, bytes: [u64; 2], minus: i16, times: i16, to: &mut [i16; 16]) {
        self.0.widen(bytes, minus, times, to);
    }
    #[inline(always)]
    fn half(self, bits: u16) -> f32 {
        self.0.half(bits)
    }
    #[inline(always)]
    fn integers<F: Packed>(self, block: &Block, q: &[i8], sums: &[i16]) -> (i32, i32) {
        // SAFETY: `self` proves AVX2, AVX-512VL and VNNI.
        unsafe {
            let dot = |i: usize| {
                let c = self.load(array(&block.codes, 32 * i));
                _mm256_dpbusd_epi32(_mm256_setzero_si256(), c, load_i8(q, 32 * i))
            };
            let mut p = _mm256_setzero_si256();
            if F::SHAPE.block == 32 {
                p = dot(0);
            } else if F::TOP <= 64 {
                for j in 0..4 {
                    // Four products are at most 4 * 64 * 127 = 32512: packing to 16 bits does not saturate.
                    let pair = _mm256_packs_epi32(dot(2 * j), dot(2 * j + 1));
                    p = _mm256_dpwssd_epi32(p, pair, scales_of_64::<F>(block, j));
                }
            } else {
                for i in 0..8 {
                    let scale = _mm256_set1_epi32(i32::from(block.scales[i]));
                    p = _mm256_add_epi32(p, _mm256_mullo_epi32(dot(i), scale));
                }
            }
            join::<F>(p, minimums::<F>(block, sums))
        }
    }
    #[inline(always)]
    fn eight<F: Packed>(self, blocks: &[u8], activations: &Eight<'_>, terms: &mut Terms) {
        // SAFETY: `self` proves AVX2 and F16C.
        unsafe { eight::<F, _>(self, blocks, activations, terms) }
    }
    #[inline(always)]
    fn parts<F: Packed>(self, block: &Block, q: &[i8; 256], sums: &[i16], parts: &mut Parts) {
        // SAFETY: `self` proves AVX2, AVX-512VL and VNNI.
        unsafe {
            let dot = |i: usize| {
                let c = self.load(array(&block.codes, 32 * i));
                _mm256_dpbusd_epi32(_mm256_setzero_si256(), c, load_i8(q, 32 * i))
            };
            let p = if F::TOP <= 64 {
                // As in `integers`; here the four sums of two 32s are kept apart.
                let pair = |j: usize| {
                    let pair = _mm256_packs_epi32(dot(2 * j), dot(2 * j + 1));
                    let scales = if by_32::<F>() { _mm256_set1_epi16(1) } else { scales_of_64::<F>(block, j) };
                    _mm256_madd_epi16(pair, scales)
                };
                sum_pairs([pair(0), pair(1), pair(2), pair(3)])
            } else {
                const { assert!(by_32::<F>() || F::SHAPE.block == 32 || F::TOP <= 64) };
                sum_each([dot(0), dot(1), dot(2), dot(3), dot(4), dot(5), dot(6), dot(7)])
            };
            write_parts::<F>(p, block, sums, parts);
        }
    }
    #[inline(always)]
    fn add_rows<F: Packed>(self, rows: &EightRows, x: Activations<'_>, sums: &mut EightSums) {
        self.0.add_rows::<F>(rows, x, sums);
    }
}
