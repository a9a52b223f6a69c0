//! # Claim
//!
//! Real weights do not amplify the rounding of activations: the weights cancel out of the expected relative drift.
//!
//! # Why it matters
//!
//! Published as `partially confirmed, 5.56x`, from one super-block. A quotient of two single numbers has no mean: one
//! random super-block in six exceeds that band.
//!
//! # Procedure
//!
//! Published (014): the first super-block of the 7B model's layer-3 ffn_down. Here: the whole tensor of that name (or
//! of the middle layer) on 16 Gaussian activations; relative L2 over all its rows, against the size that the
//! activations alone predict, rho = sqrt(mean of amax^2 over blocks) / (127 sqrt(12) rms(x)).
//!
//! # Refuted if
//!
//! Measured over predicted, pooled over the inputs, lies outside 0.8 to 1.25.
//!
//! # Control
//!
//! The tensor with the scale of the first super-block of each row doubled, in path B only. Positive
//! control: the rounding error multiplied in f64.
//!
//! # Blind spots
//!
//! Gaussian activations are smoother than real ones: on the model's own see `mechanism`. Works on 256-wide block
//! formats.

use twinpath_engine::{Model, Numerics, Tensor};
use twinpath_evidence::experiment::{Band, Check, Findings, Interval, Measured};
use twinpath_evidence::published::{PublishedRecord, Row, Rule};
use twinpath_formats::Matrix;

use super::Experiment;
use super::kit::fixture::{self, BASELINE, percent, times};
use super::kit::{Bench, stats, teacher, weights};

pub(super) const EXPERIMENT: Experiment = Experiment {
    id: "A5-real-weights",
    number: "014",
    source: include_str!("a5_real_weights.rs"),
    published,
    sound,
    needs_runs: false,
};

fn published(model: Option<&Model>) -> PublishedRecord {
    let steps = [(50.0, "STRONGLY CONFIRMED"), (5.0, "PARTIALLY CONFIRMED"), (1.5, "MODESTLY CONFIRMED")];
    let rule = Rule::new("gain over 008", &steps, "NOT CONFIRMED");
    let print = |x: f32| format!("{x:.6}");
    let figures = teacher::first_block(model, 3).map(|block| {
        let (a, b) = fixture::both(block, &fixture::activation(0));
        (fixture::scales(block), a, b)
    });
    let (rows, gain) = match figures {
        Ok(((d, dmin), a, b)) => {
            let relative = fixture::relative(a, b);
            let rows = vec![
                Row::digits("d of the super-block", "0.000103354454", d, |x| format!("{x:.12}")),
                Row::digits("dmin of the super-block", "0.0007982254", dmin, |x| format!("{x:.10}")),
                Row::bits("path A", "-1.658492", 0xbfd4_4977, a, print),
                Row::bits("path B", "-1.665596", 0xbfd5_323e, b, print),
                Row::digits("relative difference", "0.428329 %", relative, percent),
                Row::digits("gain over 008", "5.5627x", relative / BASELINE, times),
            ];
            (rows, Some(relative / BASELINE))
        }
        Err(needs) => {
            let rows = vec![
                Row::skipped("d of the super-block", "0.000103354454", None, &needs),
                Row::skipped("dmin of the super-block", "0.0007982254", None, &needs),
                Row::skipped("path A", "-1.658492", Some(0xbfd4_4977), &needs),
                Row::skipped("path B", "-1.665596", Some(0xbfd5_323e), &needs),
                Row::skipped("relative difference", "0.428329 %", None, &needs),
                Row::skipped("gain over 008", "5.5627x", None, &needs),
            ];
            (rows, None)
        }
    };
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "A5 PARTIALLY CONFIRMED 5.56x".to_owned(),
        rule_says: gain.map(|gain| rule.says(f64::from(gain)).to_owned()),
        rule,
        rows,
        notes: Vec::new(),
    }
}

