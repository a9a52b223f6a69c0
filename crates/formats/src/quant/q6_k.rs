//! Q6_K: 6-bit codes around 32, 16 groups of 16.

use super::{QuantFormat, TensorType, f16_at};

/// 256 values of 6.5625 bits: `d * sc * (q - 32)`.
///
/// Bytes: 128 of low nibbles, 64 of upper bit pairs, 16 of i8 group scales, d (f16). In each half of 128 values, value
/// `32 j + l` has its low bits in nibble `j / 2` of byte `32 (j % 2) + l` and its upper two in bits `2j, 2j + 1` of byte
/// `l`.
///
/// Layout: `block_q6_K` of ggml's `ggml-common.h`.
pub(super) struct Q6K;

impl QuantFormat for Q6K {
    fn tensor_type(&self) -> TensorType {
        TensorType::Q6K
    }
    fn name(&self) -> &'static str {
        "Q6_K"
    }
    fn block_len(&self) -> usize {
        256
    }
    fn block_bytes(&self) -> usize {
        210
    }
    fn decode(&self, block: &[u8], out: &mut [f64]) {
        let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
        let d = f16_at(block, 208);
        for (i, out) in out.iter_mut().enumerate() {
            let (half, j, l) = (i / 128, i % 128 / 32, i % 32);
            let nibble = low[64 * half + 32 * (j % 2) + l] >> (4 * (j / 2)) & 15;
            let q = nibble | (high[32 * half + l] >> (2 * j) & 3) << 4;
            *out = d * f64::from(scales[i / 16].cast_signed()) * (f64::from(q) - 32.0);
        }
    }
    fn is_finite(&self, block: &[u8]) -> bool {
        f16_at(block, 208).is_finite()
    }
}
