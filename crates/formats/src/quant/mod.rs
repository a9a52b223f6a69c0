//! Block formats: which real number each code stands for.
//!
//! One file per format, one line in [`FORMATS`].
//!
//! # Why decoding in `f64` is exact
//!
//! A block's value is `d * sc * q` or that minus `dmin * m` (plus `m`), where `d`, `dmin` and the `m` of Q4_1 and Q5_1 are
//! f16 and the rest are small integers. A finite f16 is an integer multiple of 2⁻²⁴ below 2¹⁶, hence an integer below 2⁴⁰ in
//! units of 2⁻²⁴. The integer factors multiply to at most 2¹² (Q6_K: 128 · 32), so each product, and each intermediate one,
//! is an integer of at most 2⁵² units. Where a second term is subtracted the factors are below 2¹¹ (Q5_K: 63 · 31) and 2⁶,
//! so the difference stays below 2⁵². Integers up to 2⁵³ are exact in `f64`, and so is the power of two: no operation here
//! rounds. The sign of a zero is that of the expression as written.

mod float;
mod iq4_nl;
mod iq4_xs;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
#[cfg(test)]
mod tests;

/// How a tensor's values are coded. The discriminant is ggml's type id, except for the `.apr`-only codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
#[allow(missing_docs, reason = "the variants are the field's names of the formats")]
pub enum TensorType {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 6,
    Q5_1 = 7,
    Q8_0 = 8,
    Q2K = 10,
    Q3K = 11,
    Q4K = 12,
    Q5K = 13,
    Q6K = 14,
    IQ4NL = 20,
    IQ4XS = 23,
    BF16 = 30,
}

impl TensorType {
    /// The type with this ggml id, if it is one that we decode.
    pub fn from_ggml(id: u32) -> Option<TensorType> {
        FORMATS.iter().map(|f| f.tensor_type()).find(|t| *t as u32 == id)
    }

    /// The type with this name (`"Q4_K"`), if it is one that we decode.
    pub fn from_name(name: &str) -> Option<TensorType> {
        FORMATS.iter().find(|f| f.name().eq_ignore_ascii_case(name)).map(|f| f.tensor_type())
    }

    /// The format that decodes this type.
    pub fn format(self) -> &'static dyn QuantFormat {
        FORMATS.iter().copied().find(|f| f.tensor_type() == self).expect("every type is in FORMATS (tested)")
    }

    /// The field's name, `"Q4_K"`.
    pub fn name(self) -> &'static str {
        self.format().name()
    }

    /// Bytes of `values` values, or `None` if they are no whole number of blocks or overflow.
    pub fn bytes_of(self, values: u64) -> Option<u64> {
        let f = self.format();
        let block = f.block_len() as u64;
        if !values.is_multiple_of(block) {
            return None;
        }
        (values / block).checked_mul(f.block_bytes() as u64)
    }
}

/// One block format.
pub trait QuantFormat: Sync {
    /// The tensor type it decodes.
    fn tensor_type(&self) -> TensorType;
    /// The field's name, `"Q4_K"`.
    fn name(&self) -> &'static str;
    /// Values in one block.
    fn block_len(&self) -> usize;
    /// Bytes of one block.
    fn block_bytes(&self) -> usize;
    /// Decodes one block to exactly the real numbers that the format defines: every one of them fits an `f64`.
    ///
    /// `block` holds [`block_bytes`](Self::block_bytes) bytes, `out` holds [`block_len`](Self::block_len) values.
    fn decode(&self, block: &[u8], out: &mut [f64]);
    /// Whether every scale of the block (every value, for plain floats) is finite.
    fn is_finite(&self, block: &[u8]) -> bool;
}

/// Every block format.
pub const FORMATS: &[&dyn QuantFormat] = &[
    &float::F32,
    &float::F16,
    &float::BF16,
    &q4_0::Q4_0,
    &q4_1::Q4_1,
    &q5_0::Q5_0,
    &q5_1::Q5_1,
    &q8_0::Q8_0,
    &q2_k::Q2K,
    &q3_k::Q3K,
    &q4_k::Q4K,
    &q5_k::Q5K,
    &q6_k::Q6K,
    &iq4_nl::IQ4NL,
    &iq4_xs::IQ4XS,
];

/// The f16 at a byte offset of a block.
fn f16_at(block: &[u8], offset: usize) -> f64 {
    half::f16::from_le_bytes([block[offset], block[offset + 1]]).to_f64()
}
