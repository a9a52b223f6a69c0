//! # Claim
//!
//! An explanation of a drift multiplies or adds only quantities of one measure, taken on one set of data, and each of
//! them measured.
//!
//! # Why it matters
//!
//! Published as 0.077 % x 5.70 x 50 x 5.56 x 14 = `1715 %, to within rounding` of the alarm's 1723 %. The product is
//! 1708 %, and the 14 was obtained by dividing the alarm by the rest.
//!
//! # Procedure
//!
//! Published: the product. Here: a ledger that knows what each factor starts from and leads to, on which data, and what
//! it was solved from; it must refuse the published product. What may be said instead: the energy that each layer adds,
//! passed on by the gains of the layers after it, summed over the layers, against the energy of the drift at the end.
//!
//! # Refuted if
//!
//! The ledger accepts the published product, or the error at the end lies outside 0.9 to 1.1 of the root of the sum.
//!
//! # Control
//!
//! What the last layer adds, as if layers passed nothing on. Positive control: the ratios of the drift from layer to layer,
//! which the ledger must accept and whose product must be the drift at the end over that at the start.
//!
//! # Blind spots
//!
//! The shares are of energy, and take the layers' additions to be uncorrelated.

use twinpath_engine::Model;
use twinpath_evidence::experiment::{Band, Check, Findings, Interval, Measured};
use twinpath_evidence::ledger::{Factor, Product};
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::Bench;
use super::kit::runs::{Step, accumulated, closure};

pub(super) const EXPERIMENT: Experiment = Experiment {
    id: "decomposition",
    number: "product",
    source: include_str!("decomposition.rs"),
    published,
    sound,
    needs_runs: true,
};

/// What the published product is said to explain.
const TOTAL: &str = "the alarm's 1723 %";

/// The published factors, with what each was measured as.
fn product() -> Product {
    let factor = |name: &str, value: f64, from: &str, to: &str, data: &str| Factor {
        name: name.to_owned(),
        value,
        from: from.to_owned(),
        to: to.to_owned(),
        data: data.to_owned(),
        contains: Vec::new(),
        defined_from: None,
    };
    let single = "relative difference of one dot product";
    let vector = "relative L2 of a vector";
    let spread = "ratio of standard deviations over a batch";
    Product::of(
        vec![
            factor("008", 0.077, "percent", single, "super-block 0 of the fixture"),
            factor("009", 5.70, single, vector, "the chain of five, token 0"),
            Factor {
                contains: vec!["009".to_owned()],
                ..factor("013", 50.0, single, spread, "the chain of five, tokens 0 to 6")
            },
            factor("014", 5.56, single, single, "layer 3 of the 7B model"),
            Factor {
                defined_from: Some(TOTAL.to_owned()),
                ..factor("residual", 14.0, "ratio of totals", "ratio of totals", "the alarm")
            },
        ],
        TOTAL,
    )
}

fn published(_: Option<&Model>) -> PublishedRecord {
    let product = product();
    let value = product.factors.iter().fold(1.0f32, |p, f| p * f.value as f32);
    let rule = Rule::new("distance of the product from 1715 %", &[(0.5, "NOT WITHIN ROUNDING")], "within rounding");
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "1715 %, decomposed to within rounding".to_owned(),
        rule_says: Some(rule.says(f64::from((value - 1715.0).abs())).to_owned()),
        rule,
        rows: vec![Row::digits("0.077 % x 5.70 x 50 x 5.56 x 14", "1708 %", value, |x| format!("{x:.0} %"))],
        notes: product.refusals,
    }
}

/// What all layers added, with nothing passed on but what the last one adds: the sum without the gains.
fn without_gains(steps: &[Step]) -> f64 {
    steps.last().map_or(0.0, |s| s.added * s.added)
}

fn pooled(steps: &[Step]) -> f64 {
    steps.iter().map(|s| s.error * s.error).sum::<f64>().sqrt()
}

/// The drift from layer to layer, as factors that do compose.
fn ratios(steps: &[Vec<Step>]) -> Product {
    let measure = "relative L2 of the residual stream";
    let factor = |(layer, pair): (usize, &[Vec<Step>])| Factor {
        name: format!("layer {}", layer + 1),
        value: pooled(&pair[1]) / pooled(&pair[0]),
        from: measure.to_owned(),
        to: measure.to_owned(),
        data: "this run".to_owned(),
        contains: Vec::new(),
        defined_from: None,
    };
    Product::of(steps.windows(2).enumerate().map(factor).collect(), "drift after the last layer")
}

/// Shares of the energy at the end that each layer added, passed on by those after it, in percent.
fn shares(steps: &[Vec<Step>]) -> Vec<f64> {
    let positions = steps.first().map_or(0, Vec::len);
    let mut energy = vec![0.0; steps.len()];
    for t in 0..positions {
        let mut after = 1.0;
        for (layer, op) in steps.iter().enumerate().rev() {
            energy[layer] += op[t].added * op[t].added * after;
            after *= op[t].gain * op[t].gain;
        }
    }
    let all: f64 = energy.iter().sum();
    energy.iter().map(|e| 100.0 * e / all).collect()
}

fn sound(bench: &Bench<'_>) -> Findings {
    let steps = bench.runs.as_ref().map(|runs| runs.recursion()).unwrap_or_default();
    let refused = product();
    let ratios = ratios(&steps);
    let band = Band::between(0.9, 1.1);
    let because = "additions of different layers are uncorrelated";
    let name = |what: &str| format!("error at the end over the root of the summed energies, {what}");
    let closed = |energy: fn(&[Step]) -> f64| closure(&steps, energy, "positions");
    let telescoped = match (ratios.value, steps.first(), steps.last()) {
        (Some(value), Some(first), Some(last)) => Interval::exact(value / (pooled(last) / pooled(first))).into(),
        _ => Measured::NotExercised { why: "needs two layers".to_owned() },
    };
    let mut notes: Vec<String> = refused.refusals.clone();
    let each = shares(&steps).iter().enumerate().map(|(l, s)| format!("layer {l} {s:.0} %")).collect::<Vec<_>>();
    notes.push(format!("shares of the error at the end, by where it was added: {}", each.join(", ")));
    Findings {
        checks: vec![
            Check::new(
                "reasons why the published product means nothing",
                Band::at_least(1.0),
                "its factors are of four measures, on four sets of data",
                Interval::exact(refused.refusals.len() as f64),
            ),
            Check::new(&name("as passed on"), band, because, closed(accumulated)),
        ],
        controls: vec![Check::new(&name("nothing passed on"), band, because, closed(without_gains))],
        positive_controls: vec![Check::new(
            "product of the ratios from layer to layer over the ratio of the ends",
            Band::between(1.0 - 1e-9, 1.0 + 1e-9),
            "like factors, which the ledger multiplies",
            telescoped,
        )],
        notes,
    }
}
