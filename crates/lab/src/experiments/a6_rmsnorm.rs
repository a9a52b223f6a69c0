//! # Claim
//!
//! RMSNorm is a projection onto a sphere: before its gains it cannot enlarge a relative error.
//!
//! # Why it matters
//!
//! Published as a candidate amplifier (`rsqrt is not linear`). The bound is geometry, and a wrong epsilon, which real
//! engines do have, is invisible in such a test.
//!
//! # Procedure
//!
//! Published (015): 256 values, each off by 0.077 % with a fixed pattern of signs. Here: the residual streams of both
//! paths' runs. The distance of two normalised rows is at most their distance over the geometric mean of their lengths;
//! worst row. And the path's norm against its f64 definition, worst row, in units of u = 2^-24.
//!
//! # Refuted if
//!
//! The quotient exceeds 1.001, or a row is more than 8 u from its definition.
//!
//! # Control
//!
//! A division by the mean square instead of its root; a norm with a hundred times the epsilon on a row of small values.
//! Positive control: the norm in f64.
//!
//! # Blind spots
//!
//! The gains after the projection may enlarge an error, up to their largest over their root mean square: the note says
//! by how much here.

use twinpath_engine::Model;
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::fixture::{self, BASELINE, BLOCK, percent, relative_l1, times};

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "A6-rmsnorm", number: "015", source: include_str!("a6_rmsnorm.rs"), published };

fn normalise(x: &[f32]) -> Vec<f32> {
    let mean_square = x.iter().fold(0.0f32, |s, x| s + x * x) / x.len() as f32;
    let root = (mean_square + 1e-6).sqrt();
    x.iter().map(|x| x / root).collect()
}

fn published(_: Option<&Model>) -> PublishedRecord {
    let x = fixture::activation(0);
    let sign = |i: usize| if (13 * i + 7) % 17 < 8 { 1.0 } else { -1.0f32 };
    let moved: Vec<f32> = (0..BLOCK).map(|i| x[i] + sign(i) * x[i].abs() * BASELINE).collect();
    let (input, output) = (relative_l1(&x, &moved), relative_l1(&normalise(&x), &normalise(&moved)));
    let gain = output / input;
    let steps = [(5.0, "CONFIRMED"), (1.5, "PARTIALLY CONFIRMED"), (0.7, "~1x NOT CONFIRMED")];
    let rule = Rule::new("gain", &steps, "FALSIFIED");
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "A6 FALSIFIED (1.00x unitary)".to_owned(),
        rule_says: Some(rule.says(f64::from(gain)).to_owned()),
        rule,
        rows: vec![
            Row::digits("input relative L1", "0.077000 %", input, percent),
            Row::digits("output relative L1", "0.077000 %", output, percent),
            Row::digits("gain", "1.0000x", gain, times),
        ],
        notes: Vec::new(),
    }
}
