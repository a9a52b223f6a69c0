//! Which known mistakes explain what arithmetic does not.

use std::io::{self, Write};

use twinpath_evidence::diagnosis::Tried;
use twinpath_evidence::{Diagnosis, Named, Outcome, SiteDiagnosis};

use crate::number::{percent, short};
use crate::table::{table, text};
use crate::verdicts::sentence;

/// Sites of one mistake that are listed.
const MOST_SITES: usize = 8;

/// The mistakes that were named, the sites that none explains, and the answer.
///
/// # Errors
/// When `out` cannot be written.
pub fn diagnosis(record: &Diagnosis, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "A       {}  whose model is believed", record.a.label)?;
    writeln!(out, "B       {}  [{}], judged as {}", record.b.label, record.b.kernels, record.path)?;
    writeln!(out, "scope   {} tokens, {} sites\n", record.tokens.len(), record.sites.len())?;
    if let Outcome::Incomparable { reason } = &record.outcome {
        return writeln!(out, "INCOMPARABLE: {reason}");
    }
    if !record.named.is_empty() {
        let mut shown = table(&["mistake", "parameter", "sites", "residual before", "after"], 2);
        for n in &record.named {
            shown.add_row(row(n));
        }
        writeln!(out, "{}", text(&shown))?;
    }
    for n in &record.named {
        detail(n, out)?;
    }
    unnamed(record, out)?;
    for warning in &record.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    end(record, out)
}

fn row(n: &Named) -> Vec<String> {
    let sites = n.sites.len().to_string();
    vec![n.suspect.clone(), n.parameter.clone(), sites, percent(n.before), percent(n.after)]
}

fn detail(n: &Named, out: &mut dyn Write) -> io::Result<()> {
    let mut sites = n.sites.iter().take(MOST_SITES).cloned().collect::<Vec<_>>().join(", ");
    if n.sites.len() > MOST_SITES {
        sites += &format!(" and {} more", n.sites.len() - MOST_SITES);
    }
    writeln!(out, "  {} ({}) at {sites}", n.suspect, n.parameter)?;
    if let Some(why) = &n.equivalent {
        writeln!(out, "    no mistake: {why}")?;
    }
    if !n.or.is_empty() {
        writeln!(out, "    explained as well by {}", n.or.join("; "))?;
    }
    Ok(())
}

fn unnamed(record: &Diagnosis, out: &mut dyn Write) -> io::Result<()> {
    let is_unnamed = |s: &&SiteDiagnosis| record.unnamed.contains(&s.site);
    for site in record.sites.iter().filter(is_unnamed).take(MOST_SITES) {
        writeln!(out, "  {}: {}", site.site, sentence(&site.verdict))?;
        let nearer = |t: &&Tried| t.residual.zip(site.residual).is_some_and(|(after, before)| after < before);
        let near: Vec<String> = site.tried.iter().filter(nearer).map(near).collect();
        match near.is_empty() {
            true => writeln!(out, "    no known mistake comes nearer than {}", percent(site.residual))?,
            false => writeln!(out, "    no known mistake explains it; nearest: {}", near.join("; "))?,
        }
    }
    match record.unnamed.len() {
        n if n > MOST_SITES => writeln!(out, "  and {} sites more: `--json` lists them", n - MOST_SITES),
        _ => Ok(()),
    }
}

fn near(t: &Tried) -> String {
    format!(
        "{} ({}), which leaves {}, {} standard deviations",
        t.suspect,
        t.parameter,
        percent(t.residual),
        short(Some(t.sigmas))
    )
}

fn end(record: &Diagnosis, out: &mut dyn Write) -> io::Result<()> {
    let counts: Vec<String> = record.counts.iter().map(|(word, n)| format!("{n} {word}")).collect();
    writeln!(out, "verdicts {}", counts.join(", "))?;
    let limits = record.sites.iter().filter_map(|s| Some((s.limit?, s.site.as_str())));
    if let Some((limit, site)) = limits.max_by(|a, b| a.0.total_cmp(&b.0)) {
        writeln!(
            out,
            "limit    one element off by {} of its site's size is unexplained at every site (the dullest is {site})",
            percent(Some(limit))
        )?;
    }
    if let Some(first) = &record.first_unexplained {
        writeln!(out, "         first unexplained site: {first}")?;
    }
    let mistakes: Vec<&Named> = record.named.iter().filter(|n| n.equivalent.is_none()).collect();
    match (mistakes.as_slice(), record.unnamed.is_empty(), &record.outcome) {
        ([], true, Outcome::Inconclusive { reasons }) => {
            let first = reasons.iter().take(MOST_SITES).cloned().collect::<Vec<_>>().join("; ");
            writeln!(out, "INCONCLUSIVE: {} of {} sites were not judged: {first}", reasons.len(), record.sites.len())
        }
        ([], true, _) if record.named.is_empty() => {
            writeln!(out, "NOTHING UNEXPLAINED: every judged value is what A's model declares, up to rounding")
        }
        ([], true, _) => writeln!(out, "ANOTHER LAYOUT: nothing is unexplained but for where rows are stored"),
        ([], false, _) => writeln!(out, "UNEXPLAINED: by none of the known mistakes"),
        ([first, ..], all, _) => {
            let rest = if all { "" } else { "; sites above remain that no known mistake explains" };
            writeln!(out, "NAMED: {} ({}){rest}", first.suspect, first.parameter)
        }
    }
}
