//! What the experiments found.

use std::io::{self, Write};

use twinpath_evidence::experiment::{Band, Check, ExperimentRecord, Falsification, Interval, Measured};

use crate::number::short;
use crate::table::{table, text};

/// The table of verdicts, each with its claim, and the counts; with `details` also every measurement and note.
///
/// # Errors
/// When `out` cannot be written.
pub fn falsification(record: &Falsification, details: bool, out: &mut dyn Write) -> io::Result<()> {
    if details {
        record.experiments.iter().try_for_each(|e| experiment(e, out))?;
    }
    verdicts(&record.experiments, out)?;
    for e in &record.experiments {
        for reason in e.findings.checks.iter().filter_map(reason) {
            writeln!(out, "{}: {reason}", e.id)?;
        }
    }
    let c = &record.counts;
    writeln!(
        out,
        "\nSUMMARY  {} upheld, {} refuted, {} inconclusive, {} not exercised, {} skipped; {} rows skipped; controls failed \
         in {}",
        c.upheld, c.refuted, c.inconclusive, c.not_exercised, c.skipped, c.skipped_rows, c.controls_failed
    )
}

fn experiment(e: &ExperimentRecord, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}  {}", e.id, e.claim)?;
    let mut lines = table(&["", "measured", "prediction", "value", "verdict"], 2);
    let f = &e.findings;
    let groups = [("", &f.checks), ("control", &f.controls), ("positive", &f.positive_controls)];
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
    f.notes.iter().try_for_each(|note| writeln!(out, "  {note}"))?;
    writeln!(out)
}

fn verdicts(experiments: &[ExperimentRecord], out: &mut dyn Write) -> io::Result<()> {
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
            if e.controls_hold() { "refuted".to_owned() } else { "FAILED".to_owned() },
            e.published.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    let rendered = text(&lines);
    let mut rows = rendered.lines();
    writeln!(out, "{}", rows.next().unwrap_or_default())?;
    for (row, e) in rows.zip(experiments) {
        writeln!(out, "{row}\n    {}", e.claim)?;
    }
    Ok(())
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
