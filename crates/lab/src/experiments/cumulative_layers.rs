//! # Claim
//!
//! The error of the residual stream after the last layer is what the layers added, each passed on by those after it.
//!
//! # Why it matters
//!
//! Published as a chain of 28 layers. It chains nothing: each layer's input is the first one, and each layer
//! contributes one super-block. One of them came out at 442 %, by cancellation in its denominator.
//!
//! # Procedure
//!
//! Published (016, 017): the first super-block of ffn_down of every layer of the 7B model. Here: both paths' runs, and
//! each layer of path A on path B's input. What a layer adds (n) and what it does to the error that it inherits (a) are
//! measured apart; rho'^2 = n^2 + (a rho)^2 predicts the error after the last layer.
//!
//! # Refuted if
//!
//! Measured over predicted after the last layer, with a bootstrap over positions, lies outside 0.9 to 1.1.
//!
//! # Control
//!
//! The same with nothing added after the first layer. Positive control: the exact identity x'B - x'A = added + passed
//! on, to 1 in 10000.
//!
//! # Blind spots
//!
//! Additions are taken to be uncorrelated with what is inherited; a bias that is the same in all layers would show as a
//! quotient above 1.

use twinpath_engine::{Model, Point, Site};
use twinpath_evidence::experiment::{Band, Check, Findings, Interval, Measured};
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::runs::{Step, accumulated, closure, first_only};
use super::kit::{Bench, fixture, stats, teacher};

pub(super) const EXPERIMENT: Experiment = Experiment {
    id: "cumulative-layers",
    number: "016/017",
    source: include_str!("cumulative_layers.rs"),
    published,
    sound,
    needs_runs: true,
};

/// Layers of the published model, and of its shorter chain.
const LAYERS: usize = 28;
const SHORT: usize = 5;

/// Relative difference of each layer's first super-block on the published activation.
fn layers(model: Option<&Model>) -> Result<Vec<f32>, String> {
    let relative = |layer| {
        let (a, b) = fixture::both(teacher::first_block(model, layer)?, &fixture::activation(0));
        Ok(fixture::relative(a, b))
    };
    // The layer whose super-block is known says whether it is that model.
    teacher::first_block(model, 3)?;
    (0..LAYERS).map(relative).collect()
}

fn published(model: Option<&Model>) -> PublishedRecord {
    let rule = Rule::new("last over first of 28; no bands are known", &[], "saturation");
    let expected = [
        ("layer 4 over layer 0", "1.8081x"),
        ("layer 27 over layer 0", "1.8103x"),
        ("largest", "441.978 %"),
        ("layer of the largest", "24"),
    ];
    let found = layers(model);
    let rows = match &found {
        Err(needs) => expected.map(|(figure, value)| Row::skipped(figure, value, None, needs)).to_vec(),
        Ok(relative) => {
            let most = relative.iter().copied().fold(0.0f32, f32::max);
            let layer = relative.iter().position(|r| *r == most).unwrap_or(0);
            vec![
                Row::digits(expected[0].0, expected[0].1, relative[SHORT - 1] / relative[0], fixture::times),
                Row::digits(expected[1].0, expected[1].1, relative[LAYERS - 1] / relative[0], fixture::times),
                Row::digits(expected[2].0, expected[2].1, most, |x| format!("{:.3} %", x * 100.0)),
                Row::words(expected[3].0, expected[3].1, &layer.to_string()),
            ]
        }
    };
    let says = found.ok().map(|r| rule.says(f64::from(r[LAYERS - 1] / r[0])).to_owned());
    PublishedRecord {
        id: EXPERIMENT.id.to_owned(),
        number: EXPERIMENT.number.to_owned(),
        title: "saturation confirmed at 1.81x".to_owned(),
        rule_says: says,
        rule,
        rows,
        notes: vec![
            "the published chain rescales each next input by less than 0.1 %; here it is the first one".to_owned(),
        ],
    }
}

/// `‖(x'B − x'A) − added − passed on‖ / ‖x'B − x'A‖`, worst layer.
fn identity(bench: &Bench<'_>) -> f64 {
    let mut worst = 0.0f64;
    for (layer, crossed) in bench.runs.iter().flat_map(|runs| runs.crossed.iter().enumerate()) {
        let site = Site::block(layer, Point::Output);
        let pair = bench.runs.as_ref().and_then(|runs| Some((runs.a.get(&site)?, runs.b.get(&site)?)));
        let Some((a, b)) = pair else { continue };
        let (mut rest, mut all) = (0.0, 0.0);
        for ((a, b), c) in a.data().iter().zip(b.data()).zip(crossed.data()) {
            let (added, passed) = (b - c, c - a);
            let difference = f64::from(*b) - f64::from(*a);
            rest += (difference - f64::from(added) - f64::from(passed)).powi(2);
            all += difference * difference;
        }
        if all > 0.0 {
            worst = worst.max((rest / all).sqrt());
        }
    }
    worst
}

fn sound(bench: &Bench<'_>) -> Findings {
    let steps = bench.runs.as_ref().map(|runs| runs.recursion()).unwrap_or_default();
    let band = Band::between(0.9, 1.1);
    let because = "what a layer adds is uncorrelated with what it inherits";
    let name = |what: &str| format!("error after the last layer over predicted, {what}");
    let closed = |energy: fn(&[Step]) -> f64| closure(&steps, energy, "positions");
    let mut checks = vec![Check::new(&name(&format!("{} layers", steps.len())), band, because, closed(accumulated))];
    if let Err(needs) = teacher::first_block(Some(bench.model), 3) {
        checks.push(Check::new(&name("the published model"), band, because, Measured::Skipped { needs }));
    }
    let notes = steps.iter().enumerate().map(|(layer, one)| {
        let middle = |f: fn(&Step) -> f64| stats::quantiles(one.iter().map(f).collect())[1];
        format!(
            "layer {layer}: adds {:.3} %, gain {:.2}, error after it {:.3} % (medians)",
            100.0 * middle(|s| s.added),
            middle(|s| s.gain),
            100.0 * middle(|s| s.error)
        )
    });
    Findings {
        checks,
        controls: vec![Check::new(&name("nothing added after the first"), band, because, closed(first_only))],
        positive_controls: vec![Check::new(
            "part of the error that is neither added nor passed on",
            Band::at_most(1e-4),
            "an identity, to the rounding of two f32 differences",
            Interval::exact(identity(bench)),
        )],
        notes: notes.collect(),
    }
}
