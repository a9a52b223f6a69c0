//! Verdicts in words.

use std::io::{self, Write};

use twinpath_evidence::verdict::{Contrast, ContrastKind, Evidence, Finding};
use twinpath_evidence::{Budget, Comparison, Judgement, Local, Outcome, SiteRecord, Verdict};

use crate::number::{count, percent, short};
use crate::table::{table, text};

/// The word of a site's verdict, with what explains it where that is not plain replay.
pub(crate) fn word(verdict: Option<&Verdict>) -> String {
    match verdict {
        None => "-".to_owned(),
        Some(Verdict::Explained { evidence: Evidence::Flips { count } }) => format!("explained, {count} flips"),
        Some(Verdict::Explained { evidence: Evidence::Statistical { least_gain, .. } }) => {
            format!("explained, gain < {}", percent(Some(*least_gain)))
        }
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
        Verdict::Explained { evidence: Evidence::Statistical { least_gain, least_offset } } => format!(
            "explained by statistics of rounding, which would have found a gain of {} on all, or an offset of one row by {} \
             of the root mean square",
            percent(Some(*least_gain)),
            percent(Some(*least_offset))
        ),
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

/// How a report ends: on a page in colour, in a terminal in capitals.
pub(crate) struct Ending {
    /// `good`, `bad` or `unsure`.
    pub(crate) tone: &'static str,
    pub(crate) word: String,
    pub(crate) sentence: String,
}

/// The run's verdict in a word and a sentence; without one, what may be concluded from the drift alone.
pub(crate) fn ending(record: &Comparison) -> Ending {
    let make = |tone, word: &str, sentence: &str| Ending { tone, word: word.to_owned(), sentence: sentence.to_owned() };
    let judged = match (&record.outcome, &record.judgement) {
        (Outcome::Identical | Outcome::Measured, Some(j)) => Some(j),
        (_, Some(j)) if matches!(j.verdict, Verdict::Unexplained { .. }) => Some(j),
        _ => None,
    };
    if let Some(judgement) = judged {
        return of_judgement(record, judgement);
    }
    match &record.outcome {
        Outcome::Identical => make("good", "IDENTICAL", "every compared value is equal"),
        Outcome::Measured => make(
            "unsure",
            "MEASURED",
            "total drift, inherited error included; whether arithmetic explains it is not judged here",
        ),
        Outcome::Inconclusive { reasons } => make("unsure", "INCONCLUSIVE", &shown(reasons)),
        Outcome::Incomparable { reason } => make("unsure", "INCOMPARABLE", reason),
    }
}

/// The first reasons, and how many more there are.
fn shown(reasons: &[String]) -> String {
    let mut text = reasons.iter().take(MOST_DETAILS).cloned().collect::<Vec<String>>().join("; ");
    if reasons.len() > MOST_DETAILS {
        text += &format!("; and {} reasons more", reasons.len() - MOST_DETAILS);
    }
    text
}

fn of_judgement(record: &Comparison, judgement: &Judgement) -> Ending {
    let verdict = &judgement.verdict;
    let says = match verdict {
        Verdict::Explained { .. } => explained(record),
        Verdict::Identical => "every compared value is equal, and as declared".to_owned(),
        Verdict::Unexplained { .. } => {
            format!(
                "arithmetic does not explain {}",
                judgement.first_unexplained.as_deref().unwrap_or("what was found")
            )
        }
        Verdict::NotExercised { reason } => {
            let idle = judgement.counts.iter().find(|(word, _)| word == verdict.word()).map_or(0, |(_, n)| *n);
            format!(
                "{idle} of {} sites could not have shown a fault, all others are as declared ({reason}): use a prompt of \
                 two tokens or more",
                record.sites.len()
            )
        }
        verdict => after_word(&sentence(verdict)),
    };
    let tone = match verdict.rank() {
        0 | 1 => "good",
        6 => "bad",
        _ => "unsure",
    };
    Ending { tone, word: verdict.word().to_uppercase(), sentence: format!("{says} ({})", coverage(record, judgement)) }
}

fn explained(record: &Comparison) -> String {
    let gains = record.sites.iter().filter_map(|s| s.statistical.as_ref()).map(|s| s.least_gain);
    let range = gains.fold(None, |range: Option<(f64, f64)>, gain| {
        let (low, high) = range.unwrap_or((gain, gain));
        Some((low.min(gain), high.max(gain)))
    });
    let Some((low, high)) = range else {
        return "every value of both sides is what its arithmetic declares, up to f32 rounding".to_owned();
    };
    format!(
        "B's matrix products drift as rounding of their activations would make them, and would have shown a gain of {} to {} by \
         site; every other value is what its arithmetic declares, up to f32 rounding",
        percent(Some(low)),
        percent(Some(high))
    )
}

/// What follows the colon.
fn after_word(text: &str) -> String {
    text.split_once(": ").map_or(text, |(_, rest)| rest).to_owned()
}

fn coverage(record: &Comparison, judgement: &Judgement) -> String {
    let sites = record.sites.iter().filter(|s| s.verdict.is_some()).count();
    let share = if judgement.expected == 0 { 0.0 } else { judgement.judged as f64 / judgement.expected as f64 };
    format!("coverage {sites} of {} sites, {} of the elements", record.sites.len(), percent(Some(share)))
}

/// The end of a report: the run's verdict, what it rests on and what it cost.
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
    )
}

/// Each side against the oracle, over all sites.
pub(crate) fn budget(record: &Comparison, budget: &Budget) -> String {
    let header = ["against the oracle", "at the end", "median", "largest", "at", "closer at"];
    let mut table = table(&header, 1);
    for (name, path, side) in [("A", &record.a.path, &budget.a), ("B", &record.b.path, &budget.b)] {
        table.add_row(vec![
            format!("{name} {path}"),
            percent(Some(side.end)),
            percent(Some(side.median)),
            percent(Some(side.worst)),
            side.worst_site.clone(),
            format!("{} of {} sites", side.closer, budget.sites),
        ]);
    }
    text(&table)
}
