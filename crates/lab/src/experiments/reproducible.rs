//! # Claim
//!
//! The bits of a path do not depend on threads, on how a prompt is cut into calls, or on the instruction set.
//!
//! # Why it matters
//!
//! A comparison of two paths means nothing if a path differs from itself.
//!
//! # Procedure
//!
//! Published (005): two f32 matrix products of fixed inputs, each run twice. Here: every linear weight of the model's
//! middle layer, along every path, on every instruction set of this processor, on one and three threads, whole and cut
//! into calls of one position. Counts outputs whose bits differ from portable code on one thread.
//!
//! # Refuted if
//!
//! One output differs in one bit.
//!
//! # Control
//!
//! A dot product that each thread sums over its own share of the terms: its bits do depend on the number of threads.
//! Positive control: the same run twice.
//!
//! # Blind spots
//!
//! Only this processor's instruction sets. Two runs that share an error agree. Attention and norms are covered by the
//! tests of the paths, not here.

use twinpath_engine::{Model, Tensor};
use twinpath_evidence::experiment::{Band, Check, Findings, Interval};
use twinpath_evidence::published::{PublishedRecord, Row, Rule};
use twinpath_paths::PATHS;
use twinpath_paths::simd::Isa;

use super::Experiment;
use super::kit::fixture::fold_dot;
use super::kit::{Bench, stats, weights};

pub(super) const EXPERIMENT: Experiment = Experiment {
    id: "reproducible",
    number: "005",
    source: include_str!("reproducible.rs"),
    published,
    sound,
    needs_runs: false,
};

/// `rows` outputs for each of `seq` positions of width `cols`.
fn product(x: &[f32], w: &[f32], cols: usize) -> Vec<f32> {
    x.chunks_exact(cols).flat_map(|x| w.chunks_exact(cols).map(|w| fold_dot(x, w))).collect()
}

fn published(_: Option<&Model>) -> PublishedRecord {
    let ramp = |n: usize, f: fn(usize) -> f32| (0..n).map(f).collect::<Vec<f32>>();
    let x = ramp(4 * 128, |i| ((i % 17) as f32 - 8.0) * 0.1);
    let w = ramp(512 * 128, |i| ((31 * i % 23) as f32 - 11.0) * 0.05);
    let x1 = ramp(128, |i| ((i % 13) as f32 - 6.0) * 0.1);
    let w1 = ramp(64 * 128, |i| ((23 * i % 19) as f32 - 9.0) * 0.05);
    let differing = |x: &[f32], w: &[f32]| {
        let (first, second) = (product(x, w, 128), product(x, w, 128));
        first.iter().zip(&second).filter(|(a, b)| a.to_bits() != b.to_bits()).count()
    };
    let (four, one) = (differing(&x, &w), differing(&x1, &w1));
    let rule = Rule::new("outputs that differ", &[(0.0, "FAIL")], "PASS");
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "PASS".to_owned(),
        rule_says: Some(rule.says((four + one) as f64).to_owned()),
        rule,
        rows: vec![
            Row::words("005: differing of 2048 outputs", "0", &four.to_string()),
            Row::words("005b: differing of 64 outputs", "0", &one.to_string()),
        ],
        notes: vec!["true by construction: one function, called twice, on one thread per output".to_owned()],
    }
}

/// Positions of the batch.
const POSITIONS: usize = 5;

fn sound(bench: &Bench<'_>) -> Findings {
    let layer = bench.layer();
    let (mut differing, mut outputs) = (0u64, 0u64);
    let mut twice = 0;
    for (i, (name, _)) in weights::LINEARS.iter().enumerate() {
        let weight = weights::weight(bench.model, layer, name);
        let x = stats::gaussian(i as u64, POSITIONS, weight.cols());
        for entry in PATHS {
            let run = |isa: Isa, x: &Tensor<f32>| weights::linear((entry.new)(isa).as_ref(), weight, x);
            let reference = on_threads(1, || run(Isa::PORTABLE, &x));
            twice += differ(&reference, &on_threads(1, || run(Isa::PORTABLE, &x)));
            outputs += reference.data().len() as u64;
            for isa in Isa::all_available() {
                for threads in [1, 3] {
                    let whole = on_threads(threads, || run(isa, &x));
                    let mut cut = Tensor::zeros(0, weight.rows());
                    (0..POSITIONS).for_each(|t| cut.append(&on_threads(threads, || run(isa, &x.rows_of(t..t + 1)))));
                    differing += differ(&reference, &whole) + differ(&reference, &cut);
                }
            }
        }
    }
    let because = "threads share out whole outputs, and kernels have one order of additions";
    let name = |what: &str| format!("outputs whose bits differ, {what}");
    Findings {
        checks: vec![Check::new(
            &name(&format!("of {outputs} of layer {layer}, in any run")),
            Band::none(),
            because,
            Interval::exact(differing as f64),
        )],
        controls: vec![Check::new(
            &name("sums shared out over 2 threads and 3"),
            Band::none(),
            because,
            Interval::exact(shared_out() as f64),
        )],
        positive_controls: vec![Check::new(
            &name("the same run twice"),
            Band::none(),
            because,
            Interval::exact(twice as f64),
        )],
        notes: Vec::new(),
    }
}

fn differ(a: &Tensor<f32>, b: &Tensor<f32>) -> u64 {
    a.data().iter().zip(b.data()).filter(|(a, b)| a.to_bits() != b.to_bits()).count() as u64
}

/// Runs on so many threads; on this one if they cannot be had.
fn on_threads<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        Ok(pool) => pool.install(run),
        Err(_) => run(),
    }
}

/// Of 64 dot products, how many differ in bits when 2 and when 3 threads each sum their share of the terms.
fn shared_out() -> usize {
    let (x, w) = (stats::gaussian(91, 64, 768), stats::gaussian(92, 64, 768));
    let shares = |t: usize, n: usize| {
        let pieces = x.row(t).chunks(768 / n).zip(w.row(t).chunks(768 / n));
        pieces.map(|(x, w)| fold_dot(x, w)).fold(0.0f32, |s, piece| s + piece)
    };
    (0..64).filter(|t| shares(*t, 2).to_bits() != shares(*t, 3).to_bits()).count()
}
