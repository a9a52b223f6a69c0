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

use twinpath_engine::{Model, Point};
use twinpath_evidence::experiment::{Band, Check, Findings, Interval, Measured};
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::fixture::{percent, relative_l1, times};
use super::kit::{Bench, stats};

pub(super) const EXPERIMENT: Experiment = Experiment {
    id: "A2-softmax",
    number: "011",
    source: include_str!("a2_softmax.rs"),
    published,
    sound,
    needs_runs: true,
};

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

fn softmax64(logits: &[f64], scale: f64) -> Vec<f64> {
    let largest = logits.iter().fold(f64::NEG_INFINITY, |m, x| m.max(*x));
    let exp: Vec<f64> = logits.iter().map(|x| libm::exp(scale * (x - largest))).collect();
    let sum: f64 = exp.iter().sum();
    exp.iter().map(|x| x / sum).collect()
}

/// L1 change of the probabilities over the largest change of a logit; nothing where no logit changed.
fn quotient(a: &[f64], b: &[f64], scale: f64) -> Option<f64> {
    let most = a.iter().zip(b).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
    let (p, q) = (softmax64(a, scale), softmax64(b, scale));
    (most > 0.0).then(|| p.iter().zip(&q).map(|(p, q)| (p - q).abs()).sum::<f64>() / most)
}

/// The admitted scores of every head and position from 1 on, of both runs.
fn rows(bench: &Bench<'_>) -> Vec<(Vec<f64>, Vec<f64>)> {
    let c = bench.model.config();
    let mut rows = Vec::new();
    let pairs = bench.runs.iter().flat_map(|runs| runs.pairs());
    for (site, a, b) in pairs.filter(|(site, ..)| site.point == Point::AttnScores) {
        let window = site.layer.and_then(|l| c.windows[l]);
        let keys = a.cols() / c.heads;
        for (t, h) in (1..a.rows()).flat_map(|t| (0..c.heads).map(move |h| (t, h))) {
            let seen = twinpath_engine::Mask { start: 0, window }.keys(t);
            let read = |x: &[f32]| x[h * keys..][seen.clone()].iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
            rows.push((read(a.row(t)), read(b.row(t))));
        }
    }
    rows
}

fn sound(bench: &Bench<'_>) -> Findings {
    let rows = rows(bench);
    let worst = |scale: f64| match rows.iter().filter_map(|(a, b)| quotient(a, b, scale)).reduce(f64::max) {
        Some(most) => Interval::exact(most).into(),
        None => Measured::NotExercised { why: "one position has one key: nothing to share out".to_owned() },
    };
    let gain = |(a, b): &(Vec<f64>, Vec<f64>)| {
        let length = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
        let relative =
            |x: &[f64], y: &[f64]| length(&mut x.iter().zip(y).map(|(x, y)| x - y)) / length(&mut x.iter().copied());
        relative(&softmax64(a, 1.0), &softmax64(b, 1.0)) / relative(a, b)
    };
    let [low, middle, high] = stats::quantiles(rows.iter().map(gain).filter(|g| g.is_finite()).collect());
    let (tie_in, tie_out) = change(&[-1.5, 0.5, -0.8, 10.0, 9.99, -0.3, 0.7], 3);
    let bound = Band::at_most(1.001);
    let because = "the Jacobian diag(p) - p p' takes a change of at most d to one of at most 4 P (1 - P) d in sum";
    let name = |what: &str| format!("change of probabilities over change of logits, {what}");
    Findings {
        checks: vec![
            Check::new(&name(&format!("worst of {} rows", rows.len())), bound, because, worst(1.0)),
            Check::new(
                "the published measure near a tie",
                Band::at_least(5.0),
                "two near logits share nearly all of the probability",
                Interval::exact(f64::from(tie_out / tie_in)),
            ),
        ],
        controls: vec![Check::new(&name("logits times 8"), bound, because, worst(8.0))],
        positive_controls: vec![Check::new(
            &name("two equal logits"),
            Band::between(0.499, 0.501),
            "p (1 - p) twice, at p = 1/2",
            quotient(&[0.0, 0.0], &[0.0, 1e-6], 1.0).map(Interval::exact),
        )],
        notes: vec![format!("relative L2 gain over the rows: median {middle:.2}, 5 to 95 % {low:.2} to {high:.2}")],
    }
}
