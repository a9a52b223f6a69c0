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

use twinpath_engine::{Model, Tensor};
use twinpath_evidence::experiment::{Band, Check, Findings, Measured};
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::fixture::{self, BASELINE, percent};
use super::kit::runs::{Step, accumulated, closure, first_only};
use super::kit::{Bench, stats, weights};

pub(super) const EXPERIMENT: Experiment = Experiment {
    id: "compounding",
    number: "009 M95",
    source: include_str!("compounding.rs"),
    published,
    sound,
    needs_runs: false,
};

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

/// Ops of the chain, as published.
const DEPTH: usize = 5;
/// Inputs.
const INPUTS: usize = 64;

/// Each row over its root mean square.
fn rms(mut y: Tensor<f32>) -> Tensor<f32> {
    let n = y.cols() as f64;
    for t in 0..y.rows() {
        let scale = (n.sqrt() / stats::norm(y.row(t))) as f32;
        y.row_mut(t).iter_mut().for_each(|y| *y *= scale);
    }
    y
}

/// For each op and input: what was added there, what was passed on, and the error after it.
fn steps(bench: &Bench<'_>) -> Vec<Vec<Step>> {
    let (path_a, path_b) = (bench.a(), bench.b());
    let mut a = stats::gaussian(9, INPUTS, bench.model.config().hidden);
    let mut b = a.clone();
    let mut before = vec![0.0; INPUTS];
    let mut ops = Vec::new();
    for layer in 0..DEPTH {
        let weight = weights::weight(bench.model, layer, "attn_output");
        let crossed = rms(weights::linear(&path_a, weight, &b));
        a = rms(weights::linear(&path_a, weight, &a));
        b = rms(weights::linear(&path_b, weight, &b));
        let step = |t: usize| {
            let length = stats::norm(a.row(t));
            let passed = stats::distance(crossed.row(t), a.row(t)) / length;
            Step {
                added: stats::distance(b.row(t), crossed.row(t)) / length,
                gain: if before[t] > 0.0 { passed / before[t] } else { 0.0 },
                error: stats::distance(b.row(t), a.row(t)) / length,
            }
        };
        let op: Vec<Step> = (0..INPUTS).map(step).collect();
        before = op.iter().map(|s| s.error).collect();
        ops.push(op);
    }
    ops
}

fn sound(bench: &Bench<'_>) -> Findings {
    let c = bench.model.config();
    let usable = c.layers >= DEPTH
        && c.heads * c.head_dim == c.hidden
        && (0..DEPTH).all(|l| weights::is_wide(&weights::weight(bench.model, l, "attn_output")));
    let ops = if usable { steps(bench) } else { Vec::new() };
    let absent =
        || Measured::NotExercised { why: "needs five square attn_output weights of 256-wide blocks".to_owned() };
    let measured = |ops: &[Vec<Step>], energy: fn(&[Step]) -> f64| match ops.is_empty() {
        true => absent(),
        false => closure(ops, energy, "inputs"),
    };
    let name = |what: &str| format!("error at depth {what} over predicted");
    let because = "what is added is uncorrelated with what is inherited";
    let band = Band::between(0.9, 1.1);
    let growth = |op: &[Step]| {
        let each = op.iter().zip(&ops[0]).map(|(end, first)| end.error / first.error);
        stats::quantiles(each.collect())
    };
    let notes = ops.iter().enumerate().skip(1).map(|(depth, op)| {
        let [low, middle, high] = growth(op);
        format!("growth from depth 1 to {}: median {middle:.2}, 5 to 95 % of inputs {low:.2} to {high:.2}", depth + 1)
    });
    Findings {
        checks: vec![Check::new(&name("5"), band, because, measured(&ops, accumulated))],
        controls: vec![Check::new(&name("5, gains only"), band, because, measured(&ops, first_only))],
        positive_controls: vec![Check::new(
            &name("1"),
            band,
            because,
            measured(ops.get(..1).unwrap_or(&[]), accumulated),
        )],
        notes: notes.collect(),
    }
}
