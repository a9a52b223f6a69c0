//! Q5_K: 5-bit codes above a minimum, 8 groups of 32.

use super::{QuantFormat, TensorType, f16_at, q4_k::scale_min};

/// 256 values of 5.5 bits: `d * sc * q - dmin * m`.
///
/// Bytes: d, dmin (f16), 12 of group scales and minimums (as in Q4_K), 32 of fifth bits, 128 of codes (as in Q4_K). The
/// fifth bit of value `i` is bit `i / 32` of byte `i % 32`.
///
/// Layout: `block_q5_K` of ggml's `ggml-common.h`.
pub(super) struct Q5K;

impl QuantFormat for Q5K {
    fn tensor_type(&self) -> TensorType {
        TensorType::Q5K
    }
    fn name(&self) -> &'static str {
        "Q5_K"
    }
    fn block_len(&self) -> usize {
        256
    }
    fn block_bytes(&self) -> usize {
        176
    }
    fn decode(&self, block: &[u8], out: &mut [f64]) {
        let (d, dmin) = (f16_at(block, 0), f16_at(block, 2));
        let (scales, fifth, codes) = (&block[4..16], &block[16..48], &block[48..176]);
        for (i, out) in out.iter_mut().enumerate() {
            let (group, l) = (i / 32, i % 32);
            let q = codes[group / 2 * 32 + l] >> (4 * (group % 2)) & 15 | (fifth[l] >> group & 1) << 4;
            let (sc, m) = scale_min(scales, group);
            *out = d * f64::from(sc) * f64::from(q) - dmin * f64::from(m);
        }
    }
    fn is_finite(&self, block: &[u8]) -> bool {
        f16_at(block, 0).is_finite() && f16_at(block, 2).is_finite()
    }
}
