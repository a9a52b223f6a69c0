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
//! of the middle layer) on 64 Gaussian activations; relative L2 over all its rows, against the size that the
//! activations alone predict, rho = sqrt(mean of amax^2 over blocks) / (127 sqrt(12) rms(x)).
//!
//! # Refuted if
//!
//! Measured over predicted, pooled over the inputs, lies outside 0.8 to 1.25.
//!
//! # Control
//!
//! The tensor with one bit of a 6-bit scale flipped in the first super-block of each row, in path B only. Positive
//! control: the rounding error multiplied in f64.
//!
//! # Blind spots
//!
//! Gaussian activations are smoother than real ones: on the model's own see `mechanism`. Works on 256-wide block
//! formats.

use twinpath_engine::Model;
use twinpath_evidence::published::{PublishedRecord, Row, Rule};

use super::Experiment;
use super::kit::fixture::{self, BASELINE, percent, times};
use super::kit::teacher;

pub(super) const EXPERIMENT: Experiment =
    Experiment { id: "A5-real-weights", number: "014", source: include_str!("a5_real_weights.rs"), published };

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
