//! # Claim
//!
//! Rotary embedding is a rotation: it keeps the length of an error, and a score depends on the distance of two
//! positions only.
//!
//! # Why it matters
//!
//! Published as a candidate amplifier. The published test scales the query and looks at a linear function of it at
//! position 0, where the rotation is the identity: it gives 1 whatever is implemented.
//!
//! # Procedure
//!
//! Published (012): one query at position 0, one key at position 1. Here: the queries of both paths' runs. The error's
//! length after the rotation over that before it, worst row of all positions from 1 on; and the scores of 32 random
//! pairs at positions (p, p') against those at (p - p', 0).
//!
//! # Refuted if
//!
//! A length changes by more than 1 in 10000, or a score by more than 1 in 10000 of the product of lengths.
//!
//! # Control
//!
//! The mean of the rotations of two neighbouring positions, which is none; a key rotated one position too far. Positive
//! control: the rotation in f64.
//!
//! # Blind spots
//!
//! A wrong base of the frequencies is also a rotation, and passes: it is found by comparing with the oracle. One token,
//! or position 0 alone, exercises nothing.

use twinpath_engine::{Elem, Model, Numerics, Op, Oracle, Point, Site, Tensor};
use twinpath_evidence::experiment::{Band, Check, Findings, Interval, Measured};
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::fixture::{BASELINE, fold_dot, percent, times};
use super::kit::{Bench, stats};

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "A1-rope", number: "012", source: include_str!("a1_rope.rs"), published, sound, needs_runs: true };

/// Width of the published head.
const DIM: usize = 64;

/// The published rotation: pairs `(i, i + 32)`, frequencies `10000^(-2i/64)`.
fn rotate(x: &[f32], position: usize) -> Vec<f32> {
    let mut y = x.to_vec();
    for i in 0..DIM / 2 {
        // Each rounded once from f64, as a good f32 library has them.
        let frequency = (1.0 / libm::pow(10_000.0, 2.0 * i as f64 / DIM as f64)) as f32;
        let angle = f64::from(position as f32 * frequency);
        let (sin, cos) = (libm::sin(angle) as f32, libm::cos(angle) as f32);
        y[i] = x[i] * cos - x[i + DIM / 2] * sin;
        y[i + DIM / 2] = x[i] * sin + x[i + DIM / 2] * cos;
    }
    y
}

fn published(_: Option<&Model>) -> PublishedRecord {
    let q: Vec<f32> = (0..DIM).map(|i| (i as f32 - 32.0) * 0.05 + (i % 5) as f32 * 0.02).collect();
    let k: Vec<f32> = (0..DIM).map(|i| (i as f32 - 32.0) * 0.04 + (i % 7) as f32 * 0.015).collect();
    let moved: Vec<f32> = q.iter().map(|q| q * (1.0 + BASELINE)).collect();
    let input = super::kit::fixture::relative_l1(&q, &moved);
    let score = |q: &[f32]| fold_dot(&rotate(q, 0), &rotate(&k, 1)) / (DIM as f32).sqrt();
    let output = super::kit::fixture::relative(score(&q), score(&moved));
    let gain = output / input;
    let steps = [(5.0, "CONFIRMED"), (1.5, "PARTIALLY CONFIRMED"), (0.5, "~1x NOT CONFIRMED")];
    let rule = Rule::new("gain", &steps, "FALSIFIED");
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "A1 FALSIFIED (unitary 1.00x)".to_owned(),
        rule_says: Some(rule.says(f64::from(gain)).to_owned()),
        rule,
        rows: vec![
            Row::digits("input relative difference", "0.076997 %", input, percent),
            Row::digits("output relative difference", "0.076986 %", output, percent),
            Row::digits("gain", "0.9999x", gain, times),
        ],
        notes: vec![
            "cannot fail: the query is scaled, the score is linear in it, and position 0 rotates nothing".to_owned(),
        ],
    }
}

/// Pairs of a query and a key whose score is looked at.
const PAIRS: usize = 32;

/// The model's rotation of `heads` heads, the first row at position `start`.
fn turn<E: Elem>(bench: &Bench<'_>, path: &dyn Numerics<Elem = E>, x: &Tensor<E>, start: usize) -> Tensor<E> {
    let c = bench.model.config();
    let op = Op::Rope { rope: &c.rope, heads: x.cols() / c.head_dim, start };
    path.eval(Site::block(0, Point::QRope), &op, &[x])
}

