//! # What goes wrong
//!
//! Some families store the weight of a norm minus 1. Read by an engine that does not know, or added twice, or added where
//! it should not be, each channel is off by the normalised input; or the weight is left out altogether.
//!
//! # Seen in
//!
//! mold 1074 and 1078 (cosine .19 for .978), vLLM 31464, executorch 19901, transformers 35708, llmman 175 and 245,
//! meganeura 188.
//!
//! # What it changes
//!
//! The value of the norm, from the first one on.
//!
//! # When it can not be seen
//!
//! It shows at once.
//!
//! # Equivalent to
//!
//! Nothing.

use twinpath_engine::Op;

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "norm-offset", source: include_str!("norm_offset.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Norm { .. } = *scene.op else { return Vec::new() };
    let to = |name: &str, f: fn(f32) -> f32| kit::norm(name, move |w, eps| (w.iter().map(|w| f(*w)).collect(), eps));
    vec![to("weight + 1", |w| w + 1.0), to("weight - 1", |w| w - 1.0), to("no weight", |_| 1.0)]
}
