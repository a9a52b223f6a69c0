//! What a claim takes from a built-in experiment.

use twinpath_engine::Model;
use twinpath_evidence::contract::measured::{ControlFound, Measured, Number};
use twinpath_evidence::experiment::{Check, ExperimentRecord, Measured as Found, Verdict};
use twinpath_evidence::published::Reproduction;

use super::sites::Reading;
use crate::error::LabError;
use crate::experiments::{Experiment, reproduce};

/// One measurement of an experiment, or its verdict.
pub(super) fn read(record: &ExperimentRecord, check: Option<&str>) -> Reading {
    let checks = &record.findings.checks;
    let Some(name) = check else {
        let verdict = word(record.verdict()).to_owned();
        let numbers = checks.iter().map(line).collect();
        let open = [Verdict::Skipped, Verdict::NotExercised];
        let decided = checks.iter().filter(|c| !open.contains(&c.verdict())).count();
        let measured = Measured::Says { verdict, numbers };
        return Reading { measured, compared: decided as u64, expected: checks.len() as u64 };
    };
    let nothing = |why: String| Reading { measured: Measured::Nothing { why }, compared: 0, expected: 1 };
    match checks.iter().find(|c| c.name == name) {
        Some(check) => match &check.measured {
            Found::Value(x) => {
                let (low, value, high) = (Number(x.low), Number(x.estimate), Number(x.high));
                let measured = Measured::Interval { low, value, high, how: x.how.clone() };
                Reading { measured, compared: 1, expected: 1 }
            }
            _ => nothing(line(check)),
        },
        None => {
            let names: Vec<&str> = checks.iter().map(|c| c.name.as_str()).collect();
            nothing(format!("`{}` measures no `{name}`, but {names:?}", record.id))
        }
    }
}

/// The experiment's own controls.
pub(super) fn control(record: &ExperimentRecord) -> ControlFound {
    let controls = &record.findings.controls;
    let refuted = record.controls_hold();
    let what: Vec<&str> = controls.iter().map(|c| c.name.as_str()).collect();
    let verdict = if refuted { "refuted" } else { "not noticed" }.to_owned();
    let measured = Measured::Says { verdict, numbers: controls.iter().map(line).collect() };
    ControlFound { what: what.join("; "), measured, refuted }
}

fn line(check: &Check) -> String {
    let found = match &check.measured {
        Found::Value(x) => format!("{} [{}, {}] ({})", x.estimate, x.low, x.high, x.how),
        Found::Nothing { why } | Found::NotExercised { why } => why.clone(),
        Found::Skipped { needs } => format!("needs {needs}"),
    };
    format!("{}: {}: {found}", check.name, word(check.verdict()))
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Upheld => "upheld",
        Verdict::Refuted => "refuted",
        Verdict::Inconclusive => "inconclusive",
        Verdict::NotExercised => "not exercised",
        Verdict::Skipped => "skipped",
    }
}

/// Published figures that do not come out again, of those that could be computed; with `wrong`, after the last digit of
/// each was changed.
pub(super) fn figures(id: &str, model: Option<&Model>, wrong: bool) -> Result<Reading, LabError> {
    let experiment =
        Experiment::find(id).ok_or_else(|| LabError::UnknownName { what: "experiment", name: id.to_owned() })?;
    let mut made = reproduce(&[experiment], model);
    if wrong {
        let mut records = made.experiments;
        for row in records.iter_mut().flat_map(|e| &mut e.rows) {
            row.computed = row.computed.take().map(|text| with_another_digit(&text));
        }
        // Reading a record judges it again.
        let text = serde_json::to_string(&records).unwrap_or_default();
        made = Reproduction::new(serde_json::from_str(&text).unwrap_or_default());
    }
    let (compared, expected) = (made.matched + made.differing, made.matched + made.differing + made.skipped);
    let measured = Measured::value(made.differing as f64, None);
    Ok(Reading { measured, compared: compared as u64, expected: expected as u64 })
}

/// The text with its last digit replaced by the next one; a text without one, with a mark behind it.
fn with_another_digit(text: &str) -> String {
    match text.rfind(|c: char| c.is_ascii_digit()) {
        Some(at) => {
            let digit = text.as_bytes()[at] - b'0';
            format!("{}{}{}", &text[..at], (digit + 1) % 10, &text[at + 1..])
        }
        None => format!("{text}?"),
    }
}
