//! Q6_K: 6-bit codes around 32, 16 groups of 16.

use twinpath_formats::TensorType;

use super::{Block, Form, Packed, array, f16_at};
use crate::q8::{Q8_K_BLOCK, Shape};

/// 128 of low nibbles, 64 of upper bit pairs, 16 of i8 scales, d (f16). In each half of 128 values, value `32 j + l` has
/// its low bits in nibble `j / 2` of byte `32 (j % 2) + l`, its upper two in bits `2j, 2j + 1` of byte `l`.
pub(super) struct Q6K;

impl Packed for Q6K {
    const TYPE: TensorType = TensorType::Q6K;
    const BYTES: usize = 210;
    const SHAPE: Shape = Shape { block: Q8_K_BLOCK, group: 16 };
    const FORM: Form = Form::Offset;
    const TOP: u8 = 63;

    #[inline(always)]
    fn unpack(bytes: &[u8], block: &mut Block) {
        let low: &[u8; 128] = array(bytes, 0);
        let high: &[u8; 64] = array(bytes, 128);
        for half in 0..2 {
            for j in 0..4 {
                for l in 0..32 {
                    let nibble = low[64 * half + 32 * (j % 2) + l] >> (4 * (j / 2)) & 15;
                    block.codes[128 * half + 32 * j + l] = nibble | (high[32 * half + l] >> (2 * j) & 3) << 4;
                }
            }
        }
        for (g, scale) in array::<16>(bytes, 192).iter().enumerate() {
            block.scales[g] = i16::from(scale.cast_signed());
            block.mins[g] = 32 * block.scales[g];
        }
    }

    #[inline(always)]
    fn factors(bytes: &[u8]) -> (f32, f32) {
        (f16_at(bytes, 208), 0.0)
    }
}
