//! # What goes wrong
//!
//! Weights are decoded to f16 or bf16 where they are multiplied as they are, or as f32.
//!
//! # Seen in
//!
//! transformers 33317; engines that dequantise when they load.
//!
//! # What it changes
//!
//! Every projection, by the rounding of its weights, about 2^-12 or 2^-9 of the values' size.
//!
//! # When it can not be seen
//!
//! Where the weights have that type.
//!
//! # Equivalent to
//!
//! What such an engine declares.

use twinpath_formats::TensorType;

use super::{Scene, Suspect, kit};
use crate::change::{Change, Narrow};

pub(super) const SUSPECT: Suspect = Suspect { name: "weight-type", source: include_str!("weight_type.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Some(weight) = kit::weight_of(scene.op) else { return Vec::new() };
    let to = |narrow: Narrow| {
        kit::weights(format!("decoded to {}", narrow.name()), move |w| {
            kit::plain(kit::decoded(w).into_iter().map(|x| narrow.round(x)))
        })
    };
    let own = weight.tensor_type();
    let kinds = Narrow::ALL.into_iter().filter(|n| match n {
        Narrow::F16 => own != TensorType::F16,
        Narrow::BF16 => own != TensorType::BF16,
    });
    let mut all: Vec<Change> = kinds.map(to).collect();
    if own.format().block_len() > 1 {
        all.push(kit::weights("decoded to f32", |w| kit::plain(kit::decoded(w).into_iter())));
    }
    all
}
