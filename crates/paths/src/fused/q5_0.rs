//! Q5_0: 5-bit codes around 16.

use twinpath_formats::TensorType;

use super::{Block, Bytes, Form, Packed, array, u16_at};
use crate::q8::{Q8_0_BLOCK, Shape};

/// d (f16), 32 fifth bits (u32), 16 of low and high nibbles.
pub(super) struct Q5_0;

impl Packed for Q5_0 {
    const TYPE: TensorType = TensorType::Q5_0;
    const BYTES: usize = 22;
    const SHAPE: Shape = Shape { block: Q8_0_BLOCK, group: Q8_0_BLOCK };
    const FORM: Form = Form::Offset;
    const TOP: u8 = 31;

    #[inline(always)]
    fn unpack<S: Bytes>(s: S, bytes: &[u8], block: &mut Block) {
        let codes = s.nibbles(array(bytes, 6));
        let codes = s.or_where(codes, u32::from_le_bytes(*array(bytes, 2)), 16);
        s.store(codes, block.codes_mut(0));
        block.scales[0] = 1;
        block.mins[0] = 16;
    }

    #[inline(always)]
    fn factors<S: Bytes>(s: S, bytes: &[u8]) -> (f32, f32) {
        (s.half(u16_at(bytes, 0)), 0.0)
    }
}
