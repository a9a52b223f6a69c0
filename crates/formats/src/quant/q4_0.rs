//! Q4_0: 4-bit codes around 8.

use super::{QuantFormat, TensorType, f16_at};

/// 32 values of 4.5 bits: `d * (q - 8)`. Bytes: d (f16), 16 of low and high nibbles.
///
/// Layout: `block_q4_0` of ggml's `ggml-common.h`.
pub(super) struct Q4_0;

impl QuantFormat for Q4_0 {
    fn tensor_type(&self) -> TensorType {
        TensorType::Q4_0
    }
    fn name(&self) -> &'static str {
        "Q4_0"
    }
    fn block_len(&self) -> usize {
        32
    }
    fn block_bytes(&self) -> usize {
        18
    }
    fn decode(&self, block: &[u8], out: &mut [f64]) {
        let d = f16_at(block, 0);
        for (i, q) in block[2..18].iter().enumerate() {
            out[i] = d * (f64::from(q & 15) - 8.0);
            out[i + 16] = d * (f64::from(q >> 4) - 8.0);
        }
    }
    fn is_finite(&self, block: &[u8]) -> bool {
        f16_at(block, 0).is_finite()
    }
}
