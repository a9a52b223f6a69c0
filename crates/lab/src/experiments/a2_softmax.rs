//! # Claim
//!
//! What softmax does to an error of its logits is bounded: the L1 change of the probabilities is at most the largest
//! change of a logit.
//!
//! # Why it matters
//!
//! Published as `compresses 100 times`, from one saturated row. Near a tie the same procedure gives 12 times more
//! instead of 88 times less: the number belongs to the row.
//!
//! # Procedure
//!
//! Published (011): seven logits, one of them moved by 0.077 %. Here: every row of attention scores of both paths'
//! runs; the change of the probabilities over the largest change of a logit, its maximum over all rows.
//!
//! # Refuted if
//!
//! The quotient exceeds 1 (plus 0.001 for f32) in a row, or the relative change near a planted tie is not amplified at
//! least 5 times.
//!
//! # Control
//!
//! A softmax of eight times the logits, as one with a forgotten scale would be. Positive control: two equal logits
//! moved by a millionth, where the quotient is known to be 1/2.
//!
//! # Blind spots
//!
//! The bound says how bad it may be, not how it is on average; that is in the notes, as quantiles over the rows.

use twinpath_engine::Model;
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::fixture::{percent, relative_l1, times};

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "A2-softmax", number: "011", source: include_str!("a2_softmax.rs"), published };

/// Softmax in the published order: subtract the largest, exponentiate, divide by the left fold.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().fold(f32::NEG_INFINITY, |m, x| m.max(*x));
    let exp: Vec<f32> = logits.iter().map(|x| libm::expf(x - largest)).collect();
    let sum = exp.iter().fold(0.0f32, |s, x| s + x);
    exp.iter().map(|x| x / sum).collect()
}

/// Relative L1 change of the logits and of their softmax when logit `at` grows by 0.077 %.
fn change(logits: &[f32], at: usize) -> (f32, f32) {
    let mut moved = logits.to_vec();
    moved[at] += super::kit::fixture::BASELINE * logits[at];
    (relative_l1(logits, &moved), relative_l1(&softmax(logits), &softmax(&moved)))
}

fn published(_: Option<&Model>) -> PublishedRecord {
    let (input, output) = change(&[-1.5, 0.5, -0.8, 10.0, 1.2, -0.3, 0.7], 3);
    let (tie_in, tie_out) = change(&[-1.5, 0.5, -0.8, 10.0, 9.99, -0.3, 0.7], 3);
    let gain = output / input;
    let rule = Rule::new("gain", &[(5.0, "CONFIRMED"), (1.0, "PARTIALLY CONFIRMED")], "NOT CONFIRMED");
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "A2 FALSIFIED (compresses 0.01x)".to_owned(),
        rule_says: Some(rule.says(f64::from(gain)).to_owned()),
        rule,
        rows: vec![
            Row::digits("input relative L1", "0.051333 %", input, percent),
            Row::digits("output relative L1", "0.000578 %", output, percent),
            Row::digits("gain", "0.0113x", gain, times),
        ],
        notes: vec![format!("with a second logit of 9.99 the same procedure gives {:.1}x", tie_out / tie_in)],
    }
}
