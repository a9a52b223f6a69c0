//! # What goes wrong
//!
//! RoPE turns another number of dimensions of a head than it should, turns them twice, or not at all: left out, or every
//! token taken to stand at position 0.
//!
//! # Seen in
//!
//! mlx-lm 1698 (128 for 64), vLLM 16912 and 30384, lmdeploy 3861; mlx-vlm 1983 and 1993 (decoding at position 0).
//!
//! # What it changes
//!
//! Queries and keys after RoPE; with fewer dimensions the rest of each head passes as it is.
//!
//! # When it can not be seen
//!
//! At position 0.
//!
//! # Equivalent to
//!
//! Nothing.

use twinpath_engine::{Op, Rope};

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "rope-dims", source: include_str!("rope_dims.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Rope { rope, .. } = *scene.op else { return Vec::new() };
    let with = |name: String, frequencies: Vec<f64>| kit::rope(name, Rope { frequencies, ..rope.clone() });
    let scaled = |by: f64| rope.frequencies.iter().map(|f| f * by).collect();
    let n = rope.frequencies.len();
    let mut all =
        vec![with("not turned, or all at position 0".into(), scaled(0.0)), with("turned twice".into(), scaled(2.0))];
    all.push(with("turned backwards".into(), scaled(-1.0)));
    for pairs in [n / 2, n / 4].into_iter().filter(|p| *p > 0) {
        let dims = 2 * pairs;
        all.push(with(format!("{dims} of {} dimensions, first frequencies", 2 * n), rope.frequencies[..pairs].into()));
        // A table of `pairs` pairs of the same base has every (n / pairs)-th frequency.
        let own = rope.frequencies.iter().copied().step_by(n / pairs).take(pairs).collect();
        all.push(with(format!("{dims} of {} dimensions, own frequencies", 2 * n), own));
    }
    all
}
