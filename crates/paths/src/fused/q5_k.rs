//! Q5_K: 5-bit codes above a minimum, 8 groups of 32.

use twinpath_formats::TensorType;

use super::{Block, Bytes, Form, Packed, array, q4_k::scales_and_mins, u16_at};
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
    fn unpack<S: Bytes>(s: S, bytes: &[u8], block: &mut Block) {
        let fifth = s.load(array(bytes, 16));
        let q = s.load(array(bytes, 48));
        s.store(s.or_shifted::<4>(s.bits::<0>(q, 15), s.bits::<0>(fifth, 1)), block.codes_mut(0));
        s.store(s.or_shifted::<4>(s.bits::<4>(q, 15), s.bits::<1>(fifth, 1)), block.codes_mut(1));
        let q = s.load(array(bytes, 80));
        s.store(s.or_shifted::<4>(s.bits::<0>(q, 15), s.bits::<2>(fifth, 1)), block.codes_mut(2));
        s.store(s.or_shifted::<4>(s.bits::<4>(q, 15), s.bits::<3>(fifth, 1)), block.codes_mut(3));
        let q = s.load(array(bytes, 112));
        s.store(s.or_shifted::<4>(s.bits::<0>(q, 15), s.bits::<4>(fifth, 1)), block.codes_mut(4));
        s.store(s.or_shifted::<4>(s.bits::<4>(q, 15), s.bits::<5>(fifth, 1)), block.codes_mut(5));
        let q = s.load(array(bytes, 144));
        s.store(s.or_shifted::<4>(s.bits::<0>(q, 15), s.bits::<6>(fifth, 1)), block.codes_mut(6));
        s.store(s.or_shifted::<4>(s.bits::<4>(q, 15), s.bits::<7>(fifth, 1)), block.codes_mut(7));
        scales_and_mins(s, array(bytes, 4), block);
    }

    #[inline(always)]
    fn factors<S: Bytes>(s: S, bytes: &[u8]) -> (f32, f32) {
        (s.half(u16_at(bytes, 0)), s.half(u16_at(bytes, 2)))
    }
}
