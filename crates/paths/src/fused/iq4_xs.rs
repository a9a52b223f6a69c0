//! IQ4_XS: the table of IQ4_NL, 8 groups of 32.

use twinpath_formats::TensorType;

use super::{Block, Bytes, Form, Packed, array, f16_at, iq4_nl::VALUES_PLUS_128};
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
        let high = u16::from_le_bytes(*array(bytes, 2));
        let low: &[u8; 4] = array(bytes, 4);
        for group in 0..8 {
            let q = s.nibbles(array(bytes, 8 + 16 * group));
            s.store(s.lookup(&VALUES_PLUS_128, q), block.codes_mut(group));
            let scale =
                i16::from(low[group / 2] >> (4 * (group % 2)) & 15) | ((high >> (2 * group) & 3) << 4).cast_signed();
            block.scales[group] = scale - 32;
            block.mins[group] = 128 * (scale - 32);
        }
    }

    #[inline(always)]
    fn factors(bytes: &[u8]) -> (f32, f32) {
        (f16_at(bytes, 0), 0.0)
    }
}
