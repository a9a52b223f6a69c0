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
//! Path B's norm made 1 % too large; a norm with a hundred times the epsilon, on rows of small values. Positive
//! control: the model's epsilon on the same rows.
//!
//! # Blind spots
//!
//! The gains after the projection may enlarge an error, up to their largest over their root mean square: the note says
//! by how much here.

use twinpath_engine::{Model, Numerics, Op, Oracle, Point, Site, Tensor};
use twinpath_evidence::experiment::{Band, Check, Findings, Interval, Measured};
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::fixture::{self, BASELINE, BLOCK, percent, relative_l1, times};
use super::kit::{Bench, stats};

pub(super) const EXPERIMENT: Experiment = Experiment {
    id: "A6-rmsnorm",
    number: "015",
    source: include_str!("a6_rmsnorm.rs"),
    published,
    sound,
    needs_runs: true,
};

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

/// Unit roundoff of f32.
const U: f64 = 1.0 / 16_777_216.0;

/// The path's norm without gains.
fn sphere(bench: &Bench<'_>, x: &Tensor<f32>, eps: f64) -> Tensor<f32> {
    let weight = vec![1.0; x.cols()];
    bench.a().eval(Site::block(0, Point::AttnNorm), &Op::Norm { weight: &weight, eps }, &[x])
}

/// Distance of two normalised rows over their distance in geometric-mean lengths, worst row; `gain` is on B's norm alone.
fn quotient(bench: &Bench<'_>, a: &Tensor<f32>, b: &Tensor<f32>, gain: f32) -> Option<f64> {
    let eps = bench.model.config().eps;
    let (y, mut z) = (sphere(bench, a, eps), sphere(bench, b, eps));
    z.data_mut().iter_mut().for_each(|z| *z *= gain);
    let row = |t: usize| {
        let apart = stats::distance(a.row(t), b.row(t));
        let lengths = (stats::norm(a.row(t)) * stats::norm(b.row(t))).sqrt();
        let normal = stats::distance(y.row(t), z.row(t)) / (a.cols() as f64).sqrt();
        (apart / lengths > 1e-4).then(|| normal * lengths / apart)
    };
    (0..a.rows()).filter_map(row).reduce(f64::max)
}

/// Largest distance of a row from its f64 definition, in u.
fn off(bench: &Bench<'_>, x: &Tensor<f32>, found: &Tensor<f32>) -> f64 {
    let wide = Tensor::new(x.rows(), x.cols(), x.data().iter().map(|x| f64::from(*x)).collect());
    let weight = vec![1.0; x.cols()];
    let op = Op::Norm { weight: &weight, eps: bench.model.config().eps };
    let exact = Oracle.eval(Site::block(0, Point::AttnNorm), &op, &[&wide]);
    let row = |t: usize| {
        let difference = found.row(t).iter().zip(exact.row(t)).map(|(f, e)| (f64::from(*f) - e).powi(2)).sum::<f64>();
        (difference / exact.row(t).iter().map(|e| e * e).sum::<f64>()).sqrt() / U
    };
    (0..x.rows()).map(row).fold(0.0, f64::max)
}

fn sound(bench: &Bench<'_>) -> Findings {
    let residual = |point| matches!(point, Point::Embed | Point::AttnResidual | Point::Output);
    let pairs = || bench.runs.iter().flat_map(|runs| runs.pairs()).filter(|(site, ..)| residual(site.point));
    let worst = |gain: f32| match pairs().filter_map(|(_, a, b)| quotient(bench, a, b, gain)).reduce(f64::max) {
        Some(most) => Interval::exact(most).into(),
        None => Measured::NotExercised { why: "no row drifts by more than a ten-thousandth".to_owned() },
    };
    let eps = bench.model.config().eps;
    let definition = pairs().map(|(_, a, _)| off(bench, a, &sphere(bench, a, eps))).fold(0.0, f64::max);
    let small = Tensor::new(4, 256, stats::gaussian(15, 4, 256).data().iter().map(|x| 0.1 * x).collect());
    let other = off(bench, &small, &sphere(bench, &small, 100.0 * eps.max(1e-9)));
    let right = off(bench, &small, &sphere(bench, &small, eps));
    let gains = bench.model.vector("blk.0.attn_norm.weight");
    let largest = gains.iter().fold(0.0f32, |m, g| m.max(g.abs()));
    let spread = f64::from(largest) / (stats::norm(gains) / (gains.len() as f64).sqrt());
    let bound = Band::at_most(1.001);
    let roundings = Band::at_most(8.0);
    let geometry = "two vectors are no nearer than their directions, on the scale of their mean length";
    let few = "a sum in f32, a root, a division and a product";
    let ratio = |what: &str| format!("relative error after the norm over before, {what}");
    let distance = |what: &str| format!("distance from the definition in u, {what}");
    Findings {
        checks: vec![
            Check::new(&ratio("worst row of all residuals"), bound, geometry, worst(1.0)),
            Check::new(&distance("worst row of all residuals"), roundings, few, Interval::exact(definition)),
        ],
        controls: vec![
            Check::new(&ratio("B's norm 1 % too large"), bound, geometry, worst(1.01)),
            Check::new(&distance("a hundred times the epsilon, small values"), roundings, few, Interval::exact(other)),
        ],
        positive_controls: vec![Check::new(
            &distance("the model's epsilon, small values"),
            roundings,
            few,
            Interval::exact(right),
        )],
        notes: vec![format!("the gains of the first norm can enlarge an error by up to {spread:.1}")],
    }
}
