//! The two block codes of `.apr` itself, read as f32 and never written.
//!
//! They have no [`QuantFormat`](crate::QuantFormat): "AprQ8" scales the tensor as a whole, so no block of it means
//! anything alone.

/// An `.apr`-only code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Legacy {
    /// Blocks of 32: an f16 scale, then 16 bytes; value i is (nibble - 8) · scale, low nibble where i is even.
    AprQ4,
    /// One f32 scale for the tensor, then one i8 per value.
    AprQ8,
}

impl Legacy {
    /// 128 and 129, and 8 and 9, which older files use for the same (not for ggml's Q8_0 and Q8_1).
    pub(crate) fn from_code(code: u8) -> Option<Legacy> {
        match code {
            8 | 128 => Some(Legacy::AprQ4),
            9 | 129 => Some(Legacy::AprQ8),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Legacy::AprQ4 => "AprQ4",
            Legacy::AprQ8 => "AprQ8",
        }
    }

    /// Bytes that `values` values take.
    pub(crate) fn byte_len(self, values: u64) -> u64 {
        match self {
            Legacy::AprQ4 => values.div_ceil(32) * 18,
            Legacy::AprQ8 => 4 + values,
        }
    }

    /// The values as little-endian f32: exact for AprQ4 (11 bits times 4), rounded once for AprQ8 (24 bits times 8).
    pub(crate) fn expand(self, bytes: &[u8], values: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(values * 4);
        match self {
            Legacy::AprQ4 => {
                for (i, block) in bytes.chunks_exact(18).enumerate() {
                    let scale = half::f16::from_le_bytes([block[0], block[1]]).to_f32();
                    for j in 0..32.min(values - i * 32) {
                        let nibble = (block[2 + j / 2] >> (4 * (j % 2))) & 15;
                        out.extend(((f32::from(nibble) - 8.0) * scale).to_le_bytes());
                    }
                }
            }
            Legacy::AprQ8 => {
                let scale = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                bytes[4..].iter().for_each(|q| out.extend((f32::from(*q as i8) * scale).to_le_bytes()));
            }
        }
        out
    }
}
