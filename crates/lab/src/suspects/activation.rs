//! # What goes wrong
//!
//! The feed-forward uses another activation: GELU (exact or by tanh), its sigmoid approximation, ReLU, or none, for SiLU.
//!
//! # Seen in
//!
//! candle 3745 and 3747 (SiLU for GELU-tanh), transformers 29402, gemma_pytorch 37, vLLM 3411 and 41574, mlc-llm 2106,
//! Megatron-Bridge 4661.
//!
//! # What it changes
//!
//! The activated gate, most where it is near -2 and 2.
//!
//! # When it can not be seen
//!
//! It shows at once; between the two kinds of GELU the difference is at most 5e-4.
//!
//! # Equivalent to
//!
//! Nothing.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use twinpath_engine::Op;

use super::{Scene, Suspect};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "activation", source: include_str!("activation.rs"), changes };

type Function = fn(f64) -> f64;

/// What stands for SiLU.
const OTHERS: [(&str, Function); 7] = [
    ("GELU (erf)", |x| 0.5 * x * (1.0 + libm::erf(x * FRAC_1_SQRT_2))),
    ("GELU (tanh)", |x| 0.5 * x * (1.0 + libm::tanh((2.0 / PI).sqrt() * (x + 0.044_715 * x * x * x)))),
    ("GELU (sigmoid)", |x| x / (1.0 + libm::exp(-1.702 * x))),
    ("ReLU", |x| x.max(0.0)),
    ("none", |x| x),
    ("sigmoid", |x| 1.0 / (1.0 + libm::exp(-x))),
    ("tanh", libm::tanh),
];

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Silu = *scene.op else { return Vec::new() };
    OTHERS.iter().map(|(name, f)| Change::of_input(*name, f)).collect()
}
