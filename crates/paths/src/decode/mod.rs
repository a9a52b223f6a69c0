//! Blocks to `f32`: the exact real number, rounded once; into memory, or on the way into a dot.
//!
//! Written apart from the exact decoders of `formats`, and tested to have the bits of their values rounded to `f32`. One
//! rounding is all that can happen: every product of an f16 (11 bits) and the integers of a block (12 bits at most) is
//! exact in 24 bits, so only the final subtraction or addition of a minimum rounds.

mod float;
mod iq;
mod k;
mod legacy;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use twinpath_formats::{Matrix, TensorType};

#[cfg(target_arch = "x86_64")]
use crate::simd::Level;
use crate::simd::dot::Lanes;
use crate::simd::{Isa, Kernel};

/// Decodes whole blocks of `bytes` into `out`, one place per value.
pub(crate) fn decode(isa: Isa, tensor_type: TensorType, bytes: &[u8], out: &mut [f32]) {
    debug_assert_eq!(tensor_type.bytes_of(out.len() as u64), Some(bytes.len() as u64));
    // SAFETY: an `Isa` of this level exists only where AVX-512 F and BW, and with them F16C, were detected.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        match tensor_type {
            TensorType::Q4K if isa.level() >= Level::Avx512 => {
                return x86::decode::<x86::Q4K>(bytes, out);
            }
            TensorType::Q6K if isa.level() >= Level::Avx512 => {
                return x86::decode::<x86::Q6K>(bytes, out);
            }
            _ => {}
        }
    }
    isa.run(Decode { tensor_type, bytes, out });
}

/// The partial sums of each row's dot with `x`, in the order of [`dot`](crate::simd::dot), of rows that are decoded on the way.
/// `false`, and nothing done, where there is no kernel for it.
pub(crate) fn dots(isa: Isa, rows: Matrix<'_>, x: &[f32], sums: &mut [Lanes]) -> bool {
    // SAFETY: as in `decode`.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        match rows.tensor_type() {
            TensorType::Q4K if isa.level() >= Level::Avx512 => x86::dots::<x86::Q4K>(rows.bytes(), x, sums),
            TensorType::Q6K if isa.level() >= Level::Avx512 => x86::dots::<x86::Q6K>(rows.bytes(), x, sums),
            _ => return false,
        }
        true
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (isa, rows, x, sums);
        false
    }
}

struct Decode<'a> {
    tensor_type: TensorType,
    bytes: &'a [u8],
    out: &'a mut [f32],
}

/// A macro, because a function given as a value is compiled for the baseline and called. `apart` keeps LLVM from computing
/// sixteen blocks at once, which it does with scatters and several times slower than one after the other.
macro_rules! blocks {
    ($bytes:expr, $out:expr, $decode:path) => {
        for (block, out) in $bytes.as_chunks().0.iter().zip($out.as_chunks_mut().0) {
            $decode(block, out);
        }
    };
    ($bytes:expr, $out:expr, apart $decode:path) => {
        for (block, out) in $bytes.as_chunks().0.iter().zip($out.as_chunks_mut().0) {
            $decode(std::hint::black_box(block), out);
        }
    };
}

impl Kernel for Decode<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Decode { tensor_type, bytes, out } = self;
        match tensor_type {
            TensorType::F32 => blocks!(bytes, out, float::f32),
            TensorType::F16 => blocks!(bytes, out, float::f16),
            TensorType::BF16 => blocks!(bytes, out, float::bf16),
            TensorType::Q4_0 => blocks!(bytes, out, apart legacy::q4_0),
            TensorType::Q4_1 => blocks!(bytes, out, apart legacy::q4_1),
            TensorType::Q5_0 => blocks!(bytes, out, apart legacy::q5_0),
            TensorType::Q5_1 => blocks!(bytes, out, apart legacy::q5_1),
            TensorType::Q8_0 => blocks!(bytes, out, legacy::q8_0),
            TensorType::Q2K => blocks!(bytes, out, k::q2_k),
            TensorType::Q3K => blocks!(bytes, out, k::q3_k),
            TensorType::Q4K => blocks!(bytes, out, k::q4_k),
            TensorType::Q5K => blocks!(bytes, out, k::q5_k),
            TensorType::Q6K => blocks!(bytes, out, k::q6_k),
            TensorType::IQ4NL => blocks!(bytes, out, apart iq::iq4_nl),
            TensorType::IQ4XS => blocks!(bytes, out, iq::iq4_xs),
        }
    }
}

/// An f16 at a byte offset: a normal one has its exponent moved from bias 15 to 127, a subnormal one is an integer of 2⁻²⁴.
/// (Multiplying the moved bits by 2¹¹² is shorter, but slow where the processor traps on a subnormal operand.)
#[inline(always)]
fn f16_at(block: &[u8], offset: usize) -> f32 {
    let bits = u32::from(u16::from_le_bytes([block[offset], block[offset + 1]]));
    let magnitude = bits & 0x7fff;
    let subnormal = (magnitude.cast_signed() as f32 * (1.0 / 16_777_216.0)).to_bits();
    let bias = if magnitude >= 0x7c00 { 2 * 112 } else { 112 };
    let normal = (magnitude << 13) + (bias << 23);
    f32::from_bits(if magnitude < 0x400 { subnormal } else { normal } | (bits & 0x8000) << 16)
}
