//! # What goes wrong
//!
//! The packed 6-bit scales and minimums of Q4_K and Q5_K are taken apart wrongly: the high bits of groups 4 to 7 are lost,
//! the low four taken from the wrong half of a byte, scales and minimums exchanged, minimums lost or added.
//!
//! # Seen in
//!
//! aprender 2141 (-6060.97 for 11847.88), larql 24.
//!
//! # What it changes
//!
//! Every projection and embedding of such weights; with lost high bits only groups 4 to 7 of each block.
//!
//! # When it can not be seen
//!
//! Where scales are small enough to have no high bits.
//!
//! # Equivalent to
//!
//! Nothing.

use twinpath_formats::TensorType;

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "scale-bits", source: include_str!("scale_bits.rs"), changes };

/// Changes one block. d is in bytes 0 and 1, dmin in 2 and 3, the packed numbers in 4 to 15.
type Edit = fn(&mut [u8]);

/// The ways in which the twelve bytes are misread.
const WAYS: [(&str, Edit); 7] = [
    ("high bits of groups 4 to 7 lost", |b| b[4..12].iter_mut().for_each(|b| *b &= 63)),
    ("high bits of scales 4 to 7 lost", |b| b[4..8].iter_mut().for_each(|b| *b &= 63)),
    ("scale and minimum of groups 4 to 7 exchanged", |b| b[12..16].iter_mut().for_each(|b| *b = b.rotate_left(4))),
    ("scales and minimums exchanged", |b| {
        (4..8).for_each(|i| b.swap(i, i + 4));
        b[12..16].iter_mut().for_each(|b| *b = b.rotate_left(4));
    }),
    ("d and dmin exchanged", |b| {
        b.swap(0, 2);
        b.swap(1, 3);
    }),
    ("minimums left out", |b| b[2..4].fill(0)),
    ("minimums added, not subtracted", |b| b[3] ^= 0x80),
];

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Some(weight) = kit::weight_of(scene.op) else { return Vec::new() };
    match weight.tensor_type() {
        TensorType::Q4K | TensorType::Q5K => WAYS.iter().map(|(name, edit)| of(name, *edit)).collect(),
        TensorType::Q6K => vec![
            of("scales taken as unsigned below 128", |b| b[192..208].iter_mut().for_each(|b| *b &= 127)),
            of("scales of every other group", |b| (0..8).for_each(|i| b[192 + 2 * i + 1] = b[192 + 2 * i])),
        ],
        _ => Vec::new(),
    }
}

fn of(name: &str, edit: Edit) -> Change {
    kit::weights(name, move |w| {
        let mut bytes = w.bytes().to_vec();
        bytes.chunks_exact_mut(w.format().block_bytes()).for_each(edit);
        (w.tensor_type(), bytes)
    })
}
