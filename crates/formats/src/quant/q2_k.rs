//! Q2_K: 2-bit codes above a minimum, 16 groups of 16.

use super::{QuantFormat, TensorType, f16_at};

/// 256 values of 2.625 bits: `d * sc * q - dmin * m`.
///
/// Bytes: 16 groups of sc (low nibble) and m (high nibble), 64 of codes, d, dmin (f16). The codes are two halves of
/// 128 values; value `32 j + l` of a half is bits `2j, 2j + 1` of its byte `l`.
///
/// Layout: `block_q2_K` of ggml's `ggml-common.h`.
pub(super) struct Q2K;

impl QuantFormat for Q2K {
    fn tensor_type(&self) -> TensorType {
        TensorType::Q2K
    }
    fn name(&self) -> &'static str {
        "Q2_K"
    }
    fn block_len(&self) -> usize {
        256
    }
    fn block_bytes(&self) -> usize {
        84
    }
    fn decode(&self, block: &[u8], out: &mut [f64]) {
        let (scales, codes) = (&block[..16], &block[16..80]);
        let (d, dmin) = (f16_at(block, 80), f16_at(block, 82));
        for (i, out) in out.iter_mut().enumerate() {
            let (half, j, l) = (i / 128, i % 128 / 32, i % 32);
            let q = codes[32 * half + l] >> (2 * j) & 3;
            let (sc, m) = (scales[i / 16] & 15, scales[i / 16] >> 4);
            *out = d * f64::from(sc) * f64::from(q) - dmin * f64::from(m);
        }
    }
    fn is_finite(&self, block: &[u8]) -> bool {
        f16_at(block, 80).is_finite() && f16_at(block, 82).is_finite()
    }
}
