//! Q5_1: 5-bit codes above a minimum.

use super::{QuantFormat, TensorType, f16_at};

/// 32 values of 6 bits: `d * q + m`. Bytes: d, m (f16), 32 fifth bits (u32), 16 of low and high nibbles.
///
/// Layout: `block_q5_1` of ggml's `ggml-common.h`.
pub(super) struct Q5_1;

impl QuantFormat for Q5_1 {
    fn tensor_type(&self) -> TensorType {
        TensorType::Q5_1
    }
    fn name(&self) -> &'static str {
        "Q5_1"
    }
    fn block_len(&self) -> usize {
        32
    }
    fn block_bytes(&self) -> usize {
        24
    }
    fn decode(&self, block: &[u8], out: &mut [f64]) {
        let (d, m) = (f16_at(block, 0), f16_at(block, 2));
        let fifth = |i: usize| (block[4 + i / 8] >> (i % 8) & 1) << 4;
        for (i, q) in block[8..24].iter().enumerate() {
            out[i] = d * f64::from(q & 15 | fifth(i)) + m;
            out[i + 16] = d * f64::from(q >> 4 | fifth(i + 16)) + m;
        }
    }
    fn is_finite(&self, block: &[u8]) -> bool {
        f16_at(block, 0).is_finite() && f16_at(block, 2).is_finite()
    }
}
