//! Published figures beside ours.

use std::io::{self, Write};

use twinpath_evidence::published::{PublishedRecord, Reproduced, Reproduction};

use crate::table::{table, text};

/// The reproduction table, and what the published rules say.
///
/// # Errors
/// When `out` cannot be written.
pub fn reproduction(record: &Reproduction, out: &mut dyn Write) -> io::Result<()> {
    let mut figures = table(&["id", "figure", "published", "bits", "computed", "bits", "result"], 2);
    for (e, row) in record.experiments.iter().flat_map(|e| e.rows.iter().map(move |row| (e, row))) {
        let cell = |x: &Option<String>| x.clone().unwrap_or_else(|| "-".to_owned());
        let result = match row.reproduced() {
            Reproduced::Match => "match".to_owned(),
            Reproduced::Differs => "DIFFERS".to_owned(),
            Reproduced::Skipped => "skipped".to_owned(),
        };
        figures.add_row([
            e.number.clone(),
            row.figure.clone(),
            row.expected.clone(),
            cell(&row.expected_bits),
            cell(&row.computed),
            cell(&row.bits),
            result,
        ]);
    }
    writeln!(out, "{}", text(&figures))?;
    let mut rules = table(&["id", "experiment", "statistic", "published rule says", "published title"], 5);
    for e in &record.experiments {
        let says = e.rule_says.clone().unwrap_or_else(|| "skipped".to_owned());
        rules.add_row([e.number.clone(), e.id.clone(), e.rule.statistic.clone(), says, e.title.clone()]);
    }
    writeln!(out, "{}", text(&rules))?;
    for e in &record.experiments {
        notes(e, out)?;
    }
    writeln!(
        out,
        "\nSUMMARY  {} figures match, {} differ, {} skipped",
        record.matched, record.differing, record.skipped
    )
}

fn notes(e: &PublishedRecord, out: &mut dyn Write) -> io::Result<()> {
    let mut needs: Vec<&String> = e.rows.iter().filter_map(|row| row.needs.as_ref()).collect();
    needs.dedup();
    for need in needs {
        writeln!(out, "{}: skipped: {need}", e.id)?;
    }
    e.notes.iter().try_for_each(|note| writeln!(out, "{}: {note}", e.id))
}
