//! # Claim
//!
//! What path B differs from path A by is the rounding of its activations to 8 bits, and nothing else.
//!
//! # Why it matters
//!
//! It turns a difference that has to be explained into one that can be computed from the input alone.
//!
//! # Procedure
//!
//! Published (008): one super-block times one activation, along both paths. Here: weights of three layers on the
//! activations that path A really produced. With e = Q8(x) - x, known exactly, W e is computed in f64; B - A - W e is
//! what rounding of activations does not explain. The size is predicted from e and the column norms of W alone: E|d|^2
//! = sum over i of e_i^2 |w_i|^2.
//!
//! # Refuted if
//!
//! More than 1 % of B - A is not W e, at any site; or the size measured over predicted lies outside 0.85 to 1.15.
//!
//! # Control
//!
//! The same e, computed with one scale per 32 values instead of 256. Positive control: A plus W e in the place of B.
//!
//! # Blind spots
//!
//! The size is predicted for rounding errors with random signs. Where activations are all of one sign and crushed by a
//! massive value, the first check still holds and the second may not.

use twinpath_engine::Model;
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::fixture::{self, percent};

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "mechanism", number: "008 M94", source: include_str!("mechanism.rs"), published };

fn published(_: Option<&Model>) -> PublishedRecord {
    let (block, x) = (fixture::block(0, 0), fixture::activation(0));
    let (a, b) = fixture::both(&block, &x);
    let relative = fixture::relative(a, b);
    let rule = Rule::new("relative difference, where bits differ", &[(0.10, "FAIL"), (0.0, "PASS")], "FAIL");
    let print = |x: f32| format!("{x:.3}");
    // Path A's order on path B's activations: what is left of the difference is the kernel's own.
    let rounded = fixture::fold_dot(&fixture::widen(&fixture::quantise(&x)), &fixture::decode(&block));
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "PASS, mechanism confirmed".to_owned(),
        rule_says: Some(rule.says(f64::from(relative)).to_owned()),
        rule,
        rows: vec![
            Row::bits("path A", "-18882.443", 0xc693_84e3, a, print),
            Row::bits("path B", "-18897.059", 0xc693_a21e, b, print),
            Row::digits("relative difference", "0.077401 %", relative, percent),
            Row::digits("path A on rounded activations", "-18897.0625", rounded, |x| format!("{x:.4}")),
        ],
        notes: vec![format!(
            "the kernel's own part of the difference is {} units in the last place",
            rounded.to_bits().abs_diff(b.to_bits())
        )],
    }
}
