//! The few operations that unpacking and multiplying blocks need, on each instruction set.
//!
//! A format is unpacked by one generic function; its instances differ only in what carries 32 bytes.

use std::ops::Range;

use super::split::{self, EightRows, EightSums, Parts};
use super::{Block, Form, Packed, by_32, offset_log};

/// Carries out operations with instructions that the processor has: a value of this type is the proof.
pub(crate) trait Bytes: Copy {
    /// 32 bytes.
    type V: Copy;

    /// Reads 32 bytes.
    fn load(self, from: &[u8; 32]) -> Self::V;
    /// The low nibbles of 16 bytes, then their high nibbles.
    fn nibbles(self, from: &[u8; 16]) -> Self::V;
    /// Writes 32 bytes.
    fn store(self, v: Self::V, to: &mut [u8; 32]);
    /// `v >> N & mask` in each byte.
    fn bits<const N: i32>(self, v: Self::V, mask: u8) -> Self::V;
    /// `a | b << N`, for `b` whose bytes keep below 8 bits when shifted.
    fn or_shifted<const N: i32>(self, a: Self::V, b: Self::V) -> Self::V;
    /// `v ^ mask` in each byte.
    fn flip(self, v: Self::V, mask: u8) -> Self::V;
    /// `a | byte` in those bytes `i` for which bit `i` of `set` is 1.
    fn or_where(self, a: Self::V, set: u32, byte: u8) -> Self::V;
    /// `table[v]` in each byte, for bytes below 16.
    fn lookup(self, table: &[u8; 16], v: Self::V) -> Self::V;
    /// `(byte - minus) * times` of 16 i8, packed little-endian, to i16. (In registers throughout: a vector load of what
    /// single bytes have just been stored to waits for all of them.)
    fn widen(self, bytes: [u64; 2], minus: i16, times: i16, to: &mut [i16; 16]);
    /// An f16, widened exactly.
    fn half(self, bits: u16) -> f32;
    /// The exact `(p, m)` of one block of `F`.
    fn integers<F: Packed>(self, block: &Block, q: &[i8], sums: &[i16]) -> (i32, i32);
    /// What eight blocks of 32 add to a sum.
    fn eight<F: Packed>(self, blocks: &[u8], activations: &Eight<'_>, terms: &mut Terms);
    /// The exact integers of each 32 values of a 256-wide block of `F`; see [`Parts`].
    fn parts<F: Packed>(self, block: &Block, q: &[i8; 256], sums: &[i16], parts: &mut Parts);
    /// Adds one block of eight rows to their sums, 32 values after 32.
    fn add_rows<F: Packed>(self, rows: &EightRows, x: split::Activations<'_>, sums: &mut EightSums);
}

/// The coded activations of eight blocks of 32.
pub(crate) struct Eight<'a> {
    pub(super) q: &'a [i8; 256],
    pub(super) sums: &'a [i16; 16],
    pub(super) d: &'a [f32; 8],
}

/// Factors and integers of eight blocks: block `i` adds `scales[i] * integers[i]`, by one fused multiply-add.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Terms {
    pub(super) scales: [f32; 8],
    pub(super) integers: [f32; 8],
    /// The same for the minimums; zeros in an offset format.
    pub(super) min_scales: [f32; 8],
    pub(super) min_integers: [f32; 8],
}

impl Terms {
    pub(super) const ZERO: Terms =
        Terms { scales: [0.0; 8], integers: [0.0; 8], min_scales: [0.0; 8], min_integers: [0.0; 8] };
}

/// Code for every processor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

impl Bytes for Portable {
    type V = [u8; 32];

