//! # Claim
//!
//! Two orders of one f32 sum differ by rounding alone: as much as the error model of each order predicts, and no more.
//!
//! # Why it matters
//!
//! Published as `bitwise equal`, it was taken to clear the order of additions. It is a question of size, not of
//! equality.
//!
//! # Procedure
//!
//! Published (006): one dot product of 128 terms, by eight lanes of fused multiply-adds and by a left fold. Here: rows
//! of the model's own weights times Gaussian activations, 4096 pairs, in both orders. The variance of an order's error
//! is 0.1803 u^2 times the sum of the squares of its own partial sums (and of its products, where they are rounded), u
//! = 2^-24.
//!
//! # Refuted if
//!
//! The root mean square of the difference over its predicted standard deviation lies outside 0.9 to 1.1, or one
//! difference exceeds 8 standard deviations.
//!
//! # Control
//!
//! A left fold that forgets its last term. Positive control: a left fold against itself, which must agree in every bit.
//!
//! # Blind spots
//!
//! Says nothing of the order inside another engine, only of these two.

use twinpath_engine::Model;
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::fixture::{fold_dot, lane_dot};

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "order", number: "006", source: include_str!("order.rs"), published };

fn published(_: Option<&Model>) -> PublishedRecord {
    let a: Vec<f32> = (0..128).map(|i| (i as f32 - 64.0) * 0.1 + (i % 7) as f32 * 0.013).collect();
    let b: Vec<f32> = (0..128).map(|i| ((i as f32 * 0.7) - 50.0) * 0.05 + (i % 11) as f32 * 0.011).collect();
    let (fold, lanes) = (fold_dot(&a, &b), lane_dot(&a, &b));
    let print = |x: f32| format!("{x:.4}");
    let differ = fold.to_bits() != lanes.to_bits();
    let rule = Rule::new("bits differ", &[(0.0, "FAIL")], "PASS");
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "PASS".to_owned(),
        rule_says: Some(rule.says(f64::from(u8::from(differ))).to_owned()),
        rule,
        rows: vec![
            Row::bits("eight lanes", "612.4756", 0x4419_1e70, lanes, print),
            Row::bits("left fold", "612.4756", 0x4419_1e70, fold, print),
        ],
        notes: vec!["equal by luck of this input: of random Gaussian pairs about one in seven agrees".to_owned()],
    }
}
