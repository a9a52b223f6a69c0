//! IQ4_XS: the table of IQ4_NL, 8 groups of 32.

use twinpath_formats::TensorType;

use super::{Block, Bytes, Form, Packed, array, iq4_nl::VALUES_PLUS_128, u16_at};
use crate::q8::{Q8_K_BLOCK, Shape};

/// d (f16), 8 upper bit pairs of the scales (u16), 4 of their low nibbles, 16 of codes per group. Scales are stored plus 32.
pub(super) struct Iq4Xs;

impl Packed for Iq4Xs {
    const TYPE: TensorType = TensorType::IQ4XS;
    const BYTES: usize = 136;
    const SHAPE: Shape = Shape { block: Q8_K_BLOCK, group: 32 };
    const FORM: Form = Form::Offset;
    const TOP: u8 = 241;

    #[inline(always)]
    fn unpack<S: Bytes>(s: S, bytes: &[u8], block: &mut Block) {
        for group in 0..8 {
            let q = s.nibbles(array(bytes, 8 + 16 * group));
            s.store(s.lookup(&VALUES_PLUS_128, q), block.codes_mut(group));
        }
        let scales = [scales(u16_at(bytes, 2), u32::from_le_bytes(*array(bytes, 4))), 0];
        s.widen(scales, 32, 1, &mut block.scales);
        s.widen(scales, 32, 128, &mut block.mins);
    }

    #[inline(always)]
    fn factors<S: Bytes>(s: S, bytes: &[u8]) -> (f32, f32) {
        (s.half(u16_at(bytes, 0)), 0.0)
    }
}

/// Eight 6-bit scales, one per byte, from their upper bit pairs and their low nibbles.
#[inline(always)]
fn scales(high: u16, low: u32) -> u64 {
    let low = u64::from(low);
    let low = (low | low << 16) & 0x0000_ffff_0000_ffff;
    let low = (low | low << 8) & 0x00ff_00ff_00ff_00ff;
    let low = (low | low << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let high = u64::from(high);
    let high = (high | high << 24) & 0x0000_00ff_0000_00ff;
    let high = (high | high << 12) & 0x000f_000f_000f_000f;
    let high = (high | high << 6) & 0x0303_0303_0303_0303;
    low | high << 4
}
