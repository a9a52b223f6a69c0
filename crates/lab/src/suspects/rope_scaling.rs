//! # What goes wrong
//!
//! The scaling of RoPE frequencies that the model was extended with is left out, or one is applied that it does not have:
//! linear, Llama-3's banded one, YaRN's.
//!
//! # Seen in
//!
//! llama.cpp 8650 and 8676 (short greedy tests pass), mlxcel 1355 and 1385, ANEForge 58, tiny-vllm 1, mlir-air 1948 (prefill
//! and decode disagreed: 94 % of the squared error in 64 of 512 channels).
//!
//! # What it changes
//!
//! Queries and keys after RoPE; banded scalings change the pairs of low frequency only, so that it shows at late positions.
//!
//! # When it can not be seen
//!
//! At position 0; at the first positions the turn of a slow pair is below what f32 resolves.
//!
//! # Equivalent to
//!
//! Linear scaling by f is a position that counts in steps of 1/f.

use twinpath_engine::rope::{self, Scaling};
use twinpath_engine::{Op, Rope};

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "rope-scaling", source: include_str!("rope_scaling.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Rope { rope: table, .. } = *scene.op else { return Vec::new() };
    let Some((theta, _)) = kit::theta(table) else { return Vec::new() };
    let dim = 2 * table.frequencies.len();
    let llama3 = |factor, original| Scaling::Llama3 { factor, low: 1.0, high: 4.0, original };
    let yarn = |factor, original| Scaling::Yarn {
        factor,
        original,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor: None,
        truncate: true,
    };
    let mut all = vec![("no scaling".to_owned(), Scaling::None)];
    all.extend([2.0, 4.0, 8.0, 16.0].map(|factor| (format!("linear, factor {factor}"), Scaling::Linear { factor })));
    for (factor, original) in [(8.0, 8192.0), (32.0, 8192.0)] {
        all.push((format!("llama3, factor {factor} over {original}"), llama3(factor, original)));
    }
    for (factor, original) in [(2.0, 32768.0), (4.0, 32768.0), (4.0, 4096.0), (16.0, 4096.0)] {
        all.push((format!("yarn, factor {factor} over {original}"), yarn(factor, original)));
    }
    let tables = all.into_iter().map(|(name, scaling)| {
        let frequencies = rope::frequencies(dim, theta, &scaling);
        (name, Rope { pairing: table.pairing, frequencies, magnitude: rope::magnitude(&scaling) })
    });
    let differs = |t: &Rope| {
        let near = |(a, b): (&f64, &f64)| (a / b - 1.0).abs() < 1e-9;
        t.magnitude != table.magnitude || !t.frequencies.iter().zip(&table.frequencies).all(near)
    };
    tables.filter(|(_, t)| differs(t)).map(|(name, t)| kit::rope(name, t)).collect()
}
