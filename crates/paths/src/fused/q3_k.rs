//! Q3_K: 3-bit codes around 4, 16 groups of 16.

use twinpath_formats::TensorType;

use super::{Block, Bytes, Form, Packed, array, f16_at};
use crate::q8::{Q8_K_BLOCK, Shape};

/// 32 of third bits, 64 of low bit pairs, 12 of scales, d (f16). Low bits as in Q2_K; the third bit of value `i` is bit
/// `i / 32` of byte `i % 32`. Scales are stored plus 32.
pub(super) struct Q3K;

impl Packed for Q3K {
    const TYPE: TensorType = TensorType::Q3K;
    const BYTES: usize = 110;
    const SHAPE: Shape = Shape { block: Q8_K_BLOCK, group: 16 };
    const FORM: Form = Form::Offset;
    const TOP: u8 = 7;

    #[inline(always)]
    fn unpack<S: Bytes>(s: S, bytes: &[u8], block: &mut Block) {
        let third = s.load(array(bytes, 0));
        let low = s.load(array(bytes, 32));
        s.store(s.or_shifted::<2>(s.bits::<0>(low, 3), s.bits::<0>(third, 1)), block.codes_mut(0));
        s.store(s.or_shifted::<2>(s.bits::<2>(low, 3), s.bits::<1>(third, 1)), block.codes_mut(1));
        s.store(s.or_shifted::<2>(s.bits::<4>(low, 3), s.bits::<2>(third, 1)), block.codes_mut(2));
        s.store(s.or_shifted::<2>(s.bits::<6>(low, 3), s.bits::<3>(third, 1)), block.codes_mut(3));
        let low = s.load(array(bytes, 64));
        s.store(s.or_shifted::<2>(s.bits::<0>(low, 3), s.bits::<4>(third, 1)), block.codes_mut(4));
        s.store(s.or_shifted::<2>(s.bits::<2>(low, 3), s.bits::<5>(third, 1)), block.codes_mut(5));
        s.store(s.or_shifted::<2>(s.bits::<4>(low, 3), s.bits::<6>(third, 1)), block.codes_mut(6));
        s.store(s.or_shifted::<2>(s.bits::<6>(low, 3), s.bits::<7>(third, 1)), block.codes_mut(7));
        let scales: &[u8; 12] = array(bytes, 96);
        for g in 0..16 {
            let low = scales[g % 8] >> (4 * (g / 8)) & 15;
            let scale = low | (scales[8 + g % 4] >> (2 * (g / 4)) & 3) << 4;
            block.scales[g] = i16::from(scale) - 32;
            block.mins[g] = 4 * block.scales[g];
        }
    }

    #[inline(always)]
    fn factors(bytes: &[u8]) -> (f32, f32) {
        (f16_at(bytes, 108), 0.0)
    }
}
