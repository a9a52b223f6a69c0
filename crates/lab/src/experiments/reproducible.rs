//! # Claim
//!
//! The bits of a path do not depend on threads, on how a prompt is cut into calls, or on the instruction set.
//!
//! # Why it matters
//!
//! A comparison of two paths means nothing if a path differs from itself.
//!
//! # Procedure
//!
//! Published (005): two f32 matrix products of fixed inputs, each run twice. Here: every linear weight of the model's
//! middle layer, along every path, on every instruction set of this processor, on one and three threads, whole and cut
//! into calls of one position. Counts outputs whose bits differ from portable code on one thread.
//!
//! # Refuted if
//!
//! One output differs in one bit.
//!
//! # Control
//!
//! A dot product that each thread sums over its own share of the terms: its bits do depend on the number of threads.
//! Positive control: the same run twice.
//!
//! # Blind spots
//!
//! Only this processor's instruction sets. Two runs that share an error agree. Attention and norms are covered by the
//! tests of the paths, not here.

use twinpath_engine::Model;
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::fixture::fold_dot;

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "reproducible", number: "005", source: include_str!("reproducible.rs"), published };

/// `rows` outputs for each of `seq` positions of width `cols`.
fn product(x: &[f32], w: &[f32], cols: usize) -> Vec<f32> {
    x.chunks_exact(cols).flat_map(|x| w.chunks_exact(cols).map(|w| fold_dot(x, w))).collect()
}

fn published(_: Option<&Model>) -> PublishedRecord {
    let ramp = |n: usize, f: fn(usize) -> f32| (0..n).map(f).collect::<Vec<f32>>();
    let x = ramp(4 * 128, |i| ((i % 17) as f32 - 8.0) * 0.1);
    let w = ramp(512 * 128, |i| ((31 * i % 23) as f32 - 11.0) * 0.05);
    let x1 = ramp(128, |i| ((i % 13) as f32 - 6.0) * 0.1);
    let w1 = ramp(64 * 128, |i| ((23 * i % 19) as f32 - 9.0) * 0.05);
    let differing = |x: &[f32], w: &[f32]| {
        let (first, second) = (product(x, w, 128), product(x, w, 128));
        first.iter().zip(&second).filter(|(a, b)| a.to_bits() != b.to_bits()).count()
    };
    let (four, one) = (differing(&x, &w), differing(&x1, &w1));
    let rule = Rule::new("outputs that differ", &[(0.0, "FAIL")], "PASS");
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "PASS".to_owned(),
        rule_says: Some(rule.says((four + one) as f64).to_owned()),
        rule,
        rows: vec![
            Row::words("005: differing of 2048 outputs", "0", &four.to_string()),
            Row::words("005b: differing of 64 outputs", "0", &one.to_string()),
        ],
        notes: vec!["true by construction: one function, called twice, on one thread per output".to_owned()],
    }
}
