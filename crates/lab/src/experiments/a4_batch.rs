//! # Claim
//!
//! A position's outputs do not depend on what else is in the batch, and a ratio of standard deviations is bounded by
//! the drift.
//!
//! # Why it matters
//!
//! Published as `0.26x, but the standard deviation over the batch is 50 times more sensitive`. The 50 is a small
//! denominator: the seven tokens of the fixture are nearly equal.
//!
//! # Procedure
//!
//! Published (013): the chain of 009 for seven tokens. Here: every linear weight of the model's middle layer on the
//! activations of path A's run, the whole batch against each position alone, in bits; and |std B / std A - 1| over the
//! centred relative drift, which is at most 1 on equal entries (triangle inequality).
//!
//! # Refuted if
//!
//! One output's bits depend on the batch, or the quotient exceeds 1.
//!
//! # Control
//!
//! Activations coded with one scale for the whole batch; standard deviations of unequal positions. Positive control:
//! the same batch twice.
//!
//! # Blind spots
//!
//! The bound on standard deviations is often far from tight: a ratio of 1 says nothing of the drift.

use twinpath_engine::{Model, Numerics, Site, Tensor};
use twinpath_evidence::experiment::{Band, Check, Findings, Interval, Measured};
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::fixture::{self, BLOCK, Link, percent, times};
use super::kit::{Bench, stats, weights};

pub(super) const EXPERIMENT: Experiment = Experiment {
    id: "A4-batch",
    number: "013",
    source: include_str!("a4_batch.rs"),
    published,
    sound,
    needs_runs: true,
};

/// The published depth-5 error of one token, which the mean is divided by.
const ONE_TOKEN: f32 = 0.004_391;

/// Mean over the components of each one's standard deviation over the tokens.
fn spread(tokens: &[&Vec<f32>]) -> f32 {
    let n = tokens.len() as f32;
    let deviation = |c: usize| {
        let mean = tokens.iter().fold(0.0f32, |s, t| s + t[c]) / n;
        (tokens.iter().fold(0.0f32, |s, t| s + (t[c] - mean) * (t[c] - mean)) / n).sqrt()
    };
    (0..BLOCK).fold(0.0f32, |s, c| s + deviation(c)) / BLOCK as f32
}

fn published(_: Option<&Model>) -> PublishedRecord {
    let expected = ["0.439143 %", "0.246297 %", "0.020914 %", "0.028250 %", "0.023573 %", "0.024674 %", "0.020246 %"];
    let ends: Vec<Link> = (0..expected.len()).filter_map(|token| fixture::chain(token).pop()).collect();
    let relative: Vec<f32> = ends.iter().map(|end| end.distance().2).collect();
    let mean = relative.iter().fold(0.0f32, |s, r| s + r) / relative.len() as f32;
    let (least, most) = relative.iter().fold((f32::MAX, 0.0f32), |(l, m), x| (l.min(*x), m.max(*x)));
    let std_a = spread(&ends.iter().map(|end| &end.a).collect::<Vec<_>>());
    let std_b = spread(&ends.iter().map(|end| &end.b).collect::<Vec<_>>());
    let gain = mean / ONE_TOKEN;
    let tokens = relative.iter().zip(expected).enumerate();
    let mut rows: Vec<Row> =
        tokens.map(|(t, (r, e))| Row::digits(&format!("relative L2 of token {t}"), e, *r, percent)).collect();
    rows.extend([
        Row::digits("mean", "0.114728 %", mean, percent),
        Row::digits("largest over smallest", "21.69x", most / least, |x| format!("{x:.2}x")),
        Row::digits("standard deviation over the batch, path A", "0.033416", std_a, |x| format!("{x:.6}")),
        Row::digits("standard deviation over the batch, path B", "0.032228", std_b, |x| format!("{x:.6}")),
        Row::digits("|A / B - 1|", "3.69 %", (std_a / std_b - 1.0).abs(), |x| format!("{:.2} %", x * 100.0)),
        Row::digits("gain", "0.2613x", gain, times),
    ]);
    let steps = [(5.0, "CONFIRMED"), (1.5, "PARTIALLY CONFIRMED"), (0.7, "~1x NOT CONFIRMED")];
    let rule = Rule::new("gain", &steps, "FALSIFIED");
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "A4 FALSIFIED + key finding: std-ratio is 50x more sensitive".to_owned(),
        rule_says: Some(rule.says(f64::from(gain)).to_owned()),
        rule,
        rows,
        notes: vec!["0.26 is the mean of seven tokens over the worst of them".to_owned()],
    }
}

