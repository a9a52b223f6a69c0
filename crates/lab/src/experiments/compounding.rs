//! # Claim
//!
//! Along a chain of ops, the error of path B grows by accumulation: what each op adds, in energy, times what it does to
//! the error that it inherits.
//!
//! # Why it matters
//!
//! Published as `super-linear, 5.70x over 5 ops`, it became a factor of the explanation. The quotient has the error of
//! a vector above and that of a single number below.
//!
//! # Procedure
//!
//! Published (009): a chain of five 256 x 256 matrices. Here: five square weights of the model (attn_output, each
//! followed by a division by its root mean square) on 64 Gaussian inputs. For each op the error made there and the
//! error inherited are measured apart, on path B's own input; rho'^2 = n^2 + (a rho)^2 predicts the error at the end
//! from them.
//!
//! # Refuted if
//!
//! The error measured at depth 5 over the predicted one lies outside 0.9 to 1.1.
//!
//! # Control
//!
//! The published kind of law: the error after the first op times the gains of the others, with nothing added on the
//! way. Positive control: the chain's first op, whose error is what it adds.
//!
//! # Blind spots
//!
//! Errors made at different ops are taken to be uncorrelated. The gain along the inherited error is measured, not
//! predicted.

use twinpath_engine::Model;
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::fixture::{self, BASELINE, percent};

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "compounding", number: "009 M95", source: include_str!("compounding.rs"), published };

fn published(_: Option<&Model>) -> PublishedRecord {
    let chain = fixture::chain(0);
    let expected = ["0.0654 %", "0.1943 %", "0.4871 %", "1.3436 %", "0.4391 %"];
    let mut rows: Vec<Row> = Vec::new();
    let mut last = (0.0, 0.0, 0.0);
    for (depth, (link, expected)) in chain.iter().zip(expected).enumerate() {
        last = link.distance();
        let figure = format!("relative L2 at depth {}", depth + 1);
        rows.push(Row::digits(&figure, expected, last.2, |x| format!("{:.4} %", x * 100.0)));
    }
    let (difference, norm, relative) = last;
    let growth = relative / BASELINE;
    rows.extend([
        Row::digits("L2 of the difference, depth 5", "0.070263", difference, |x| format!("{x:.6}")),
        Row::digits("L2 of path A, depth 5", "15.999995", norm, |x| format!("{x:.6}")),
        Row::digits("relative L2, depth 5", "0.439143 %", relative, percent),
        Row::digits("\"growth\"", "5.70x", growth, |x| format!("{x:.2}x")),
    ]);
    let rule = Rule::new("relative L2 at depth 5", &[(0.0007, "PASS")], "FAIL");
    let first = chain.first().map_or(0.0, |link| link.distance().2);
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "PASS, super-linear compounding".to_owned(),
        rule_says: Some(rule.says(f64::from(relative)).to_owned()),
        rule,
        rows,
        notes: vec![format!(
            "like for like, depth 5 over depth 1 is {:.1}x and depth 4 over depth 1 is {:.1}x",
            relative / first,
            chain.get(3).map_or(0.0, |link| link.distance().2) / first
        )],
    }
}
