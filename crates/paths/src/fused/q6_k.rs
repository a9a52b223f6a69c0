//! Q6_K: 6-bit codes around 32, 16 groups of 16.

use twinpath_formats::TensorType;

use super::{Block, Bytes, Form, Packed, array, u16_at, u64_at};
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
    fn unpack<S: Bytes>(s: S, bytes: &[u8], block: &mut Block) {
        for half in 0..2 {
            let low0 = s.load(array(bytes, 64 * half));
            let low1 = s.load(array(bytes, 64 * half + 32));
            let high = s.load(array(bytes, 128 + 32 * half));
            s.store(s.or_shifted::<4>(s.bits::<0>(low0, 15), s.bits::<0>(high, 3)), block.codes_mut(4 * half));
            s.store(s.or_shifted::<4>(s.bits::<0>(low1, 15), s.bits::<2>(high, 3)), block.codes_mut(4 * half + 1));
            s.store(s.or_shifted::<4>(s.bits::<4>(low0, 15), s.bits::<4>(high, 3)), block.codes_mut(4 * half + 2));
            s.store(s.or_shifted::<4>(s.bits::<4>(low1, 15), s.bits::<6>(high, 3)), block.codes_mut(4 * half + 3));
        }
        let scales = [u64_at(bytes, 192), u64_at(bytes, 200)];
        s.widen(scales, 0, 1, &mut block.scales);
        s.widen(scales, 0, 32, &mut block.mins);
    }

    #[inline(always)]
    fn factors<S: Bytes>(s: S, bytes: &[u8]) -> (f32, f32) {
        (s.half(u16_at(bytes, 208)), 0.0)
    }
}
