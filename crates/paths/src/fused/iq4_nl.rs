//! IQ4_NL: 4-bit codes into a table of unequal steps, read as codes around 128.

use twinpath_formats::TensorType;

use super::{Block, Bytes, Form, Packed, array, u16_at};
use crate::q8::{Q8_0_BLOCK, Shape};

/// d (f16), 16 of low and high nibbles.
pub(super) struct Iq4Nl;

impl Packed for Iq4Nl {
    const TYPE: TensorType = TensorType::IQ4NL;
    const BYTES: usize = 18;
    const SHAPE: Shape = Shape { block: Q8_0_BLOCK, group: Q8_0_BLOCK };
    const FORM: Form = Form::Offset;
    const TOP: u8 = 241;

    #[inline(always)]
    fn unpack<S: Bytes>(s: S, bytes: &[u8], block: &mut Block) {
        let codes = s.nibbles(array(bytes, 2));
        let codes = s.lookup(&VALUES_PLUS_128, codes);
        s.store(codes, block.codes_mut(0));
        block.scales[0] = 1;
        block.mins[0] = 128;
    }

    #[inline(always)]
    fn factors<S: Bytes>(s: S, bytes: &[u8]) -> (f32, f32) {
        (s.half(u16_at(bytes, 0)), 0.0)
    }
}

/// `kvalues_iq4nl` of ggml plus 128; IQ4_XS has the same.
pub(super) const VALUES_PLUS_128: [u8; 16] = [1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241];
