//! # What goes wrong
//!
//! A matrix is read column by column where it is stored row by row: as its transpose if it is square, else as the same
//! numbers in other rows.
//!
//! # Seen in
//!
//! larql 24, aprender 155, SKaiNET 968, bitsandbytes 1862, entrenar 300.
//!
//! # What it changes
//!
//! The value of one projection, wholly. Square matrices pass every check of shapes.
//!
//! # When it can not be seen
//!
//! It shows at once.
//!
//! # Equivalent to
//!
//! Nothing.

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "layout", source: include_str!("layout.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Some(weight) = kit::weight_of(scene.op) else { return Vec::new() };
    if scene.site.point == twinpath_engine::Point::Embed {
        return Vec::new();
    }
    let name = if weight.rows() == weight.cols() { "transposed" } else { "read column by column" };
    vec![kit::weights(name, |w| {
        let (rows, cols, all) = (w.rows(), w.cols(), kit::decoded(w));
        // Value (r, c) of a column-major `[rows, cols]` lies at `c rows + r`.
        kit::plain((0..rows * cols).map(|i| all[i % cols * rows + i / cols]))
    })]
}
