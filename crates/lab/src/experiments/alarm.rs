//! # Claim
//!
//! A standard deviation over all positions and one over the last position are numbers of different things, and no ratio
//! of them speaks of arithmetic.
//!
//! # Why it matters
//!
//! The whole published search began with such a ratio: 1.2216 over all seven tokens against 0.0670 over the last,
//! `18.23x`.
//!
//! # Procedure
//!
//! Published: the two statistics. Here: seven Gaussian rows of which the first is 48 times larger, one set of values,
//! no arithmetic at all: all rows against the last. The ratio must be sqrt((48^2 + 6) / 7) = 18.2, the records must be
//! refused as incomparable, and the ratio over equal positions of both paths' runs must lie within the bound that the
//! drift gives.
//!
//! # Refuted if
//!
//! The ratio is not explained by scope alone to 5 %, the comparison is not refused, or the ratio over equal positions
//! exceeds its bound.
//!
//! # Control
//!
//! The same seven rows without the large one: the ratio must not be near 18. Positive control: two statistics of equal
//! scope, which must not be refused.
//!
//! # Blind spots
//!
//! Whether a model has such a first token is its own affair: the bundled one has not, and its own figure is in the
//! notes.

use twinpath_engine::Model;
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "alarm", number: "003", source: include_str!("alarm.rs"), published };

fn published(_: Option<&Model>) -> PublishedRecord {
    // Both statistics as published: all seven positions of one trace, the last position of the other.
    let (all, last) = (1.2216f32, 0.0670f32);
    let ratio = all / last;
    let rule = Rule::new("ratio of standard deviations", &[(2.0, "divergence")], "none");
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "divergence at layer 3 ffn_swiglu, 18.23x".to_owned(),
        rule_says: Some(rule.says(f64::from(ratio)).to_owned()),
        rule,
        rows: vec![Row::digits("1.2216 over 0.0670", "18.23x", ratio, |x| format!("{x:.2}x"))],
        notes: vec!["a ratio over unequal positions; `twinpath falsify alarm` gives it from scope alone".to_owned()],
    }
}
