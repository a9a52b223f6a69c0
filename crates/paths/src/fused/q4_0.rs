//! Q4_0: 4-bit codes around 8.

use twinpath_formats::TensorType;

use super::{Block, Bytes, Form, Packed, array, u16_at};
use crate::q8::{Q8_0_BLOCK, Shape};

/// d (f16), 16 of low and high nibbles.
pub(super) struct Q4_0;

impl Packed for Q4_0 {
    const TYPE: TensorType = TensorType::Q4_0;
    const BYTES: usize = 18;
    const SHAPE: Shape = Shape { block: Q8_0_BLOCK, group: Q8_0_BLOCK };
    const FORM: Form = Form::Offset;
    const TOP: u8 = 15;

    #[inline(always)]
    fn unpack<S: Bytes>(s: S, bytes: &[u8], block: &mut Block) {
        let codes = s.nibbles(array(bytes, 2));
        s.store(codes, block.codes_mut(0));
        block.scales[0] = 1;
        block.mins[0] = 8;
    }

    #[inline(always)]
    fn factors<S: Bytes>(s: S, bytes: &[u8]) -> (f32, f32) {
        (s.half(u16_at(bytes, 0)), 0.0)
    }
}
