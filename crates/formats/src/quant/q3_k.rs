//! Q3_K: 3-bit codes around 4, 16 groups of 16.

use super::{QuantFormat, TensorType, f16_at};

/// 256 values of 3.4375 bits: `d * (sc - 32) * (q - 4)`.
///
/// Bytes: 32 of third bits, 64 of low bit pairs (as in Q2_K), 12 of 6-bit group scales, d (f16). The third bit of value
/// `i` is bit `i / 32` of byte `i % 32`.
///
/// Layout: `block_q3_K` of ggml's `ggml-common.h`.
pub(super) struct Q3K;

impl QuantFormat for Q3K {
    fn tensor_type(&self) -> TensorType {
        TensorType::Q3K
    }
    fn name(&self) -> &'static str {
        "Q3_K"
    }
    fn block_len(&self) -> usize {
        256
    }
    fn block_bytes(&self) -> usize {
        110
    }
    fn decode(&self, block: &[u8], out: &mut [f64]) {
        let (third, codes, scales) = (&block[..32], &block[32..96], &block[96..108]);
        let d = f16_at(block, 108);
        for (i, out) in out.iter_mut().enumerate() {
            let (half, j, l) = (i / 128, i % 128 / 32, i % 32);
            let q = codes[32 * half + l] >> (2 * j) & 3 | (third[l] >> (i / 32) & 1) << 2;
            *out = d * (f64::from(scale(scales, i / 16)) - 32.0) * (f64::from(q) - 4.0);
        }
    }
    fn is_finite(&self, block: &[u8]) -> bool {
        f16_at(block, 108).is_finite()
    }
}

/// The 6-bit scale of group `j`: the low nibbles of groups 0..8 and 8..16 share bytes 0..8; bytes 8..12 hold the upper
/// bit pairs, group `j` in byte `8 + j % 4`.
fn scale(scales: &[u8], j: usize) -> u8 {
    let low = if j < 8 { scales[j] & 15 } else { scales[j - 8] >> 4 };
    low | (scales[8 + j % 4] >> (2 * (j / 4)) & 3) << 4
}