fn differ(a: &Tensor<f32>, b: &Tensor<f32>) -> u64 {
    a.data().iter().zip(b.data()).filter(|(a, b)| a.to_bits() != b.to_bits()).count() as u64
}

/// Each position alone, put together.
fn alone(x: &Tensor<f32>, f: impl Fn(&Tensor<f32>) -> Tensor<f32>) -> Tensor<f32> {
    let mut rows = f(&x.rows_of(0..1));
    (1..x.rows()).for_each(|t| rows.append(&f(&x.rows_of(t..t + 1))));
    rows
}

/// Activations coded with one scale for all that is given, and widened again.
fn coarse(x: &Tensor<f32>) -> Tensor<f32> {
    let e = weights::rounding(x, x.data().len());
    let rounded = x.data().iter().zip(e.data()).map(|(x, e)| (f64::from(*x) + e) as f32);
    Tensor::new(x.rows(), x.cols(), rounded.collect())
}

fn sound(bench: &Bench<'_>) -> Findings {
    let layer = bench.layer();
    let (a, b) = (bench.a(), bench.b());
    let paths: [&dyn Numerics<Elem = f32>; 2] = [&a, &b];
    let (mut depends, mut control, mut twice, mut outputs, mut positions) = (0, 0, 0, 0, 0);
    for (name, point) in weights::LINEARS {
        let input = bench.runs.as_ref().and_then(|runs| runs.a.get(&Site::block(layer, *point)));
        let Some(x) = input else { continue };
        let weight = weights::weight(bench.model, layer, name);
        positions = x.rows();
        for path in paths {
            let whole = weights::linear(path, weight, x);
            depends += differ(&whole, &alone(x, |x| weights::linear(path, weight, x)));
            twice += differ(&whole, &weights::linear(path, weight, x));
            outputs += whole.data().len();
        }
        control += differ(&coarse(x), &alone(x, coarse));
    }
    let batch = |x: u64| match positions {
        0 | 1 => Measured::NotExercised { why: "one position is no batch".to_owned() },
        _ => Interval::exact(x as f64).into(),
    };
    let (bounded, unequal) = deviations(bench);
    let name = |what: &str| format!("outputs that depend on the batch, {what}");
    let ratio = |what: &str| format!("|std B / std A - 1| over centred drift, {what}");
    let bound = Band::at_most(1.0 + 1e-6);
    let triangle = "triangle inequality; f64 sums";
    let because = "threads and tiles share out whole outputs";
    Findings {
        checks: vec![
            Check::new(
                &name(&format!("of {outputs} (layer {layer}, {positions} positions)")),
                Band::none(),
                because,
                batch(depends),
            ),
            Check::new(&ratio("worst site"), bound, triangle, bounded),
        ],
        controls: vec![
            Check::new(&name("one scale for the batch"), Band::none(), because, batch(control)),
            Check::new(&ratio("all positions of A, the last of B"), bound, triangle, unequal),
        ],
        positive_controls: vec![Check::new(&name("the same batch twice"), Band::none(), because, batch(twice))],
        notes: Vec::new(),
    }
}

/// The largest quotient over all sites, of equal positions and of unequal ones.
fn deviations(bench: &Bench<'_>) -> (Measured, Measured) {
    let (mut equal, mut unequal) = (0.0f64, 0.0f64);
    let pairs = bench.runs.iter().flat_map(|runs| runs.pairs());
    for (_, a, b) in pairs.filter(|(site, ..)| site.point != twinpath_engine::Point::AttnScores) {
        let Some(quotient) = stats::deviation_quotient(a.data(), b.data()) else { continue };
        equal = equal.max(quotient);
        let difference: Vec<f32> = a.data().iter().zip(b.data()).map(|(a, b)| b - a).collect();
        let (std_a, std_last) = (stats::deviation(a.data()), stats::deviation(b.row(b.rows() - 1)));
        unequal = unequal.max((std_last / std_a - 1.0).abs() / (stats::deviation(&difference) / std_a));
    }
    match equal > 0.0 {
        true => (Interval::exact(equal).into(), Interval::exact(unequal).into()),
        false => {
            let why = "both runs are equal everywhere".to_owned();
            (Measured::NotExercised { why: why.clone() }, Measured::NotExercised { why })
        }
    }
}
