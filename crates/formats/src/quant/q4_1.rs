//! Q4_1: 4-bit codes above a minimum.

use super::{QuantFormat, TensorType, f16_at};

/// 32 values of 5 bits: `d * q + m`. Bytes: d, m (f16), 16 of low and high nibbles.
///
/// Layout: `block_q4_1` of ggml's `ggml-common.h`.
pub(super) struct Q4_1;

impl QuantFormat for Q4_1 {
    fn tensor_type(&self) -> TensorType {
        TensorType::Q4_1
    }
    fn name(&self) -> &'static str {
        "Q4_1"
    }
    fn block_len(&self) -> usize {
        32
    }
    fn block_bytes(&self) -> usize {
        20
    }
    fn decode(&self, block: &[u8], out: &mut [f64]) {
        let (d, m) = (f16_at(block, 0), f16_at(block, 2));
        for (i, q) in block[4..20].iter().enumerate() {
            out[i] = d * f64::from(q & 15) + m;
            out[i + 16] = d * f64::from(q >> 4) + m;
        }
    }
    fn is_finite(&self, block: &[u8]) -> bool {
        f16_at(block, 0).is_finite() && f16_at(block, 2).is_finite()
    }
}
