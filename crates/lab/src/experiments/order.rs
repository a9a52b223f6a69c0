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
use twinpath_evidence::experiment::{Band, Check, Findings, Interval};
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::fixture::{fold_dot, lane_dot};
use super::kit::{Bench, stats, weights};

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "order", number: "006", source: include_str!("order.rs"), published, sound, needs_runs: false };

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

/// Pairs of a weight row and an activation.
const PAIRS: usize = 4096;
/// Variance of one rounding over the square of what is rounded: uniform in half a unit either way, mantissas spread evenly
/// on a logarithmic scale.
const ROUNDING: f64 = 0.1803 / (16_777_216.0 * 16_777_216.0);

fn sound(bench: &Bench<'_>) -> Findings {
    let layer = bench.layer();
    let weight = weights::weight(bench.model, layer, "ffn_down");
    let x = stats::gaussian(6, PAIRS, weight.cols());
    let mut exact = vec![0.0; weight.cols()];
    let (mut z, mut forgetful, mut same, mut equal) = (Vec::new(), Vec::new(), 0.0f64, 0);
    for t in 0..PAIRS {
        weight.decode_row(t * weight.rows() / PAIRS, &mut exact);
        let w: Vec<f32> = exact.iter().map(|w| *w as f32).collect();
        let x = x.row(t);
        let (fold, lanes) = (fold_dot(x, &w), lane_dot(x, &w));
        let deviation = (variance_of_fold(x, &w) + variance_of_lanes(x, &w)).sqrt();
        let of = |y: f32| (f64::from(y) - f64::from(lanes)) / deviation;
        z.push(of(fold));
        forgetful.push(of(fold_dot(&x[..x.len() - 1], &w)));
        same = same.max((f64::from(fold) - f64::from(fold_dot(x, &w))).abs());
        equal += usize::from(fold.to_bits() == lanes.to_bits());
    }
    let rms = |z: &[f64]| {
        stats::bootstrap(PAIRS, "pairs", |i| (i.iter().map(|i| z[*i] * z[*i]).sum::<f64>() / i.len() as f64).sqrt())
    };
    let most = z.iter().fold(0.0f64, |m, z| m.max(z.abs()));
    let ratio = "root mean square of the difference over its predicted deviation";
    let because = "variance 0.1803 u^2 of each partial sum and of each rounded product";
    let band = Band::between(0.9, 1.1);
    Findings {
        checks: vec![
            Check::new(&format!("{ratio}, {PAIRS} pairs"), band, because, rms(&z)),
            Check::new(
                "largest difference in deviations",
                Band::at_most(8.0),
                "eight deviations",
                Interval::exact(most),
            ),
        ],
        controls: vec![Check::new(&format!("{ratio}, one term forgotten"), band, because, rms(&forgetful))],
        positive_controls: vec![Check::new(
            "largest difference of one order with itself",
            Band::none(),
            because,
            Interval::exact(same),
        )],
        notes: vec![format!("{:.1} % of the pairs agree in every bit", 100.0 * equal as f64 / PAIRS as f64)],
    }
}

fn variance_of_fold(x: &[f32], w: &[f32]) -> f64 {
    let (mut sum, mut squares) = (0.0, 0.0);
    for (x, w) in x.iter().zip(w) {
        let product = f64::from(*x) * f64::from(*w);
        sum += product;
        squares += product * product + sum * sum;
    }
    ROUNDING * squares
}

fn variance_of_lanes(x: &[f32], w: &[f32]) -> f64 {
    let (mut lanes, mut squares) = ([0.0f64; 8], 0.0);
    for (i, (x, w)) in x.iter().zip(w).enumerate() {
        lanes[i % 8] += f64::from(*x) * f64::from(*w);
        squares += lanes[i % 8] * lanes[i % 8];
    }
    let half: Vec<f64> = (0..4).map(|l| lanes[l] + lanes[l + 4]).collect();
    let tree = [half[0], half[1], half[2], half[3], half[0] + half[1], half[2] + half[3], half.iter().sum()];
    ROUNDING * (squares + tree.iter().map(|s| s * s).sum::<f64>())
}
