//! What the experiments found.

use std::io::{self, Write};

use twinpath_evidence::experiment::{Band, Check, ExperimentRecord, Falsification, Interval, Measured};

use crate::number::short;
use crate::table::{table, text};

/// One line for each measurement, then the claims, the notes and the counts.
///
/// # Errors
/// When `out` cannot be written.
pub fn falsification(record: &Falsification, out: &mut dyn Write) -> io::Result<()> {
    for e in &record.experiments {
        writeln!(out, "{}  {}", e.id, e.claim)?;
        let mut lines = table(&["", "measured", "prediction", "value", "verdict"], 2);
        let groups =
            [("", &e.findings.checks), ("control", &e.findings.controls), ("positive", &e.findings.positive_controls)];
        for (kind, check) in groups.iter().flat_map(|(kind, checks)| checks.iter().map(move |c| (*kind, c))) {
            lines.add_row([
                kind.to_owned(),
                check.name.clone(),
                band(&check.prediction),
                measured(check),
                check.verdict().word().to_lowercase(),
            ]);
        }
        write!(out, "{}", text(&lines))?;
        for check in e.findings.checks.iter() {
            if let Some(reason) = reason(check) {
                writeln!(out, "  {reason}")?;
            }
        }
        e.findings.notes.iter().try_for_each(|note| writeln!(out, "  {note}"))?;
        writeln!(out)?;
    }
    writeln!(out, "{}", verdicts(&record.experiments))?;
    let c = &record.counts;
    writeln!(
        out,
        "SUMMARY  {} upheld, {} refuted, {} inconclusive, {} not exercised, {} skipped; {} rows skipped; controls failed \
         in {}",
        c.upheld, c.refuted, c.inconclusive, c.not_exercised, c.skipped, c.skipped_rows, c.controls_failed
    )
}

fn verdicts(experiments: &[ExperimentRecord]) -> String {
    let header = ["id", "prediction", "measured", "verdict", "controls", "published rule"];
    let mut lines = table(&header, 6);
    for e in experiments {
        // The measurement that decides: the first that has the experiment's verdict.
        let decisive = e.findings.checks.iter().find(|c| c.verdict() == e.verdict()).or(e.findings.checks.first());
        lines.add_row([
            e.id.clone(),
            decisive.map_or("-".to_owned(), |c| band(&c.prediction)),
            decisive.map_or("-".to_owned(), measured),
            e.verdict().word().to_owned(),
            if e.controls_hold() { "refuted, as they must".to_owned() } else { "FAILED".to_owned() },
            e.published.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    text(&lines)
}

fn band(b: &Band) -> String {
    match (b.low, b.high) {
        (Some(low), Some(high)) if low == high => short(Some(low)),
        (Some(low), Some(high)) => format!("{} to {}", short(Some(low)), short(Some(high))),
        (Some(low), None) => format!("at least {}", short(Some(low))),
        (None, Some(high)) => format!("at most {}", short(Some(high))),
        (None, None) => "anything".to_owned(),
    }
}

fn measured(check: &Check) -> String {
    match &check.measured {
        Measured::Value(Interval { low, estimate, high, .. }) if low == high => short(Some(*estimate)),
        Measured::Value(Interval { low, estimate, high, .. }) => {
            format!("{} [{}, {}]", short(Some(*estimate)), short(Some(*low)), short(Some(*high)))
        }
        Measured::Nothing { .. } | Measured::NotExercised { .. } | Measured::Skipped { .. } => "-".to_owned(),
    }
}

fn reason(check: &Check) -> Option<String> {
    match &check.measured {
        Measured::Value(_) => None,
        Measured::Nothing { why } => Some(format!("nothing measured: {}: {why}", check.name)),
        Measured::NotExercised { why } => Some(format!("not exercised: {}: {why}", check.name)),
        Measured::Skipped { needs } => Some(format!("skipped: {needs} ({})", check.name)),
    }
}
