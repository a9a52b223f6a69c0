//! Q3_K: 3-bit codes around 4, 16 groups of 16.

use twinpath_formats::TensorType;

use super::{Block, Bytes, Form, Packed, array, u16_at};
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
        let scales = scales(array(bytes, 96));
        s.widen(scales, 32, 1, &mut block.scales);
        s.widen(scales, 32, 4, &mut block.mins);
    }

    #[inline(always)]
    fn factors<S: Bytes>(s: S, bytes: &[u8]) -> (f32, f32) {
        (s.half(u16_at(bytes, 108)), 0.0)
    }
}

/// The sixteen 6-bit scales in 12 bytes, one per byte: bytes 0..8 hold the low nibbles of the first eight and, above them,
/// of the last eight; byte `8 + j` holds the upper bit pairs of scales `j`, `j + 4`, `j + 8` and `j + 12`.
#[inline(always)]
fn scales(packed: &[u8; 12]) -> [u64; 2] {
    let words = packed.as_chunks::<4>().0;
    let [a, b, c] = [0, 1, 2].map(|i| u32::from_le_bytes(words[i]));
    let (nibbles, pairs) = (0x0f0f_0f0f, 0x3030_3030);
    let words = [
        a & nibbles | c << 4 & pairs,
        b & nibbles | c << 2 & pairs,
        a >> 4 & nibbles | c & pairs,
        b >> 4 & nibbles | c >> 2 & pairs,
    ];
    [0, 2].map(|i| u64::from(words[i]) | u64::from(words[i + 1]) << 32)
}
