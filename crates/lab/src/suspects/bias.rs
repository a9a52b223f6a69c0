//! # What goes wrong
//!
//! The bias of a projection is left out, added twice, or belongs to another layer.
//!
//! # Seen in
//!
//! ANEForge 253, OminiX-MLX 7, candle-vllm 167, transformers 35060 (StableLM as GGUF), Fast-LLM 398.
//!
//! # What it changes
//!
//! Queries, keys or values, by the same vector at every position.
//!
//! # When it can not be seen
//!
//! Where the model has no biases, or they are 0.
//!
//! # Equivalent to
//!
//! A bias of the keys that is the same for all of them, taken before RoPE, is not the same after it: nothing.

use twinpath_engine::Op;

use super::{Scene, Suspect};
use crate::change::{Change, rows};

pub(super) const SUSPECT: Suspect = Suspect { name: "bias", source: include_str!("bias.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Linear { bias: Some(_), .. } = *scene.op else { return Vec::new() };
    [("left out", 0.0), ("added twice", 2.0), ("subtracted", -1.0)].into_iter().map(|(n, by)| times(n, by)).collect()
}

/// The bias times `by`.
fn times(name: &str, by: f32) -> Change {
    Change::op(name, move |op, x, then| {
        let Op::Linear { weight, bias: Some(bias) } = *op else { return then(0..rows(op, x), op, x) };
        let bias: Vec<f32> = bias.iter().map(|b| by * b).collect();
        then(0..x[0].rows(), &Op::Linear { weight, bias: (by != 0.0).then_some(&bias[..]) }, x);
    })
}
