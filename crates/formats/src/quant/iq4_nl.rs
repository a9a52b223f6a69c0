//! IQ4_NL: 4-bit codes into a table of 16 unequal steps.

use super::{QuantFormat, TensorType, f16_at};

/// 32 values of 4.5 bits: `d * VALUES[q]`. Bytes: d (f16), 16 of low and high nibbles.
///
/// Layout: `block_iq4_nl` of ggml's `ggml-common.h`.
pub(super) struct IQ4NL;

impl QuantFormat for IQ4NL {
    fn tensor_type(&self) -> TensorType {
        TensorType::IQ4NL
    }
    fn name(&self) -> &'static str {
        "IQ4_NL"
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
            out[i] = d * VALUES[usize::from(q & 15)];
            out[i + 16] = d * VALUES[usize::from(q >> 4)];
        }
    }
    fn is_finite(&self, block: &[u8]) -> bool {
        f16_at(block, 0).is_finite()
    }
}

/// `kvalues_iq4nl` of ggml, shared by IQ4_XS.
pub(super) const VALUES: [f64; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];
