//! Q2_K: 2-bit codes above a minimum, 16 groups of 16.

use twinpath_formats::TensorType;

use super::{Block, Bytes, Form, Packed, array, u16_at, u64_at};
use crate::q8::{Q8_K_BLOCK, Shape};

/// 16 of scale (low nibble) and minimum (high nibble), 64 of codes, d, dmin (f16). Value `32 j + l` of each half of 128
/// is bits `2j, 2j + 1` of byte `l` of its 32.
pub(super) struct Q2K;

impl Packed for Q2K {
    const TYPE: TensorType = TensorType::Q2K;
    const BYTES: usize = 84;
    const SHAPE: Shape = Shape { block: Q8_K_BLOCK, group: 16 };
    const FORM: Form = Form::MinusMin;
    const TOP: u8 = 3;

    #[inline(always)]
    fn unpack<S: Bytes>(s: S, bytes: &[u8], block: &mut Block) {
        for half in 0..2 {
            let q = s.load(array(bytes, 16 + 32 * half));
            s.store(s.bits::<0>(q, 3), block.codes_mut(4 * half));
            s.store(s.bits::<2>(q, 3), block.codes_mut(4 * half + 1));
            s.store(s.bits::<4>(q, 3), block.codes_mut(4 * half + 2));
            s.store(s.bits::<6>(q, 3), block.codes_mut(4 * half + 3));
        }
        let packed = [u64_at(bytes, 0), u64_at(bytes, 8)];
        s.widen(packed.map(|p| p & NIBBLES), 0, 1, &mut block.scales);
        s.widen(packed.map(|p| p >> 4 & NIBBLES), 0, 1, &mut block.mins);
    }

    #[inline(always)]
    fn factors<S: Bytes>(s: S, bytes: &[u8]) -> (f32, f32) {
        (s.half(u16_at(bytes, 80)), s.half(u16_at(bytes, 82)))
    }
}

/// The low nibble of each byte.
const NIBBLES: u64 = 0x0f0f_0f0f_0f0f_0f0f;
