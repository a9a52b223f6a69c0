//! Q5_0: 5-bit codes around 16.

use super::{QuantFormat, TensorType, f16_at};

/// 32 values of 5.5 bits: `d * (q - 16)`. Bytes: d (f16), 32 fifth bits (u32), 16 of low and high nibbles.
///
/// Layout: `block_q5_0` of ggml's `ggml-common.h`.
pub(super) struct Q5_0;

impl QuantFormat for Q5_0 {
    fn tensor_type(&self) -> TensorType {
        TensorType::Q5_0
    }
    fn name(&self) -> &'static str {
        "Q5_0"
    }
    fn block_len(&self) -> usize {
        32
    }
    fn block_bytes(&self) -> usize {
        22
    }
    fn decode(&self, block: &[u8], out: &mut [f64]) {
        let d = f16_at(block, 0);
        let fifth = |i: usize| (block[2 + i / 8] >> (i % 8) & 1) << 4;
        for (i, q) in block[6..22].iter().enumerate() {
            out[i] = d * (f64::from(q & 15 | fifth(i)) - 16.0);
            out[i + 16] = d * (f64::from(q >> 4 | fifth(i + 16)) - 16.0);
        }
    }
    fn is_finite(&self, block: &[u8]) -> bool {
        f16_at(block, 0).is_finite()
    }
}
