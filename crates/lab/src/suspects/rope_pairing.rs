//! # What goes wrong
//!
//! RoPE turns the wrong pairs of a head: elements (2i, 2i + 1) where the model pairs i with i + n/2, or the reverse.
//!
//! # Seen in
//!
//! llama.cpp 13260 (PLaMo, for over a year) and 13261 (Orion), ik_llama.cpp 2290, candle 3410, candle 359 and 518,
//! mistral.rs 19, aprender 2084 (in the reference of a parity test).
//!
//! # What it changes
//!
//! Queries and keys after RoPE at every position from 1 on. The norm of each head stays.
//!
//! # When it can not be seen
//!
//! At position 0, where RoPE is the identity.
//!
//! # Equivalent to
//!
//! The right pairing on rows of the query and key weights in the other order: where both are seen in a layer together,
//! it is another layout and no mistake (llama.cpp 7634).

use twinpath_engine::{Op, Pairing, Rope};

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "rope-pairing", source: include_str!("rope_pairing.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Rope { rope, .. } = *scene.op else { return Vec::new() };
    let (name, pairing) = match rope.pairing {
        Pairing::Adjacent => ("i with i + n/2", Pairing::HalfSplit),
        Pairing::HalfSplit => ("2i with 2i + 1", Pairing::Adjacent),
    };
    vec![kit::rope(name, Rope { pairing, ..rope.clone() })]
}
