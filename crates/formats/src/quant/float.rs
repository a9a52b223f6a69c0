//! F32, F16 and BF16: one value per block.

use super::{QuantFormat, TensorType};

/// IEEE binary32.
pub(super) struct F32;
/// IEEE binary16.
pub(super) struct F16;
/// The upper half of a binary32.
pub(super) struct BF16;

macro_rules! plain_float {
    ($format:ty, $name:literal, $tensor_type:expr, $bytes:literal, $read:expr) => {
        impl QuantFormat for $format {
            fn tensor_type(&self) -> TensorType {
                $tensor_type
            }
            fn name(&self) -> &'static str {
                $name
            }
            fn block_len(&self) -> usize {
                1
            }
            fn block_bytes(&self) -> usize {
                $bytes
            }
            fn decode(&self, block: &[u8], out: &mut [f64]) {
                out[0] = $read(block);
            }
            fn is_finite(&self, block: &[u8]) -> bool {
                $read(block).is_finite()
            }
        }
    };
}

plain_float!(F32, "F32", TensorType::F32, 4, |b: &[u8]| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
plain_float!(F16, "F16", TensorType::F16, 2, |b: &[u8]| half::f16::from_le_bytes([b[0], b[1]]).to_f64());
plain_float!(BF16, "BF16", TensorType::BF16, 2, |b: &[u8]| half::bf16::from_le_bytes([b[0], b[1]]).to_f64());
