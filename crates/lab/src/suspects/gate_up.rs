//! # What goes wrong
//!
//! The gate and up projections are taken for one another: fused tensors split in the wrong order, or interleaved rows read
//! as halves.
//!
//! # Seen in
//!
//! mlx-lm 767, vLLM 29273.
//!
//! # What it changes
//!
//! Gate and up projection of every layer; silu(up) gate for silu(gate) up.
//!
//! # When it can not be seen
//!
//! It shows at once.
//!
//! # Equivalent to
//!
//! Nothing.

use twinpath_engine::{Op, Point};

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "gate-up", source: include_str!("gate_up.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let (Op::Linear { .. }, Some(layer)) = (scene.op, scene.site.layer) else { return Vec::new() };
    let gate = scene.model.linear(&format!("blk.{layer}.ffn_gate")).weight;
    let up = scene.model.linear(&format!("blk.{layer}.ffn_up")).weight;
    let (other, half) = match scene.site.point {
        Point::FfnGate => (up, 0),
        Point::FfnUp => (gate, 1),
        _ => return Vec::new(),
    };
    let mut all = vec![kit::replaced("taken for one another", other, None)];
    // Stored as gate, up, gate, up, … and split in the middle.
    if gate.tensor_type() == up.tensor_type() && gate.bytes() != up.bytes() {
        let n = gate.rows();
        let row = |i: usize| if i.is_multiple_of(2) { gate.row(i / 2) } else { up.row(i / 2) };
        let bytes: Vec<u8> = (half * n..(half + 1) * n).flat_map(|i| row(i).iter().copied()).collect();
        all.push(kit::weights("interleaved rows split in the middle", move |w| (w.tensor_type(), bytes.clone())));
    }
    all
}
