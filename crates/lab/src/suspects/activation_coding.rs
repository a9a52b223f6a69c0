//! # What goes wrong
//!
//! Activations meet the weights coded otherwise than declared: in 8 bits where they should stay f32, with one scale per 32
//! where there is one per 256, as f16 or bf16.
//!
//! # Seen in
//!
//! llama.cpp 3014 and 4479 (kernels chosen by batch size read activations otherwise), 22571.
//!
//! # What it changes
//!
//! Projections of packed weights, by the rounding of their inputs.
//!
//! # When it can not be seen
//!
//! Where inputs are whole multiples of their step.
//!
//! # Equivalent to
//!
//! Another numeric path, which is what it declares.

use twinpath_engine::Op;

use super::{Scene, Suspect, kit};
use crate::change::{Change, Narrow};

pub(super) const SUSPECT: Suspect =
    Suspect { name: "activation-coding", source: include_str!("activation_coding.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Linear { .. } = scene.op else { return Vec::new() };
    let paths = twinpath_paths::PATHS.iter().map(|p| Change::along(format!("as {} reads them", p.name), p.name));
    let narrow = Narrow::ALL.map(|narrow| {
        kit::on(format!("rounded to {}", narrow.name()), move |_, x| {
            kit::each(x, |x| narrow.round(f64::from(x)) as f32)
        })
    });
    paths.chain(narrow).collect()
}
