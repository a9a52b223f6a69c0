//! # What goes wrong
//!
//! Scores or logits are capped, `c tanh(s / c)`, by an engine made for a family that asks for it; or a cap is left out.
//!
//! # Seen in
//!
//! llama.cpp 8197 (Gemma 2) and 21390 (key never read), ollama 5341, vllm-metal 665, candle-vllm 84 and 86.
//!
//! # What it changes
//!
//! Large attention scores or logits; small ones hardly.
//!
//! # When it can not be seen
//!
//! Where all are far below the cap: a score of c/100 moves by 3e-5 of itself.
//!
//! # Equivalent to
//!
//! Nothing. The order of tokens by their logits stays.

use twinpath_engine::Point;

use super::{Scene, Suspect};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "softcap", source: include_str!("softcap.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let (Point::AttnScores | Point::Logits) = scene.site.point else { return Vec::new() };
    [50.0, 30.0, 20.0, 15.0].map(|c: f64| Change::map(format!("cap {c}"), move |s| c * libm::tanh(s / c))).into()
}
