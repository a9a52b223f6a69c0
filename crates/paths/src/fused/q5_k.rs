//! Q5_K: 5-bit codes above a minimum, 8 groups of 32.

use twinpath_formats::TensorType;

use super::{Block, Form, Packed, array, f16_at, q4_k::scales_and_mins};
use crate::q8::{Q8_K_BLOCK, Shape};

/// d, dmin (f16), 12 of scales and minimums, 32 of fifth bits, 128 of codes as in Q4_K. The fifth bit of value `i` is bit
/// `i / 32` of byte `i % 32`.
pub(super) struct Q5K;

impl Packed for Q5K {
    const TYPE: TensorType = TensorType::Q5K;
    const BYTES: usize = 176;
    const SHAPE: Shape = Shape { block: Q8_K_BLOCK, group: 32 };
    const FORM: Form = Form::MinusMin;
    const TOP: u8 = 31;

    #[inline(always)]
    fn unpack(bytes: &[u8], block: &mut Block) {
        let fifth: &[u8; 32] = array(bytes, 16);
        let codes: &[u8; 128] = array(bytes, 48);
        for pair in 0..4 {
            for l in 0..32 {
                let q = codes[32 * pair + l];
                block.codes[64 * pair + l] = q & 15 | (fifth[l] >> (2 * pair) & 1) << 4;
                block.codes[64 * pair + 32 + l] = q >> 4 | (fifth[l] >> (2 * pair + 1) & 1) << 4;
            }
        }
        scales_and_mins(array(bytes, 4), block);
    }

    #[inline(always)]
    fn factors(bytes: &[u8]) -> (f32, f32) {
        (f16_at(bytes, 0), f16_at(bytes, 2))
    }
}
