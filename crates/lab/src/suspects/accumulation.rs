//! # What goes wrong
//!
//! Sums are kept in f16 or bf16 as they grow. In f16 a partial sum beyond 65504 becomes infinite.
//!
//! # Seen in
//!
//! llama.cpp 7805 and 8412, 22571 (f16 side sums of activations), transformers 33317.
//!
//! # What it changes
//!
//! Projections, scores and mixed values, by errors that look random and grow with the length of the sum.
//!
//! # When it can not be seen
//!
//! Sums of a few terms. What order the terms were added in cannot be told, so the errors are judged by their size alone.
//!
//! # Equivalent to
//!
//! Any other error of that size without a pattern: this is the last suspect to be named.

use twinpath_engine::Op;

use super::{Scene, Suspect};
use crate::change::{Change, Narrow};

pub(super) const SUSPECT: Suspect = Suspect { name: "accumulation", source: include_str!("accumulation.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let (Op::Linear { .. } | Op::Scores { .. } | Op::Mix { .. }) = scene.op else { return Vec::new() };
    Narrow::ALL.into_iter().map(|narrow| Change::sums(format!("sums in {}", narrow.name()), narrow)).collect()
}
