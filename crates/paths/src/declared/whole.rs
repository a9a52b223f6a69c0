//! Weights as whole numbers: `w = d · integer + minimum`, 256 columns at a time, where `integer` is scale times code, both
//! of one byte.
//!
//! Read from the layouts of ggml's `ggml-common.h` in loops that LLVM vectorises, apart from the decoders of the paths and
//! of `formats`; [`anatomy`] reads the same bytes the plain way, and a test compares both.

use twinpath_formats::TensorType;

use super::anatomy::{self, IQ4};

/// Columns that are read together: a K block, or eight blocks of 32.
pub(super) const CHUNK: usize = 256;

/// The integers of one row in 256 columns: each is its scale times its code.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Integers {
    pub(super) codes: [i8; CHUNK],
    /// Of each 16 columns; of a legacy block 1.
    pub(super) scales: [i8; 16],
}

impl Integers {
    pub(super) const ZERO: Integers = Integers { codes: [0; CHUNK], scales: [0; 16] };

    /// The integer in column `i`.
    #[inline(always)]
    pub(super) fn at(&self, i: usize) -> i16 {
        i16::from(self.codes[i]).wrapping_mul(i16::from(self.scales[i / 16]))
    }
}

/// What they count.
#[derive(Clone, Copy)]
pub(super) struct Scales {
    /// The scale of each 32 columns.
    pub(super) d: [f64; 8],
    /// The minimum of 16 columns is this, of their 32, times their step.
    pub(super) dmin: [f64; 8],
    /// Of each 16 columns; of a legacy block 1.
    pub(super) steps: [i8; 16],
}

impl Scales {
    pub(super) const ZERO: Scales = Scales { steps: [0; 16], d: [0.0; 8], dmin: [0.0; 8] };
}

