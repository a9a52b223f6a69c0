//! # What goes wrong
//!
//! Values are kept in f16 or bf16 where f32 is declared. In f16 what exceeds 65504 becomes infinite.
//!
//! # Seen in
//!
//! llama.cpp 7805 and 8412 (f16 attention scores, an endless row of G), transformers 33317 (f16 NaN; bf16: perplexity
//! 7.9967 for 7.138), llama.cpp 22571.
//!
//! # What it changes
//!
//! Every value, by at most 2^-12 of itself in f16, 2^-9 in bf16.
//!
//! # When it can not be seen
//!
//! It shows at once. Whether it matters is another question: it is a loss of precision, not an error of the mathematics.
//!
//! # Equivalent to
//!
//! What an engine of that type declares.

use super::{Scene, Suspect};
use crate::change::{Change, Narrow};

pub(super) const SUSPECT: Suspect = Suspect { name: "number-type", source: include_str!("number_type.rs"), changes };

fn changes(_: &Scene<'_>) -> Vec<Change> {
    Narrow::ALL.into_iter().map(|narrow| Change::round(format!("kept in {}", narrow.name()), narrow)).collect()
}
