//! Block formats: which real number each code stands for.
//!
//! One file per format, one line in [`FORMATS`].

mod float;

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
pub const FORMATS: &[&dyn QuantFormat] = &[&float::F32, &float::F16, &float::BF16];
