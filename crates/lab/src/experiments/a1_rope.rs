//! # Claim
//!
//! Rotary embedding is a rotation: it keeps the length of an error, and a score depends on the distance of two
//! positions only.
//!
//! # Why it matters
//!
//! Published as a candidate amplifier. The published test scales the query and looks at a linear function of it at
//! position 0, where the rotation is the identity: it gives 1 whatever is implemented.
//!
//! # Procedure
//!
//! Published (012): one query at position 0, one key at position 1. Here: the queries of both paths' runs. The error's
//! length after the rotation over that before it, worst row of all positions from 1 on; and the scores of 32 random
//! pairs at positions (p, p') against those at (p - p', 0).
//!
//! # Refuted if
//!
//! A length changes by more than 1 in 10000, or a score by more than 1 in 10000 of the product of lengths.
//!
//! # Control
//!
//! A rotation whose sine is that of the next position; a key rotated one position too far. Positive control: the
//! rotation in f64.
//!
//! # Blind spots
//!
//! A wrong base of the frequencies is also a rotation, and passes: it is found by comparing with the oracle. One token,
//! or position 0 alone, exercises nothing.

use twinpath_engine::Model;
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::fixture::{BASELINE, fold_dot, percent, times};

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "A1-rope", number: "012", source: include_str!("a1_rope.rs"), published };

/// Width of the published head.
const DIM: usize = 64;

/// The published rotation: pairs `(i, i + 32)`, frequencies `10000^(-2i/64)`.
fn rotate(x: &[f32], position: usize) -> Vec<f32> {
    let mut y = x.to_vec();
    for i in 0..DIM / 2 {
        // Each rounded once from f64, as a good f32 library has them.
        let frequency = (1.0 / libm::pow(10_000.0, 2.0 * i as f64 / DIM as f64)) as f32;
        let angle = f64::from(position as f32 * frequency);
        let (sin, cos) = (libm::sin(angle) as f32, libm::cos(angle) as f32);
        y[i] = x[i] * cos - x[i + DIM / 2] * sin;
        y[i + DIM / 2] = x[i] * sin + x[i + DIM / 2] * cos;
    }
    y
}

fn published(_: Option<&Model>) -> PublishedRecord {
    let q: Vec<f32> = (0..DIM).map(|i| (i as f32 - 32.0) * 0.05 + (i % 5) as f32 * 0.02).collect();
    let k: Vec<f32> = (0..DIM).map(|i| (i as f32 - 32.0) * 0.04 + (i % 7) as f32 * 0.015).collect();
    let moved: Vec<f32> = q.iter().map(|q| q * (1.0 + BASELINE)).collect();
    let input = super::kit::fixture::relative_l1(&q, &moved);
    let score = |q: &[f32]| fold_dot(&rotate(q, 0), &rotate(&k, 1)) / (DIM as f32).sqrt();
    let output = super::kit::fixture::relative(score(&q), score(&moved));
    let gain = output / input;
    let steps = [(5.0, "CONFIRMED"), (1.5, "PARTIALLY CONFIRMED"), (0.5, "~1x NOT CONFIRMED")];
    let rule = Rule::new("gain", &steps, "FALSIFIED");
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "A1 FALSIFIED (unitary 1.00x)".to_owned(),
        rule_says: Some(rule.says(f64::from(gain)).to_owned()),
        rule,
        rows: vec![
            Row::digits("input relative difference", "0.076997 %", input, percent),
            Row::digits("output relative difference", "0.076986 %", output, percent),
            Row::digits("gain", "0.9999x", gain, times),
        ],
        notes: vec![
            "cannot fail: the query is scaled, the score is linear in it, and position 0 rotates nothing".to_owned(),
        ],
    }
}
