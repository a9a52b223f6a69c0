//! # What goes wrong
//!
//! The factor on cosine and sine that YaRN asks for is left out or applied twice.
//!
//! # Seen in
//!
//! llama.cpp 17945 and 7118, transformers 47435, onnxruntime's mobius 548.
//!
//! # What it changes
//!
//! Queries and keys after RoPE, all by one factor, at every position; attention scores by its square.
//!
//! # When it can not be seen
//!
//! Where the model asks for a factor of 1.
//!
//! # Equivalent to
//!
//! Another attention scale, by the square of the factor.

use twinpath_engine::{Op, Rope};

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect =
    Suspect { name: "rope-magnitude", source: include_str!("rope_magnitude.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Rope { rope, .. } = *scene.op else { return Vec::new() };
    if rope.magnitude == 1.0 {
        return Vec::new();
    }
    let with = |name: &str, magnitude| kit::rope(name, Rope { magnitude, ..rope.clone() });
    let m = rope.magnitude;
    vec![with("left out", 1.0), with("applied twice", m * m), with("inverted", 1.0 / m)]
}
