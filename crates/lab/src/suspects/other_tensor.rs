//! # What goes wrong
//!
//! Another tensor of the same layer and shape is used: keys for values, queries for the output projection, where fused
//! tensors are split at the wrong places.
//!
//! # Seen in
//!
//! A mistake of splitters of fused tensors; candle 2358 and vLLM 2622 are related (weights corrupted without a word).
//!
//! # What it changes
//!
//! The value of one projection, wholly.
//!
//! # When it can not be seen
//!
//! It shows at once.
//!
//! # Equivalent to
//!
//! Nothing.

use super::other_layer::{from, tensor};
use super::{Scene, Suspect};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "other-tensor", source: include_str!("other_tensor.rs"), changes };

/// Tensors of a layer that may be of one shape. Gate and up have a file of their own, as have norms.
const SAME: [&str; 4] = ["attn_q", "attn_k", "attn_v", "attn_output"];

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let (Some(layer), Some(own)) = (scene.site.layer, tensor(scene.site.point)) else { return Vec::new() };
    if !SAME.contains(&own) {
        return Vec::new();
    }
    let others = SAME.into_iter().filter(|other| *other != own);
    others.filter_map(|other| from(scene.model, scene.op, &format!("blk.{layer}.{other}"))).collect()
}
