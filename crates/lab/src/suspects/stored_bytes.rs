//! # What goes wrong
//!
//! One byte in a row of weights is another than in the model: a damaged file, a bad memory cell, a tensor that somebody
//! edited, one scale or code that was packed wrongly.
//!
//! # Seen in
//!
//! Damaged downloads, which checksums of whole files find; llama.cpp 6884 (invalid blocks are looked for when a file is
//! loaded, wrong ones that are valid cannot be).
//!
//! # What it changes
//!
//! One output channel, or a few, at all positions.
//!
//! # When it can not be seen
//!
//! On one position many bytes would do, and none is named. A byte that moves nothing beyond rounding is not seen at all.
//!
//! # Equivalent to
//!
//! Nothing. The byte is searched for: it is the one that leaves least of the residual.

use twinpath_engine::{Op, Tensor};
use twinpath_formats::Matrix;
use twinpath_paths::declared::SIGMA;
use twinpath_paths::declared::blame::{self, Seen};

use super::{Found, Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "stored-bytes", source: include_str!("stored_bytes.rs"), changes };

/// Rows with another byte that are searched for; more are another mistake.
const MOST_ROWS: usize = 4;

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let (Op::Linear { weight, .. }, [x]) = (*scene.op, scene.inputs) else { return Vec::new() };
    let edits = match scene.found {
        // Without values to search in: the middle of a block, where every format has codes.
        None => {
            let at = weight.rows() / 2 * weight.row_bytes() + weight.format().block_bytes() / 2;
            Some(vec![(at, weight.bytes()[at] ^ 8)])
        }
        Some(found) => search(weight, x, &found),
    };
    edits.into_iter().map(|edits| edited(&weight, edits)).collect()
}

/// Place in the tensor and value of the bytes that explain every wrong row.
fn search(weight: Matrix<'_>, x: &Tensor<f32>, found: &Found<'_>) -> Option<Vec<(usize, u8)>> {
    let own = &found.own.declared;
    let residual = |i: usize| f64::from(found.value.data()[i]) - own.value[i];
    let wrong = |row: &usize| {
        (0..own.rows).map(|t| t * own.cols + row).any(|i| residual(i).abs() > 8.0 * SIGMA * own.spread[i])
    };
    let rows: Vec<usize> = (0..own.cols).filter(wrong).take(MOST_ROWS + 1).collect();
    if rows.is_empty() || rows.len() > MOST_ROWS {
        return None;
    }
    let one = |row: &usize| {
        let at = |t: usize| t * own.cols + row;
        let seen = |t: usize| Seen { x: x.row(t), residual: residual(at(t)), spread: own.spread[at(t)] };
        let seen: Vec<Seen<'_>> = (0..own.rows).map(seen).collect();
        let byte = blame::byte(weight, found.reading, *row, &seen)?;
        Some((row * weight.row_bytes() + byte.at, byte.value))
    };
    rows.iter().map(one).collect()
}

fn edited(weight: &Matrix<'_>, edits: Vec<(usize, u8)>) -> Change {
    let named: Vec<String> =
        edits.iter().map(|(at, value)| format!("byte {at} is {value}, not {}", weight.bytes()[*at])).collect();
    kit::weights(named.join("; "), move |w| {
        let mut bytes = w.bytes().to_vec();
        edits.iter().for_each(|(at, value)| bytes[*at] = *value);
        (w.tensor_type(), bytes)
    })
}