/// Inputs: as few as an interval can be had for, so that a tensor of 68 million weights takes a fraction of a second.
const INPUTS: usize = 16;
/// Rows that the controls look at.
const ROWS: usize = 256;

/// Measured over predicted relative L2, pooled over the inputs.
fn amplification(a: &Tensor<f32>, b: &dyn Fn(usize, usize) -> f64, x: &Tensor<f32>) -> Option<Interval> {
    let each = |t: usize| {
        let difference = a.row(t).iter().enumerate().map(|(i, a)| (b(t, i) - f64::from(*a)).powi(2)).sum::<f64>();
        difference.sqrt() / stats::norm(a.row(t)) / weights::predicted(x.row(t))
    };
    let each: Vec<f64> = (0..x.rows()).map(each).collect();
    stats::bootstrap(each.len(), "inputs", |chosen| {
        (chosen.iter().map(|t| each[*t] * each[*t]).sum::<f64>() / chosen.len() as f64).sqrt()
    })
}

fn sound(bench: &Bench<'_>) -> Findings {
    let layer = bench.layer();
    let band = Band::between(0.8, 1.25);
    let because = "for weights that do not know the input, the drift is that of the activations";
    let name = |what: &str| format!("relative L2 of B - A over that of the activations, {what}");
    let mut names = weights::LINEARS.iter().rev().map(|(name, _)| (name, weights::weight(bench.model, layer, name)));
    let found = names.find_map(|(name, w)| Some((name, w, weights::scale_offset(w.tensor_type())?)));
    let Some((tensor, weight, offset)) = found else {
        let none = Measured::NotExercised { why: "no weight of 256-wide blocks in the layer".to_owned() };
        return Findings { checks: vec![Check::new(&name("one tensor"), band, because, none)], ..Findings::default() };
    };
    let x = stats::gaussian(14, INPUTS, weight.cols());
    let (a, b) = (weights::linear(&bench.a(), weight, &x), weights::linear(&bench.b(), weight, &x));
    let few = weight.rows_of(0..ROWS.min(weight.rows()));
    let (broken, replica, few_a) = controls(bench, few, offset, &x);
    let published = teacher::first_block(Some(bench.model), 3);
    let mut checks = vec![Check::new(
        &name(&format!("blk.{layer}.{tensor} ({} x {})", weight.rows(), weight.cols())),
        band,
        because,
        amplification(&a, &|t, i| f64::from(b.row(t)[i]), &x),
    )];
    if let Err(needs) = published {
        checks.push(Check::new(&name("the published tensor"), band, because, Measured::Skipped { needs }));
    }
    Findings {
        checks,
        controls: vec![Check::new(
            &name("a scale doubled in each row of B"),
            band,
            because,
            amplification(&few_a, &|t, i| f64::from(broken.row(t)[i]), &x),
        )],
        positive_controls: vec![Check::new(
            &name("A + W e in f64 for B"),
            band,
            because,
            amplification(&few_a, &|t, i| f64::from(few_a.row(t)[i]) + replica.row(t)[i], &x),
        )],
        notes: Vec::new(),
    }
}

/// Of a few rows: path B with the first super-block's scale doubled in each, `W e` in f64, and path A.
fn controls(
    bench: &Bench<'_>,
    few: Matrix<'_>,
    offset: usize,
    x: &Tensor<f32>,
) -> (Tensor<f32>, Tensor<f64>, Tensor<f32>) {
    let mut bytes = few.bytes().to_vec();
    for row in bytes.chunks_exact_mut(few.row_bytes()) {
        weights::double_f16(row, offset);
    }
    let b = bench.b();
    let path: &dyn Numerics<Elem = f32> = &b;
    let broken = Matrix::new(few.tensor_type(), few.rows(), few.cols(), &bytes).unwrap_or(few);
    let replica = weights::exact(few, &weights::rounding(x, fixture::BLOCK));
    (weights::linear(path, broken, x), replica, weights::linear(&bench.a(), few, x))
}
