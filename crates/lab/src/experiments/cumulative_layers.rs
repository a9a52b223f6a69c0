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
//! Measured over predicted after the last layer, with a bootstrap over positions, lies outside 0.8 to 1.25.
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

use twinpath_engine::Model;
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::{fixture, teacher};

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "cumulative-layers", number: "016/017", source: include_str!("cumulative_layers.rs"), published };

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
    let rule = Rule::new("last over first of 28", &[(5.0, "CONFIRMED"), (1.5, "MODEST")], "SATURATES");
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