/// The largest magnitude of an integer of the format; `None` for plain floats, which are none.
pub(super) fn most(tensor_type: TensorType) -> Option<i32> {
    use TensorType::{BF16, F16, F32, IQ4NL, IQ4XS, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
    match tensor_type {
        F32 | F16 | BF16 => None,
        Q4_0 | Q4_1 | Q5_0 | Q5_1 => Some(31),
        Q8_0 | IQ4NL => Some(128),
        Q2K => Some(15 * 3),
        Q3K => Some(32 * 4),
        Q4K => Some(63 * 15),
        Q5K => Some(63 * 31),
        Q6K => Some(128 * 32),
        IQ4XS => Some(32 * 127),
    }
}

/// Columns that share one scale.
pub(super) fn scale_width(tensor_type: TensorType) -> usize {
    tensor_type.format().block_len()
}

/// Columns that share one minimum, where the format has any.
pub(super) fn minimum_width(tensor_type: TensorType) -> Option<usize> {
    let width = if tensor_type == TensorType::Q2K { 16 } else { 32 };
    anatomy::has_minimum(tensor_type).then_some(width)
}

/// Reads the blocks of at most 256 columns; what is beyond them stays as it was.
///
/// # Panics
/// For plain floats, and when the bytes are not whole blocks.
#[inline(always)]
pub(super) fn read(tensor_type: TensorType, bytes: &[u8], integers: &mut Integers, out: &mut Scales) {
    match tensor_type {
        TensorType::Q2K => q2_k(block(bytes), integers, out),
        TensorType::Q3K => q3_k(block(bytes), integers, out),
        TensorType::Q4K => q4_k(block(bytes), integers, out),
        TensorType::Q5K => q5_k(block(bytes), integers, out),
        TensorType::Q6K => q6_k(block(bytes), integers, out),
        TensorType::IQ4XS => iq4_xs(block(bytes), integers, out),
        TensorType::Q4_0 => legacy::<18, 2>(bytes, integers, out, |_, code| code.wrapping_sub(8)),
        TensorType::Q4_1 => legacy::<20, 4>(bytes, integers, out, |_, code| code),
        TensorType::Q5_0 => legacy::<22, 6>(bytes, integers, out, |fifth, code| (code | fifth).wrapping_sub(16)),
        TensorType::Q5_1 => legacy::<24, 8>(bytes, integers, out, |fifth, code| code | fifth),
        TensorType::IQ4NL => legacy::<18, 2>(bytes, integers, out, |_, code| IQ4[code as usize & 15] as u8),
        TensorType::Q8_0 => q8_0(bytes, integers, out),
        TensorType::F32 | TensorType::F16 | TensorType::BF16 => unreachable!("plain floats are not whole numbers"),
    }
}

#[inline(always)]
fn block<const N: usize>(bytes: &[u8]) -> &[u8; N] {
    bytes.try_into().unwrap_or_else(|_| unreachable!("256 columns of a K format are one block"))
}

/// An f16, exactly: mantissa times a power of two, for subnormals too, which processors multiply slowly as such.
#[inline(always)]
pub(super) fn half(b: &[u8], at: usize) -> f64 {
    let bits = u16::from_le_bytes([b[at], b[at + 1]]);
    let exponent = bits >> 10 & 31;
    let mantissa = bits & 0x3ff | u16::from(exponent > 0) << 10;
    let unit = f64::from_bits((1023 - 25 + u64::from(exponent.max(1))) << 52);
    let size = match (exponent, bits & 0x3ff) {
        (31, 0) => f64::INFINITY,
        (31, _) => f64::NAN,
        _ => f64::from(mantissa) * unit,
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// `N` bytes from byte `at`.
#[inline(always)]
fn part<const N: usize>(b: &[u8], at: usize) -> &[u8; N] {
    b[at..at + N].first_chunk().unwrap_or_else(|| unreachable!("the range has N bytes"))
}

impl Integers {
    /// Sets the codes of columns `N i ..`, as one value: LLVM does not make vectors of writes through a reference.
    #[inline(always)]
    fn set<const N: usize>(&mut self, i: usize, codes: [i8; N]) {
        self.codes[N * i..N * i + N].copy_from_slice(&codes);
    }
}

/// Blocks of 32 with two codes in a byte: `d`, for `BYTES` of 20 or 24 a minimum, for 22 or 24 a fifth bit of each code,
/// then the codes from byte `AT`.
#[inline(always)]
fn legacy<const BYTES: usize, const AT: usize>(
    bytes: &[u8],
    integers: &mut Integers,
    out: &mut Scales,
    centre: impl Fn(u8, u8) -> u8,
) {
    integers.scales = [1; 16];
    for (i, b) in bytes.as_chunks::<BYTES>().0.iter().enumerate() {
        out.d[i] = half(b, 0);
        if BYTES == 20 || BYTES == 24 {
            out.dmin[i] = half(b, 2);
            out.steps[2 * i..2 * i + 2].fill(1);
        }
        let fifths = if AT >= 6 { u32::from_le_bytes(*part(b, AT - 4)) } else { 0 };
        let fifth = |i: usize| ((fifths >> i & 1) << 4) as u8;
        let (codes, mut out) = (part::<16>(b, AT), [0; 32]);
        for l in 0..16 {
            out[l] = centre(fifth(l), codes[l] & 15).cast_signed();
            out[l + 16] = centre(fifth(l + 16), codes[l] >> 4).cast_signed();
        }
        integers.set(i, out);
    }
}

#[inline(always)]
fn q8_0(bytes: &[u8], integers: &mut Integers, out: &mut Scales) {
    integers.scales = [1; 16];
    for (i, b) in bytes.as_chunks::<34>().0.iter().enumerate() {
        out.d[i] = half(b, 0);
        integers.set(i, part::<32>(b, 2).map(u8::cast_signed));
    }
}

#[inline(always)]
fn q2_k(b: &[u8; 84], integers: &mut Integers, out: &mut Scales) {
    (out.d, out.dmin) = ([half(b, 80); 8], [-half(b, 82); 8]);
    for g in 0..16 {
        out.steps[g] = (b[g] >> 4).cast_signed();
        integers.scales[g] = (b[g] & 15).cast_signed();
        // Half, bit plane and half of the bytes of group g.
        let (codes, plane) = (part::<16>(b, 16 + g / 8 * 32 + g % 2 * 16), g % 8 / 2);
        let mut out = [0; 16];
        for l in 0..16 {
            out[l] = (codes[l] >> (2 * plane) & 3).cast_signed();
        }
        integers.set(g, out);
    }
}

#[inline(always)]
fn q3_k(b: &[u8; 110], integers: &mut Integers, out: &mut Scales) {
    out.d = [half(b, 108); 8];
    for g in 0..16 {
        let low = b[96 + g % 8] >> (4 * (g / 8)) & 15;
        integers.scales[g] = (low | (b[104 + g % 4] >> (2 * (g / 4)) & 3) << 4).cast_signed() - 32;
        let (codes, plane) = (part::<16>(b, 32 + g / 8 * 32 + g % 2 * 16), g % 8 / 2);
        let (high, mut out) = (part::<16>(b, g % 2 * 16), [0; 16]);
        for l in 0..16 {
            let code = codes[l] >> (2 * plane) & 3 | (high[l] >> (g / 2) & 1) << 2;
            out[l] = code.wrapping_sub(4).cast_signed();
        }
        integers.set(g, out);
    }
}

/// Scales and minimums of Q4_K and Q5_K.
#[inline(always)]
fn k_groups(b: &[u8], integers: &mut Integers, out: &mut Scales) {
    (out.d, out.dmin) = ([half(b, 0); 8], [-half(b, 2); 8]);
    // Twelve bytes: six low bits of the first four scales and of the first four minimums; then four low bits of the other
    // scales and of the other minimums, whose two high bits are above the first ones.
    let word = |i: usize| u32::from_le_bytes(*part(b, 4 + 4 * i));
    let (first, second, low) = (word(0), word(1), word(2));
    let high = |word: u32| (word >> 6 & 0x0303_0303) << 4;
    let scales = [first & 0x3f3f_3f3f, low & 0x0f0f_0f0f | high(first)].map(u32::to_le_bytes);
    let steps = [second & 0x3f3f_3f3f, low >> 4 & 0x0f0f_0f0f | high(second)].map(u32::to_le_bytes);
    integers.scales = twice(part(scales.as_flattened(), 0));
    out.steps = twice(part(steps.as_flattened(), 0));
}

/// Each for both halves of its 32 columns.
#[inline(always)]
fn twice(of_32: &[u8; 8]) -> [i8; 16] {
    let mut of_16 = [0; 16];
    for g in 0..16 {
        of_16[g] = of_32[g / 2].cast_signed();
    }
    of_16
}

#[inline(always)]
fn q4_k(b: &[u8; 144], integers: &mut Integers, out: &mut Scales) {
    k_groups(b, integers, out);
    for i in 0..4 {
        let (codes, mut low, mut high) = (part::<32>(b, 16 + 32 * i), [0; 32], [0; 32]);
        for l in 0..32 {
            (low[l], high[l]) = ((codes[l] & 15).cast_signed(), (codes[l] >> 4).cast_signed());
        }
        integers.set(2 * i, low);
        integers.set(2 * i + 1, high);
    }
}

#[inline(always)]
fn q5_k(b: &[u8; 176], integers: &mut Integers, out: &mut Scales) {
    k_groups(b, integers, out);
    let fifths = part::<32>(b, 16);
    for i in 0..4 {
        let (codes, mut low, mut high) = (part::<32>(b, 48 + 32 * i), [0; 32], [0; 32]);
        for l in 0..32 {
            low[l] = (codes[l] & 15 | (fifths[l] >> (2 * i) & 1) << 4).cast_signed();
            high[l] = (codes[l] >> 4 | (fifths[l] >> (2 * i + 1) & 1) << 4).cast_signed();
        }
        integers.set(2 * i, low);
        integers.set(2 * i + 1, high);
    }
}

#[inline(always)]
fn q6_k(b: &[u8; 210], integers: &mut Integers, out: &mut Scales) {
    out.d = [half(b, 208); 8];
    integers.scales = part::<16>(b, 192).map(u8::cast_signed);
    for h in 0..2 {
        let (low, high) = (part::<64>(b, 64 * h), part::<32>(b, 128 + 32 * h));
        for j in 0..4 {
            let (low, mut out) = (part::<32>(low, 32 * (j % 2)), [0; 32]);
            for l in 0..32 {
                let code = low[l] >> (4 * (j / 2)) & 15 | (high[l] >> (2 * j) & 3) << 4;
                out[l] = code.wrapping_sub(32).cast_signed();
            }
            integers.set(4 * h + j, out);
        }
    }
}

#[inline(always)]
fn iq4_xs(b: &[u8; 136], integers: &mut Integers, out: &mut Scales) {
    out.d = [half(b, 0); 8];
    let high = u16::from_le_bytes([b[2], b[3]]);
    for g in 0..8 {
        let low = b[4 + g / 2] >> (4 * (g % 2)) & 15;
        integers.scales[2 * g..2 * g + 2].fill((low | ((high >> (2 * g) & 3) as u8) << 4).cast_signed() - 32);
        let (codes, mut out) = (part::<16>(b, 8 + 16 * g), [0; 32]);
        for l in 0..16 {
            out[l] = IQ4[usize::from(codes[l] & 15)] as i8;
            out[l + 16] = IQ4[usize::from(codes[l] >> 4)] as i8;
        }
        integers.set(g, out);
    }
}
