//! # Claim
//!
//! Scaling a weight's blocks scales both paths alike: the relative difference does not depend on the scale.
//!
//! # Why it matters
//!
//! Published as a candidate cause (`real weights have larger scales`). It is homogeneity, a theorem, and worth a test
//! of the kernels only.
//!
//! # Procedure
//!
//! Published (010): one super-block at seven scales. Here: a Q4_K tensor of the middle layer with both f16 scales of
//! every block doubled. Each output of both paths must be exactly double. Not exercised where a scale would overflow.
//!
//! # Refuted if
//!
//! One output is not exactly twice the other.
//!
//! # Control
//!
//! The scale doubled and the minimum's scale not. Positive control: the tensor against itself, times one.
//!
//! # Blind spots
//!
//! Only a power of two can be tested for equality of bits; other factors round.

use twinpath_engine::{Model, Numerics, Tensor};
use twinpath_evidence::experiment::{Band, Check, Findings, Interval, Measured};
use twinpath_evidence::published::{PublishedRecord, Row, Rule};
use twinpath_formats::{Matrix, TensorType};

use super::Experiment;
use super::kit::fixture::{self, percent};
use super::kit::{Bench, stats, weights};

pub(super) const EXPERIMENT: Experiment = Experiment {
    id: "A3-block-scale",
    number: "010",
    source: include_str!("a3_block_scale.rs"),
    published,
    sound,
    needs_runs: false,
};

/// The published label of each scale, its bytes, and the published relative difference.
const SCALES: [(&str, [u8; 2], &str); 7] = [
    ("0.001", [0x10, 0x14], "0.091873 %"),
    ("0.01", [0x1f, 0x21], "0.091873 %"),
    ("0.05", [0x33, 0x29], "0.091924 %"),
    ("0.1", [0x66, 0x2e], "0.092017 %"),
    ("0.5", [0x00, 0x38], "0.091932 %"),
    ("1", [0x00, 0x3c], "0.091932 %"),
    ("10", [0x00, 0x49], "0.091966 %"),
];

fn published(_: Option<&Model>) -> PublishedRecord {
    let x = fixture::activation(0);
    let mut rows = Vec::new();
    let mut all = Vec::new();
    let mut notes = Vec::new();
    for (label, d, expected) in SCALES {
        let mut block = fixture::block(0, 0);
        block[..4].copy_from_slice(&[d[0], d[1], 0, 0]);
        let (a, b) = fixture::both(&block, &x);
        let relative = fixture::relative(a, b);
        all.push(relative);
        rows.push(Row::digits(&format!("relative difference at d \"{label}\""), expected, relative, percent));
        let stored = fixture::scales(&block).0;
        // Half a unit of the label's last place is what a label may be off by.
        if label.parse::<f32>().is_ok_and(|named| (stored / named - 1.0).abs() > 0.001) {
            notes.push(format!("the label {label} is wrong: its bytes are {stored}"));
        }
    }
    let (least, most) = all.iter().fold((f32::MAX, 0.0f32), |(l, m), x| (l.min(*x), m.max(*x)));
    rows.push(Row::digits("largest over smallest", "1.00x", most / least, |x| format!("{x:.2}x")));
    let rule = Rule::new("largest over smallest", &[(5.0, "PARTIALLY CONFIRMED")], "NOT CONFIRMED");
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "A3 FALSIFIED (variance factor 1.00x)".to_owned(),
        rule_says: Some(rule.says(f64::from(most / least)).to_owned()),
        rule,
        rows,
        notes,
    }
}

/// The weight with the f16 at each of `offsets` doubled in every block; nothing if one would overflow.
fn doubled(weight: &Matrix<'_>, offsets: &[usize]) -> Option<Vec<u8>> {
    let mut bytes = weight.bytes().to_vec();
    let mut blocks = bytes.chunks_exact_mut(weight.format().block_bytes());
    let fits = blocks.all(|b| offsets.iter().all(|at| weights::double_f16(b, *at)));
    fits.then_some(bytes)
}

/// Outputs of both paths that are not `factor` times what they were.
fn off(bench: &Bench<'_>, weight: Matrix<'_>, bytes: &[u8], factor: f32) -> Option<Interval> {
    let scaled = Matrix::new(weight.tensor_type(), weight.rows(), weight.cols(), bytes).ok()?;
    let x = stats::gaussian(10, 4, weight.cols());
    let count = |path: &dyn Numerics<Elem = f32>| {
        let (before, after): (Tensor<f32>, Tensor<f32>) =
            (weights::linear(path, weight, &x), weights::linear(path, scaled, &x));
        before.data().iter().zip(after.data()).filter(|(b, a)| (factor * **b).to_bits() != a.to_bits()).count()
    };
    Some(Interval::exact((count(&bench.a()) + count(&bench.b())) as f64))
}

fn sound(bench: &Bench<'_>) -> Findings {
    let layer = bench.layer();
    let mut candidates =
        weights::LINEARS.iter().rev().map(|(name, _)| (name, weights::weight(bench.model, layer, name)));
    let absent = |why: &str| Measured::NotExercised { why: why.to_owned() };
    let because = "both paths are linear in d and dmin, and doubling is exact";
    let name = |what: &str| format!("outputs not exactly doubled, {what}");
    let Some((tensor, weight)) = candidates.find(|(_, w)| w.tensor_type() == TensorType::Q4K) else {
        let none = || absent("no Q4_K weight in the layer");
        let checks = vec![Check::new(&name("both scales doubled"), Band::none(), because, none())];
        return Findings { checks, ..Findings::default() };
    };
    let measured = |offsets: &[usize]| match doubled(&weight, offsets) {
        None => absent("a scale is too large to be doubled"),
        Some(bytes) => off(bench, weight, &bytes, 2.0).into(),
    };
    let outputs = 2 * 4 * weight.rows();
    Findings {
        checks: vec![Check::new(
            &name(&format!("blk.{layer}.{tensor}, of {outputs}")),
            Band::none(),
            because,
            measured(&[0, 2]),
        )],
        controls: vec![Check::new(&name("minimums left alone"), Band::none(), because, measured(&[0]))],
        positive_controls: vec![Check::new(
            "outputs that change when nothing is scaled",
            Band::none(),
            because,
            off(bench, weight, weight.bytes(), 1.0),
        )],
        notes: Vec::new(),
    }
}