    #[inline(always)]
    fn load(self, from: &[u8; 32]) -> [u8; 32] {
        *from
    }
    #[inline(always)]
    fn nibbles(self, from: &[u8; 16]) -> [u8; 32] {
        std::array::from_fn(|i| from[i % 16] >> (4 * (i / 16)) & 15)
    }
    #[inline(always)]
    fn store(self, v: [u8; 32], to: &mut [u8; 32]) {
        *to = v;
    }
    #[inline(always)]
    fn bits<const N: i32>(self, v: [u8; 32], mask: u8) -> [u8; 32] {
        v.map(|v| v >> N & mask)
    }
    #[inline(always)]
    fn or_shifted<const N: i32>(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        std::array::from_fn(|i| a[i] | b[i] << N)
    }
    #[inline(always)]
    fn flip(self, v: [u8; 32], mask: u8) -> [u8; 32] {
        v.map(|v| v ^ mask)
    }
    #[inline(always)]
    fn or_where(self, a: [u8; 32], set: u32, byte: u8) -> [u8; 32] {
        std::array::from_fn(|i| a[i] | (byte * (set >> i & 1) as u8))
    }
    #[inline(always)]
    fn lookup(self, table: &[u8; 16], v: [u8; 32]) -> [u8; 32] {
        v.map(|v| table[usize::from(v)])
    }
    #[inline(always)]
    fn widen(self, bytes: [u64; 2], minus: i16, times: i16, to: &mut [i16; 16]) {
        for (i, to) in to.iter_mut().enumerate() {
            let byte = bytes[i / 8].to_le_bytes()[i % 8].cast_signed();
            *to = (i16::from(byte).wrapping_sub(minus)).wrapping_mul(times);
        }
    }
    /// The exponent and fraction, moved into an f32's place, are the value times 2^-112 (subnormals included); infinity and
    /// NaN keep their all-ones exponent.
    #[inline(always)]
    fn half(self, bits: u16) -> f32 {
        let magnitude = (u32::from(bits) & 0x7fff) << 13;
        let finite = (f32::from_bits(magnitude) * f32::from_bits(0x7780_0000)).to_bits();
        let magnitude = if magnitude >= 0x0f80_0000 { magnitude | 0x7f80_0000 } else { finite };
        f32::from_bits(magnitude | (u32::from(bits) & 0x8000) << 16)
    }
    #[inline(always)]
    fn integers<F: Packed>(self, block: &Block, q: &[i8], sums: &[i16]) -> (i32, i32) {
        integers_of_groups::<F>(block, q, sums, 0..F::SHAPE.block / F::SHAPE.group)
    }
    #[inline(always)]
    fn eight<F: Packed>(self, blocks: &[u8], activations: &Eight<'_>, terms: &mut Terms) {
        let mut block = Block::ZERO;
        for (i, bytes) in blocks.chunks_exact(F::BYTES).enumerate() {
            F::unpack(self, bytes, &mut block);
            let (d, dm) = F::factors(self, bytes);
            let (p, m) = self.integers::<F>(&block, &activations.q[32 * i..], &activations.sums[2 * i..]);
            let a = activations.d[i];
            if F::FORM == Form::Offset {
                (terms.scales[i], terms.integers[i]) = (d * a, p.wrapping_sub(m) as f32);
            } else {
                (terms.scales[i], terms.integers[i]) = (d * a, p as f32);
                (terms.min_scales[i], terms.min_integers[i]) = (dm * a, m as f32);
            }
        }
    }
    #[inline(always)]
    fn parts<F: Packed>(self, block: &Block, q: &[i8; 256], sums: &[i16], parts: &mut Parts) {
        let groups = 32 / F::SHAPE.group;
        for j in 0..8 {
            if by_32::<F>() {
                let offset = if F::FORM == Form::Offset { i32::from(sums[j]) << offset_log::<F>() } else { 0 };
                parts.set_small(block, j);
                parts.p[j] = dot(&block.codes[32 * j..32 * j + 32], &q[32 * j..]).wrapping_sub(offset) as f32;
                continue;
            }
            let (p, m) = integers_of_groups::<F>(block, q, sums, j * groups..(j + 1) * groups);
            if F::FORM == Form::Offset {
                parts.p[j] = p.wrapping_sub(m) as f32;
            } else {
                (parts.p[j], parts.beside[j]) = (p as f32, (m as f32).to_bits());
            }
        }
    }
    #[inline(always)]
    fn add_rows<F: Packed>(self, rows: &EightRows, x: split::Activations<'_>, sums: &mut EightSums) {
        for r in 0..8 {
            let mut both = [sums.acc[r], sums.accm[r]];
            split::step::<F>(&mut both, (rows.d[r], rows.dm[r]), x, &rows.parts[r]);
            [sums.acc[r], sums.accm[r]] = both;
        }
    }
}

/// The exact `(p, m)` of some groups of a block. Wrapping operations, because none can overflow (see the module above) and
/// checks would keep the loops from being vectorised.
#[inline(always)]
fn integers_of_groups<F: Packed>(block: &Block, q: &[i8], sums: &[i16], groups: Range<usize>) -> (i32, i32) {
    let (mut p, mut m) = (0i32, 0i32);
    for g in groups {
        let of = g * F::SHAPE.group..(g + 1) * F::SHAPE.group;
        let dot = dot(&block.codes[of.clone()], &q[of]);
        p = p.wrapping_add(dot.wrapping_mul(i32::from(block.scales[g])));
        m = m.wrapping_add(i32::from(sums[g]).wrapping_mul(i32::from(block.mins[g])));
    }
    (p, m)
}

/// `Σ c q`.
#[inline(always)]
fn dot(c: &[u8], q: &[i8]) -> i32 {
    // |c q| <= 255 * 127 fits an i16: a narrow product, which vectorises well.
    let product = |(c, q): (&u8, &i8)| i32::from(i16::from(*c).wrapping_mul(i16::from(*q)));
    c.iter().zip(q).map(product).fold(0, i32::wrapping_add)
}
