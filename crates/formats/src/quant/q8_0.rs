//! Q8_0: signed bytes.

use super::{QuantFormat, TensorType, f16_at};

/// 32 values of 8.5 bits: `d * q`. Bytes: d (f16), 32 of i8.
///
/// Layout: `block_q8_0` of ggml's `ggml-common.h`.
pub(super) struct Q8_0;

impl QuantFormat for Q8_0 {
    fn tensor_type(&self) -> TensorType {
        TensorType::Q8_0
    }
    fn name(&self) -> &'static str {
        "Q8_0"
    }
    fn block_len(&self) -> usize {
        32
    }
    fn block_bytes(&self) -> usize {
        34
    }
    fn decode(&self, block: &[u8], out: &mut [f64]) {
        let d = f16_at(block, 0);
        for (out, q) in out.iter_mut().zip(&block[2..34]) {
            *out = d * f64::from(q.cast_signed());
        }
    }
    fn is_finite(&self, block: &[u8]) -> bool {
        f16_at(block, 0).is_finite()
    }
}
