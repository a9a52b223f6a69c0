//! # What goes wrong
//!
//! Keys and values are kept in the cache as f16, bf16, or in 8 bits with one scale per 32.
//!
//! # Seen in
//!
//! llama.cpp 23044 (gibberish for some head sizes and types).
//!
//! # What it changes
//!
//! Attention scores and mixed values, by the rounding of keys and values.
//!
//! # When it can not be seen
//!
//! It shows at once. It is a loss of precision that most engines choose, not an error of the mathematics.
//!
//! # Equivalent to
//!
//! What an engine with such a cache declares.

use twinpath_engine::{Op, Tensor};

use super::{Scene, Suspect, kit};
use crate::change::{Change, Narrow};

pub(super) const SUSPECT: Suspect = Suspect { name: "cache-type", source: include_str!("cache_type.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let (Op::Scores { .. } | Op::Mix { .. }) = scene.op else { return Vec::new() };
    let narrow =
        |n: Narrow| kit::on_second(format!("in {}", n.name()), move |x| kit::each(x, |x| n.round(f64::from(x)) as f32));
    let mut all: Vec<Change> = Narrow::ALL.into_iter().map(narrow).collect();
    if scene.inputs[1].cols().is_multiple_of(32) {
        all.push(kit::on_second("in Q8_0", q8_0));
    }
    all
}

/// Coded as Q8_0 and decoded: `d = max |x| / 127` as f16, codes `round(x 127 / max |x|)`.
fn q8_0(x: &Tensor<f32>) -> Tensor<f32> {
    let mut coded = x.clone();
    for block in coded.data_mut().chunks_exact_mut(32) {
        let scale = block.iter().fold(0.0f32, |m, x| m.max(x.abs())) / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let d = half::f16::from_f32(scale).to_f32();
        block.iter_mut().for_each(|x| *x = (*x * inverse).round() * d);
    }
    coded
}
