//! Verdicts in words.

use std::io::{self, Write};

use twinpath_evidence::verdict::{Contrast, ContrastKind, Evidence, Finding};
use twinpath_evidence::{Comparison, Judgement, Local, SiteRecord, Verdict};

use crate::number::{count, short};

/// The word of a site's verdict, with what explains it where that is not plain replay.
pub(crate) fn word(verdict: Option<&Verdict>) -> String {
    match verdict {
        None => "-".to_owned(),
        Some(Verdict::Explained { evidence: Evidence::Flips { count } }) => format!("explained, {count} flips"),
        Some(verdict) => verdict.word().to_owned(),
    }
}

/// The largest residual of both sides, in standard deviations.
pub(crate) fn sigmas(site: &SiteRecord) -> Option<f64> {
    let of = |l: &Option<Local>| l.as_ref().map(|l| l.calibrated * twinpath_evidence::verdict::CALIBRATED);
    [of(&site.a_local), of(&site.b_local)].into_iter().flatten().reduce(f64::max)
}

/// One line or more on each site whose verdict needs a word: those that are neither identical nor explained.
pub(crate) fn details(record: &Comparison, out: &mut dyn Write) -> io::Result<()> {
    let asks = |s: &&SiteRecord| s.verdict.as_ref().is_some_and(|v| v.rank() > 1);
    let sites: Vec<&SiteRecord> = record.sites.iter().filter(asks).collect();
    for site in sites.iter().take(MOST_DETAILS) {
        if let Some(verdict) = &site.verdict {
            writeln!(out, "  {}: {}", site.site, sentence(verdict))?;
        }
    }
    if sites.len() > MOST_DETAILS {
        writeln!(out, "  and {} sites more: `--sites all` or `--json` lists them", sites.len() - MOST_DETAILS)?;
    }
    Ok(())
}

/// Sites that are described one by one.
const MOST_DETAILS: usize = 12;

/// A verdict with its reason.
pub(crate) fn sentence(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Identical => "identical, and each side is what its arithmetic declares".to_owned(),
        Verdict::Explained { evidence: Evidence::Exact } => "explained: replay on its own input".to_owned(),
        Verdict::Explained { evidence: Evidence::Flips { count } } => {
            format!("explained: replay, with {count} activations coded the other way")
        }
        Verdict::Explained { evidence: Evidence::Statistical } => "explained by statistics of rounding".to_owned(),
        Verdict::NotExercised { reason } => format!("not exercised: {reason}"),
        Verdict::Possible { flagged, sigmas } => {
            format!(
                "possible: {} elements beyond 8 standard deviations, up to {}",
                count(*flagged),
                short(Some(*sigmas))
            )
        }
        Verdict::Inconclusive { reason } => format!("inconclusive: {reason}"),
        Verdict::Incomparable { reason } => format!("incomparable: {reason}"),
        Verdict::Unexplained { finding } => finding_text(finding),
    }
}

fn finding_text(f: &Finding) -> String {
    let side = f.side.to_uppercase();
    let mut text = format!(
        "UNEXPLAINED in {side}: {} of {} elements in {} rows; worst at position {}, row {}: {} where {} is declared, {} \
         standard deviations{}",
        count(f.convicted),
        count(f.judged),
        count(f.rows),
        f.position,
        f.row,
        f.value,
        f.declared,
        short(Some(f.sigmas)),
        if f.beyond_bound { ", beyond the rigorous bound" } else { "" }
    );
    if let Some(p) = &f.part {
        text += &format!(
            "; the {} of sub-block {} of block {} in row {} is {:+} units off (leaves {} standard deviations)",
            p.what,
            p.group,
            p.block,
            f.row,
            p.units,
            short(Some(p.left))
        );
    }
    if let Some(c) = &f.contrast {
        text += &format!("; {}", contrast_text(c));
    }
    text
}

fn contrast_text(c: &Contrast) -> String {
    let what = match c.kind {
        ContrastKind::Gain => format!("a gain of {:+.3e} on all", c.size),
        ContrastKind::Bias => format!("an offset of each row, up to {:+.3e}", c.size),
        ContrastKind::Row => "one row alone".to_owned(),
        ContrastKind::Position => "one position alone".to_owned(),
    };
    format!("{what} explains {:.1} % of the residual (z = {})", 100.0 * c.share, short(Some(c.z)))
}

/// The end of a report: the run's verdict, the first unexplained site, what the verdict rests on and what it cost.
pub(crate) fn end(record: &Comparison, judgement: &Judgement, out: &mut dyn Write) -> io::Result<()> {
    let counts: Vec<String> = judgement.counts.iter().map(|(word, n)| format!("{n} {word}")).collect();
    writeln!(out, "verdicts {}", counts.join(", "))?;
    let locals = |f: fn(&SiteRecord) -> Option<&Local>| -> Option<(f64, &str)> {
        let all = record.sites.iter().filter_map(|s| Some((f(s)?.relative_l2?, s.site.as_str())));
        all.max_by(|a, b| a.0.total_cmp(&b.0))
    };
    for (name, worst) in [("A", locals(|s| s.a_local.as_ref())), ("B", locals(|s| s.b_local.as_ref()))] {
        if let Some((residual, site)) = worst {
            writeln!(
                out,
                "replay   {name} on its own inputs: residual at most {} (rel L2, {site})",
                short(Some(residual))
            )?;
        }
    }
    writeln!(
        out,
        "         {} of {} elements judged; chance of a false alarm in a faithful run at most {}; cost {} forward passes",
        count(judgement.judged),
        count(judgement.expected),
        judgement.alpha,
        short(Some(judgement.passes))
    )?;
    if let Some(first) = &judgement.first_unexplained {
        writeln!(out, "         first unexplained site: {first}")?;
    }
    match &judgement.verdict {
        Verdict::Explained { .. } => {
            writeln!(out, "EXPLAINED: every value of both sides is what its arithmetic declares, up to f32 rounding")
        }
        Verdict::Identical => writeln!(out, "IDENTICAL: every compared value is equal, and as declared"),
        Verdict::Unexplained { .. } => writeln!(out, "UNEXPLAINED: arithmetic does not explain the sites above"),
        verdict => writeln!(out, "{}", capitals(&sentence(verdict))),
    }
}

/// The first word in capitals.
fn capitals(text: &str) -> String {
    match text.split_once(':') {
        Some((word, rest)) => format!("{}:{rest}", word.to_uppercase()),
        None => text.to_uppercase(),
    }
}
