//! The catalogue of known mistakes of inference engines, one file each.
//!
//! The text at the head of a suspect's file is its page for users. A suspect says, for an op at a site, in which ways an
//! engine might do it wrongly; each way is a [`Change`]. `diagnose` asks of each whether it explains what was recorded,
//! and the same changes can be planted.

mod accumulation;
mod activation;
mod activation_coding;
mod attention_scale;
mod bias;
mod bos;
mod cache_type;
mod embedding_scale;
mod gate_up;
mod head_mapping;
mod head_rows;
mod head_tie;
mod kit;
mod layout;
mod nibbles;
mod norm_eps;
mod norm_offset;
mod norm_order;
mod number_type;
mod other_layer;
mod other_tensor;
mod position_offset;
mod residual;
mod rope_dims;
mod rope_magnitude;
mod rope_pairing;
mod rope_precision;
mod rope_scaling;
mod rope_theta;
mod row_order;
mod scale_bits;
mod softcap;
mod stored_bytes;
mod stride;
mod tail;
mod weight_type;
mod window;

use twinpath_engine::{Model, Op, Site, Tensor};
use twinpath_paths::declared::Reading;
use twinpath_paths::declared::foreign::AnyOrder;

use crate::change::Change;
pub(crate) use row_order::order;

/// A known mistake.
pub struct Suspect {
    /// Its name on the command line.
    pub name: &'static str,
    source: &'static str,
    changes: fn(&Scene<'_>) -> Vec<Change>,
}

/// Every suspect. Of several that explain a site, the first is named: those that say most come first.
pub const SUSPECTS: &[Suspect] = &[
    bos::SUSPECT,
    rope_pairing::SUSPECT,
    rope_theta::SUSPECT,
    rope_scaling::SUSPECT,
    rope_dims::SUSPECT,
    rope_magnitude::SUSPECT,
    position_offset::SUSPECT,
    rope_precision::SUSPECT,
    head_rows::SUSPECT,
    bias::SUSPECT,
    norm_eps::SUSPECT,
    norm_offset::SUSPECT,
    norm_order::SUSPECT,
    activation::SUSPECT,
    gate_up::SUSPECT,
    head_mapping::SUSPECT,
    attention_scale::SUSPECT,
    softcap::SUSPECT,
    window::SUSPECT,
    embedding_scale::SUSPECT,
    residual::SUSPECT,
    head_tie::SUSPECT,
    layout::SUSPECT,
    stride::SUSPECT,
    scale_bits::SUSPECT,
    nibbles::SUSPECT,
    tail::SUSPECT,
    other_layer::SUSPECT,
    other_tensor::SUSPECT,
    row_order::SUSPECT,
    stored_bytes::SUSPECT,
    number_type::SUSPECT,
    activation_coding::SUSPECT,
    weight_type::SUSPECT,
    cache_type::SUSPECT,
    accumulation::SUSPECT,
];

/// Headings of a suspect's page, in order.
pub const HEADINGS: &[&str] =
    &["What goes wrong", "Seen in", "What it changes", "When it can not be seen", "Equivalent to"];

/// An op about to be done wrongly.
#[derive(Clone, Copy)]
pub struct Scene<'s> {
    /// The model that is believed.
    pub model: &'s Model,
    /// Where.
    pub site: Site,
    /// The op as the model says it.
    pub op: &'s Op<'s>,
    /// Its inputs.
    pub inputs: &'s [&'s Tensor<f32>],
    /// What was made of them, where something was recorded: parameters are fitted to it.
    pub found: Option<Found<'s>>,
    /// In which order the hidden channels of this layer's feed-forward were recorded, where that is another one.
    pub channels: Option<&'s [usize]>,
}

/// What was recorded, and what should have been.
#[derive(Clone, Copy)]
pub struct Found<'s> {
    /// As recorded.
    pub value: &'s Tensor<f32>,
    /// As declared.
    pub own: &'s AnyOrder,
    /// How activations were read, of a linear op.
    pub reading: Reading,
}

impl Suspect {
    /// The suspect of this name.
    pub fn find(name: &str) -> Option<&'static Suspect> {
        SUSPECTS.iter().find(|s| s.name == name)
    }

    /// The ways in which it might have happened at a scene; none where it cannot.
    pub fn changes(&self, scene: &Scene<'_>) -> Vec<Change> {
        (self.changes)(scene)
    }

    /// Its page: the text at the head of its file.
    pub fn page(&self) -> String {
        let lines = self.source.lines().map_while(|line| line.strip_prefix("//!"));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned() + "\n").collect()
    }

    /// The text under one heading of its page.
    pub fn section(&self, heading: &str) -> String {
        let page = self.page();
        let body = page.lines().skip_while(|line| line.strip_prefix("# ") != Some(heading)).skip(1);
        let body = body.take_while(|line| !line.starts_with("# ")).collect::<Vec<_>>().join(" ");
        body.trim().to_owned()
    }
}
