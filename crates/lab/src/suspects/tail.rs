//! # What goes wrong
//!
//! A kernel leaves out the end of each row: what remains after its last full step, or the last sub-block or block.
//!
//! # Seen in
//!
//! llama.cpp 12657, 19561 and 21548; ik_llama.cpp 2224.
//!
//! # What it changes
//!
//! One kind of projection, by the part of each sum that is lost; only where the width is no whole number of steps.
//!
//! # When it can not be seen
//!
//! At other widths; where the last activations are 0.
//!
//! # Equivalent to
//!
//! Weights of 0 there.

use twinpath_engine::{Op, Point};
use twinpath_formats::TensorType;

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "tail", source: include_str!("tail.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let (Op::Linear { weight, .. }, true) = (scene.op, scene.site.point != Point::Embed) else { return Vec::new() };
    let cols = weight.cols();
    let unit = unit(weight.tensor_type());
    let lost = [1, 4, 8, 16, 32, 64, 128, 256].into_iter().filter(|n| *n < cols && n.is_multiple_of(unit));
    lost.map(|n| without(format!("last {n} of {cols} columns left out"), cols - n)).collect()
}

/// Columns that stored weights can be made 0 by.
fn unit(tensor_type: TensorType) -> usize {
    use TensorType::{BF16, F16, F32, Q4K, Q5K, Q6K, Q8_0};
    match tensor_type {
        F32 | F16 | BF16 | Q8_0 => 1,
        Q6K => 16,
        Q4K | Q5K => 32,
        other => other.format().block_len(),
    }
}

/// Weights of 0 from column `from` on.
fn without(name: String, from: usize) -> Change {
    kit::weights(name, move |w| {
        let (mut bytes, n) = (w.bytes().to_vec(), w.format().block_len());
        for row in bytes.chunks_exact_mut(w.row_bytes()) {
            for (b, block) in row.chunks_exact_mut(w.format().block_bytes()).enumerate() {
                clear(w.tensor_type(), block, from.saturating_sub(b * n).min(n));
            }
        }
        (w.tensor_type(), bytes)
    })
}

/// Makes the values of a block from `from` on 0.
fn clear(tensor_type: TensorType, block: &mut [u8], from: usize) {
    match tensor_type {
        TensorType::Q8_0 => block[2 + from..].fill(0),
        TensorType::Q6K => block[192 + from / 16..208].fill(0),
        TensorType::Q4K | TensorType::Q5K => (from / 32..8).for_each(|g| clear_six(&mut block[4..16], g)),
        _ if from == 0 => block.fill(0),
        _ => {}
    }
}

/// Makes the 6-bit scale and minimum of group `g` 0.
fn clear_six(packed: &mut [u8], g: usize) {
    if g < 4 {
        packed[g] &= 0xc0;
        packed[4 + g] &= 0xc0;
    } else {
        packed[4 + g] = 0;
        packed[g - 4] &= 63;
        packed[g] &= 63;
    }
}
