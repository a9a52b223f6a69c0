//! # What goes wrong
//!
//! Rows of a matrix are taken from the wrong place: each begins one block, or one row, too late or too early, or every
//! other row is read.
//!
//! # Seen in
//!
//! larql 24 (144 for 148 bytes of a block), ik_llama.cpp 2437, vLLM 2622.
//!
//! # What it changes
//!
//! The value of one projection, wholly; off by one row, the same values one place further.
//!
//! # When it can not be seen
//!
//! It shows at once.
//!
//! # Equivalent to
//!
//! Off by one row is another order of the rows.

use twinpath_formats::Matrix;

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "stride", source: include_str!("stride.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    if kit::weight_of(scene.op).is_none() {
        return Vec::new();
    }
    let turned = |name: &str, by: fn(&Matrix<'_>) -> usize, back: bool| {
        kit::weights(name, move |w| {
            let mut bytes = w.bytes().to_vec();
            let by = by(w) % bytes.len().max(1);
            if back {
                bytes.rotate_right(by)
            } else {
                bytes.rotate_left(by)
            }
            (w.tensor_type(), bytes)
        })
    };
    let block = |w: &Matrix<'_>| w.format().block_bytes();
    let row = |w: &Matrix<'_>| w.row_bytes();
    vec![
        turned("one block late", block, false),
        turned("one block early", block, true),
        turned("one row late", row, false),
        turned("one row early", row, true),
        kit::weights("every other row", |w| {
            let n = w.rows();
            (w.tensor_type(), (0..n).flat_map(|i| w.row(2 * i % n).iter().copied()).collect())
        }),
    ]
}