/// Largest relative change of a head's length between `x` and `y`, over all positions from 1 on.
fn stretch<E: Elem>(x: &Tensor<E>, y: &Tensor<E>, dim: usize, magnitude: f64) -> f64 {
    let length = |x: &[E]| x.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>().sqrt();
    let heads = (1..x.rows()).flat_map(|t| x.row(t).chunks_exact(dim).zip(y.row(t).chunks_exact(dim)));
    let heads = heads.filter(|(x, _)| length(x) > 0.0);
    heads.map(|(x, y)| (length(y) / length(x) / magnitude - 1.0).abs()).fold(0.0, f64::max)
}

/// The errors of path B's queries at every layer.
fn errors(bench: &Bench<'_>) -> Vec<Tensor<f32>> {
    let pairs = bench.runs.iter().flat_map(|runs| runs.pairs());
    let error = |a: &Tensor<f32>, b: &Tensor<f32>| {
        Tensor::new(a.rows(), a.cols(), a.data().iter().zip(b.data()).map(|(a, b)| b - a).collect())
    };
    pairs.filter(|(site, ..)| site.point == Point::Q).map(|(_, a, b)| error(a, b)).collect()
}

/// Largest change of a score when both positions move alike, over the product of the lengths. `late` moves the key too far.
fn shift(bench: &Bench<'_>, late: usize) -> f64 {
    let c = bench.model.config();
    let (q, k) = (stats::gaussian(12, PAIRS, c.head_dim), stats::gaussian(13, PAIRS, c.head_dim));
    let path = bench.a();
    let score = |i: usize, p: usize, r: usize| {
        let (q, k) = (turn(bench, &path, &q.rows_of(i..i + 1), p), turn(bench, &path, &k.rows_of(i..i + 1), r));
        let sum: f64 = q.data().iter().zip(k.data()).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
        sum / (stats::norm(q.data()) * stats::norm(k.data()))
    };
    let change = |i: usize| (score(i, 2 * i + 9, i + late) - score(i, i + 9, 0)).abs();
    (0..PAIRS).map(change).fold(0.0, f64::max)
}

fn sound(bench: &Bench<'_>) -> Findings {
    let c = bench.model.config();
    let (path, magnitude) = (bench.a(), c.rope.magnitude);
    let errors = errors(bench);
    let exercised = errors.first().is_some_and(|e| e.rows() > 1);
    let measured = |x: f64| match exercised {
        true => Interval::exact(x).into(),
        false => Measured::NotExercised { why: "position 0 is not rotated: give more than one token".to_owned() },
    };
    let most = |f: &dyn Fn(&Tensor<f32>) -> f64| errors.iter().map(f).fold(0.0, f64::max);
    let kept = most(&|d| stretch(d, &turn(bench, &path, d, 0), c.head_dim, magnitude));
    let skewed = most(&|d| {
        // Half of the sum of two rotations: what a sine or cosine of another position makes of it.
        let (here, next) = (turn(bench, &path, d, 0), turn(bench, &path, d, 1));
        let half = here.data().iter().zip(next.data()).map(|(a, b)| 0.5 * (a + b)).collect();
        stretch(d, &Tensor::new(d.rows(), d.cols(), half), c.head_dim, magnitude)
    });
    let exact = most(&|d| {
        let wide = Tensor::new(d.rows(), d.cols(), d.data().iter().map(|x| f64::from(*x)).collect());
        stretch(&wide, &turn(bench, &Oracle, &wide, 0), c.head_dim, magnitude)
    });
    let band = Band::at_most(1e-4);
    let because = "a rotation, to a few roundings of f32";
    let length = |what: &str| format!("relative change of an error's length, {what}");
    let scores = |what: &str| format!("change of a score when both positions move, {what}");
    Findings {
        checks: vec![
            Check::new(&length("worst head and position from 1 on"), band, because, measured(kept)),
            Check::new(&scores(&format!("worst of {PAIRS} pairs")), band, because, Interval::exact(shift(bench, 0))),
        ],
        controls: vec![
            Check::new(&length("halfway between two rotations"), band, because, measured(skewed)),
            Check::new(&scores("the key one too far"), band, because, Interval::exact(shift(bench, 1))),
        ],
        positive_controls: vec![Check::new(&length("the rotation in f64"), band, because, measured(exact))],
        notes: vec!["not exercised at position 0, where the published test has its query".to_owned()],
    }
}
