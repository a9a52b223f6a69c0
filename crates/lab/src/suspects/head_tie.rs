//! # What goes wrong
//!
//! The head is taken to be the embedding where the model has one of its own; or the embedding to be the head.
//!
//! # Seen in
//!
//! tinygrad 13796, sglang 1508, transformers 43429, llama.cpp 5824, mistral.rs 798.
//!
//! # What it changes
//!
//! Logits, or embeddings. All that lies between is right.
//!
//! # When it can not be seen
//!
//! Where the model's head is its embedding.
//!
//! # Equivalent to
//!
//! Nothing.

use twinpath_engine::Point;

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "head-tie", source: include_str!("head_tie.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    if scene.model.tied() {
        return Vec::new();
    }
    match scene.site.point {
        Point::Logits => vec![kit::replaced("the embedding for the head", scene.model.embedding().weight, None)],
        Point::Embed => vec![kit::replaced("the head for the embedding", scene.model.head().weight, None)],
        _ => Vec::new(),
    }
}
