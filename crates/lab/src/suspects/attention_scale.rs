//! # What goes wrong
//!
//! Attention scores are scaled by another number than 1/√(head dimension): by none, by 1/head dimension, twice, or by the
//! root of another width.
//!
//! # Seen in
//!
//! llama.cpp 8444 (head dimension 256 for a query scale of 224) and 13951.
//!
//! # What it changes
//!
//! All attention scores, by one factor.
//!
//! # When it can not be seen
//!
//! In the probabilities of a single key, which are 1 whatever the score.
//!
//! # Equivalent to
//!
//! A factor on queries or keys. Where no usual number fits, the factor is fitted.

use twinpath_engine::Op;

use super::{Scene, Suspect, kit};
use crate::change::{Change, rows};

pub(super) const SUSPECT: Suspect =
    Suspect { name: "attention-scale", source: include_str!("attention_scale.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Scores { scale, .. } = *scene.op else { return Vec::new() };
    let c = scene.model.config();
    let dim = c.head_dim as f64;
    let mut all = vec![
        ("not scaled".to_owned(), 1.0),
        ("1 / head dimension".to_owned(), 1.0 / dim),
        ("1 / sqrt(hidden / heads)".to_owned(), 1.0 / (c.hidden as f64 / c.heads as f64).sqrt()),
        ("1 / sqrt(hidden)".to_owned(), 1.0 / (c.hidden as f64).sqrt()),
        ("1 / sqrt(head dimension / 2)".to_owned(), 1.0 / (dim / 2.0).sqrt()),
        ("1 / sqrt(2 head dimension)".to_owned(), 1.0 / (dim * 2.0).sqrt()),
    ];
    if let Some(factor) = kit::factor(scene) {
        all.push((format!("{} times as large", kit::word(factor)), scale * factor));
    }
    all.retain(|(_, s)| (s / scale - 1.0).abs() > 1e-9);
    all.into_iter().map(|(name, scale)| to(name, scale)).collect()
}

fn to(name: String, scale: f64) -> Change {
    Change::op(name, move |op, x, then| match *op {
        Op::Scores { heads, kv_heads, .. } => then(0..x[0].rows(), &Op::Scores { heads, kv_heads, scale }, x),
        _ => then(0..rows(op, x), op, x),
    })
}
