//! Q4_K: 4-bit codes above a minimum, 8 groups of 32.

use twinpath_formats::TensorType;

use super::{Block, Bytes, Form, Packed, array, u16_at};
use crate::q8::{Q8_K_BLOCK, Shape};

/// d, dmin (f16), 12 of scales and minimums, 128 of codes: each 32 bytes hold one group in their low nibbles and the next
/// in their high ones.
pub(super) struct Q4K;

impl Packed for Q4K {
    const TYPE: TensorType = TensorType::Q4K;
    const BYTES: usize = 144;
    const SHAPE: Shape = Shape { block: Q8_K_BLOCK, group: 32 };
    const FORM: Form = Form::MinusMin;
    const TOP: u8 = 15;

    #[inline(always)]
    fn unpack<S: Bytes>(s: S, bytes: &[u8], block: &mut Block) {
        for pair in 0..4 {
            let q = s.load(array(bytes, 16 + 32 * pair));
            s.store(s.bits::<0>(q, 15), block.codes_mut(2 * pair));
            s.store(s.bits::<4>(q, 15), block.codes_mut(2 * pair + 1));
        }
        scales_and_mins(s, array(bytes, 4), block);
    }

    #[inline(always)]
    fn factors<S: Bytes>(s: S, bytes: &[u8]) -> (f32, f32) {
        (s.half(u16_at(bytes, 0)), s.half(u16_at(bytes, 2)))
    }
}

/// The eight 6-bit scales and minimums that Q4_K and Q5_K pack into 12 bytes: the first four of each are the low six bits of
/// bytes 0..8, the last four have their low bits in bytes 8..12 and their upper two on top of bytes 0..8.
#[inline(always)]
pub(super) fn scales_and_mins<S: Bytes>(s: S, packed: &[u8; 12], block: &mut Block) {
    let words = packed.as_chunks::<4>().0;
    let [a, b, c] = [0, 1, 2].map(|i| u32::from_le_bytes(words[i]));
    let scales = [a & 0x3f3f_3f3f, c & 0x0f0f_0f0f | a >> 2 & 0x3030_3030].map(u64::from);
    let mins = [b & 0x3f3f_3f3f, c >> 4 & 0x0f0f_0f0f | b >> 2 & 0x3030_3030].map(u64::from);
    s.widen([scales[0] | scales[1] << 32, 0], 0, 1, &mut block.scales);
    s.widen([mins[0] | mins[1] << 32, 0], 0, 1, &mut block.mins);
}
