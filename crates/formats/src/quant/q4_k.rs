//! Q4_K: 4-bit codes above a minimum, 8 groups of 32.

use super::{QuantFormat, TensorType, f16_at};

/// 256 values of 4.5 bits: `d * sc * q - dmin * m`.
///
/// Bytes: d, dmin (f16), 12 of 6-bit group scales and minimums, 128 of codes. Each 32 bytes of codes hold one group in
/// their low nibbles and the next in their high ones.
///
/// Layout: `block_q4_K` of ggml's `ggml-common.h`.
pub(super) struct Q4K;

impl QuantFormat for Q4K {
    fn tensor_type(&self) -> TensorType {
        TensorType::Q4K
    }
    fn name(&self) -> &'static str {
        "Q4_K"
    }
    fn block_len(&self) -> usize {
        256
    }
    fn block_bytes(&self) -> usize {
        144
    }
    fn decode(&self, block: &[u8], out: &mut [f64]) {
        let (d, dmin) = (f16_at(block, 0), f16_at(block, 2));
        let (scales, codes) = (&block[4..16], &block[16..144]);
        for (i, out) in out.iter_mut().enumerate() {
            let (group, l) = (i / 32, i % 32);
            let q = codes[group / 2 * 32 + l] >> (4 * (group % 2)) & 15;
            let (sc, m) = scale_min(scales, group);
            *out = d * f64::from(sc) * f64::from(q) - dmin * f64::from(m);
        }
    }
    fn is_finite(&self, block: &[u8]) -> bool {
        f16_at(block, 0).is_finite() && f16_at(block, 2).is_finite()
    }
}

/// The 6-bit scale and minimum of group `j` in the 12 bytes that Q4_K and Q5_K share: groups 0..4 are the low six bits of
/// bytes `j` and `4 + j`; groups 4..8 have their low nibbles in byte `4 + j` and their upper bit pairs in the top of bytes
/// `j - 4` and `j`.
pub(super) fn scale_min(scales: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        (scales[j] & 63, scales[j + 4] & 63)
    } else {
        (scales[j + 4] & 15 | scales[j - 4] >> 6 << 4, scales[j + 4] >> 4 | scales[j] >> 6 << 4)
    }
}
