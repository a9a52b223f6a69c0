//! Q8_0: 8-bit values, read as codes around 128.

use twinpath_formats::TensorType;

use super::{Block, Bytes, Form, Packed, array, u16_at};
use crate::q8::{Q8_0_BLOCK, Shape};

/// d (f16), 32 of i8. Flipping the top bit of an i8 adds 128 to it.
pub(super) struct Q8_0;

impl Packed for Q8_0 {
    const TYPE: TensorType = TensorType::Q8_0;
    const BYTES: usize = 34;
    const SHAPE: Shape = Shape { block: Q8_0_BLOCK, group: Q8_0_BLOCK };
    const FORM: Form = Form::Offset;
    const TOP: u8 = 255;

    #[inline(always)]
    fn unpack<S: Bytes>(s: S, bytes: &[u8], block: &mut Block) {
        let values = s.load(array(bytes, 2));
        s.store(s.flip(values, 0x80), block.codes_mut(0));
        block.scales[0] = 1;
        block.mins[0] = 128;
    }

    #[inline(always)]
    fn factors<S: Bytes>(s: S, bytes: &[u8]) -> (f32, f32) {
        (s.half(u16_at(bytes, 0)), 0.0)
    }
}
