//! IQ4_XS: the table of IQ4_NL, 8 groups of 32.

use super::{QuantFormat, TensorType, f16_at, iq4_nl::VALUES};

/// 256 values of 4.25 bits: `d * (sc - 32) * VALUES[q]`.
///
/// Bytes: d (f16), 8 upper bit pairs of the group scales (u16), 4 of their low nibbles, 16 of codes per group: low nibbles
/// are its values 0..16, high nibbles 16..32.
///
/// Layout: `block_iq4_xs` of ggml's `ggml-common.h`.
pub(super) struct IQ4XS;

impl QuantFormat for IQ4XS {
    fn tensor_type(&self) -> TensorType {
        TensorType::IQ4XS
    }
    fn name(&self) -> &'static str {
        "IQ4_XS"
    }
    fn block_len(&self) -> usize {
        256
    }
    fn block_bytes(&self) -> usize {
        136
    }
    fn decode(&self, block: &[u8], out: &mut [f64]) {
        let d = f16_at(block, 0);
        let (high, low, codes) = (u16::from_le_bytes([block[2], block[3]]), &block[4..8], &block[8..136]);
        for (group, out) in out.chunks_exact_mut(32).enumerate() {
            let sc = u16::from(low[group / 2] >> (4 * (group % 2)) & 15) | (high >> (2 * group) & 3) << 4;
            let scale = d * (f64::from(sc) - 32.0);
            for (i, q) in codes[16 * group..][..16].iter().enumerate() {
                out[i] = scale * VALUES[usize::from(q & 15)];
                out[i + 16] = scale * VALUES[usize::from(q >> 4)];
            }
        }
    }
    fn is_finite(&self, block: &[u8]) -> bool {
        f16_at(block, 0).is_finite()
    }
}
