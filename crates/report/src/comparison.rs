//! Two paths side by side.

use std::io::{self, Write};

use twinpath_evidence::{Comparison, Drift, Local, LogitDrift, Outcome, SiteRecord};

use crate::number::{count, percent, short};
use crate::table::{table, text};
use crate::verdicts;

/// How much of a comparison to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// One line a site.
    Sites,
    /// One line a layer: its output and its worst site.
    Layers,
}

/// The drift table, with `statistics` both sides' own numbers, and the summary.
///
/// # Errors
/// When `out` cannot be written.
pub fn comparison(record: &Comparison, view: View, statistics: bool, out: &mut dyn Write) -> io::Result<()> {
    head(record, out)?;
    if !record.sites.is_empty() {
        let table = match view {
            View::Sites => sites(record),
            View::Layers => layers(record),
        };
        writeln!(out, "\n{table}")?;
        if statistics {
            writeln!(out, "{}", stats(record))?;
        }
    }
    summary(record, out)
}

fn head(record: &Comparison, out: &mut dyn Write) -> io::Result<()> {
    for (name, side) in [("A", &record.a), ("B", &record.b)] {
        writeln!(out, "{name}       {}  [{}]", side.label, side.kernels)?;
    }
    match &record.oracle {
        Some(weights) => writeln!(out, "oracle  f64 on the weights of {weights}")?,
        None => writeln!(out, "oracle  not run")?,
    }
    let n = record.tokens.len();
    writeln!(out, "scope   {n} tokens, positions 0..{n}, all channels (attention: the keys that the mask admits)")
}

fn sites(record: &Comparison) -> String {
    let judged = record.judgement.is_some();
    let mut header = vec!["site", "weights", "rel L2"];
    header.extend(if judged {
        &["made here", "inherited", "gain", "A~oracle", "B~oracle", "A local", "B local", "sigmas", "verdict"][..]
    } else {
        &["SQNR dB", "1-cos", "max |Δ|", "at pos:ch", "A~oracle", "B~oracle"][..]
    });
    header.push("compared");
    let mut table = table(&header, 2);
    for s in &record.sites {
        let d = &s.drift;
        let mut cells = vec![s.site.clone(), s.weights.clone().unwrap_or_default(), percent(d.relative_l2)];
        cells.extend(if judged { judged_cells(s) } else { plain_cells(s) });
        cells.push(compared(d));
        table.add_row(cells);
    }
    text(&table)
}

fn against_oracle(s: &SiteRecord) -> [String; 2] {
    [&s.a_oracle, &s.b_oracle].map(|d| percent(d.as_ref().and_then(|d| d.relative_l2)))
}

fn plain_cells(s: &SiteRecord) -> Vec<String> {
    let d = &s.drift;
    let [a, b] = against_oracle(s);
    vec![
        d.sqnr_db.map_or("-".to_owned(), |x| format!("{x:.1}")),
        short(d.cosine.map(|c| 1.0 - c)),
        short(d.peak.as_ref().map(|p| p.abs)),
        d.peak.as_ref().filter(|p| p.abs > 0.0).map_or("-".to_owned(), |p| format!("{}:{}", p.position, p.channel)),
        a,
        b,
    ]
}

fn judged_cells(s: &SiteRecord) -> Vec<String> {
    let split = s.split.as_ref();
    let [a, b] = against_oracle(s);
    let local = |l: &Option<Local>| short(l.as_ref().and_then(|l| l.relative_l2));
    vec![
        percent(split.and_then(|x| x.made_here)),
        percent(split.and_then(|x| x.inherited)),
        short(split.and_then(|x| x.gain)),
        a,
        b,
        local(&s.a_local),
        local(&s.b_local),
        short(verdicts::sigmas(s)),
        verdicts::word(s.verdict.as_ref()),
    ]
}

fn compared(d: &Drift) -> String {
    if d.is_complete() {
        return count(d.compared);
    }
    let bad = d.non_finite + d.reference_non_finite;
    format!("{} of {} ({} non-finite)", count(d.compared), count(d.expected), count(bad))
}

fn layers(record: &Comparison) -> String {
    let judged = record.judgement.is_some();
    let mut header = vec!["layer", "output rel L2", "A~oracle", "B~oracle", "largest at", "rel L2"];
    header.extend(if judged { &["most made at", "made here", "sigmas", "verdict"][..] } else { &["SQNR dB"][..] });
    header.push("compared");
    let mut table = table(&header, 1);
    let mut rest = record.sites.as_slice();
    while let Some(first) = rest.first() {
        let n = if first.layer.is_none() { 1 } else { rest.iter().take_while(|s| s.layer == first.layer).count() };
        let (group, after) = rest.split_at(n);
        rest = after;
        table.add_row(layer_cells(first, group, &group[n - 1], judged));
    }
    text(&table)
}

fn layer_cells(first: &SiteRecord, group: &[SiteRecord], last: &SiteRecord, judged: bool) -> Vec<String> {
    let largest =
        |size: fn(&SiteRecord) -> f64| group.iter().max_by(|a, b| size(a).total_cmp(&size(b))).unwrap_or(last);
    let worst = largest(|s| s.drift.relative_l2.unwrap_or(f64::INFINITY));
    let all: u64 = group.iter().map(|s| s.drift.compared).sum();
    let expected: u64 = group.iter().map(|s| s.drift.expected).sum();
    let [a, b] = against_oracle(last);
    let mut cells = vec![
        first.layer.map_or(first.site.clone(), |l| format!("blk.{l}")),
        percent(last.drift.relative_l2),
        a,
        b,
        worst.point.clone(),
        percent(worst.drift.relative_l2),
    ];
    if judged {
        let made = |s: &SiteRecord| s.split.as_ref().and_then(|x| x.made_here);
        let most = largest(|s| s.split.as_ref().and_then(|x| x.made_here).unwrap_or(0.0));
        let judged = group.iter().filter(|s| s.verdict.is_some());
        let gravest = judged.max_by_key(|s| s.verdict.as_ref().map_or(0, |v| v.rank()));
        cells.extend([
            most.point.clone(),
            percent(made(most)),
            short(group.iter().filter_map(verdicts::sigmas).reduce(f64::max)),
            gravest.map_or("-".to_owned(), |s| verdicts::word(s.verdict.as_ref())),
        ]);
    } else {
        cells.push(last.drift.sqnr_db.map_or("-".to_owned(), |x| format!("{x:.1}")));
    }
    cells.push(if all == expected { count(all) } else { format!("{} of {}", count(all), count(expected)) });
    cells
}

fn stats(record: &Comparison) -> String {
    let header = ["site", "count", "mean A", "mean B", "std A", "std B", "min A", "min B", "max A", "max B"];
    let mut table = table(&header, 1);
    for s in &record.sites {
        let mut cells = vec![s.site.clone(), count(s.a.count)];
        for (a, b) in [(s.a.mean, s.b.mean), (s.a.std, s.b.std), (s.a.min, s.b.min), (s.a.max, s.b.max)] {
            cells.extend([short(Some(a)), short(Some(b))]);
        }
        table.add_row(cells);
    }
    text(&table)
}

fn summary(record: &Comparison, out: &mut dyn Write) -> io::Result<()> {
    if let Some(l) = &record.logits {
        writeln!(out, "next token, B against A       {}", logits(l))?;
    }
    if let (Some(a), Some(b)) = (&record.a_oracle_logits, &record.b_oracle_logits) {
        writeln!(out, "next token, A against oracle  {}", logits(a))?;
        writeln!(out, "next token, B against oracle  {}", logits(b))?;
    }
    if let Some(flip) = record.logits.as_ref().and_then(|l| l.first_flip.as_ref()) {
        writeln!(
            out,
            "first flip                    position {}: A says token {}, B says {}; A's margin between its two best is {} \
             (logits)",
            flip.position,
            flip.reference_token,
            flip.token,
            short(Some(flip.reference_margin))
        )?;
    }
    if let Some(null) = &record.null {
        writeln!(
            out,
            "size of the drift             p = {} among {} replicates with random rounding signs; most unlike them: {}",
            short(Some(null.p)),
            null.replicates,
            null.extreme.as_deref().unwrap_or("no site")
        )?;
        if let Some(last) = null.sites.last() {
            let (observed, predicted) = (percent(Some(last.observed)), percent(Some(last.predicted)));
            writeln!(out, "                              {}: {observed}, replicates {predicted}", last.site)?;
        }
    }
    for warning in &record.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    let equal = record.sites.iter().filter(|s| s.drift.is_identical()).count();
    let complete = record.sites.iter().filter(|s| s.drift.is_complete()).count();
    let n = record.sites.len();
    let note = if record.judgement.is_some() { "" } else { "; no site was judged" };
    writeln!(out, "\nSUMMARY  {complete} of {n} sites compared in full, {equal} of them identical{note}")?;
    if let Some(closer) = closer(record) {
        writeln!(out, "         {closer}")?;
    }
    if let Some(first) = record.sites.iter().find(|s| !s.drift.is_identical()) {
        writeln!(out, "         the sides part first at {}: {}", first.site, percent(first.drift.relative_l2))?;
    }
    verdicts::details(record, out)?;
    if let (Some(judgement), Outcome::Identical | Outcome::Measured) = (&record.judgement, &record.outcome) {
        return verdicts::end(record, judgement, out);
    }
    match &record.outcome {
        Outcome::Identical => writeln!(out, "IDENTICAL: every compared value is equal"),
        Outcome::Measured => writeln!(
            out,
            "MEASURED: total drift, inherited error included; whether arithmetic explains it is not judged here"
        ),
        Outcome::Inconclusive { reasons } => {
            writeln!(out, "INCONCLUSIVE:")?;
            reasons.iter().try_for_each(|reason| writeln!(out, "  {reason}"))
        }
        Outcome::Incomparable { reason } => writeln!(out, "INCOMPARABLE: {reason}"),
    }
}

fn logits(l: &LogitDrift) -> String {
    format!(
        "KL mean {} median {} max {} nats (position {}); top-1 equal {} of {}; top-5 overlap {:.1} %",
        short(Some(l.kl_mean)),
        short(Some(l.kl_median)),
        short(Some(l.kl_max)),
        l.kl_max_position,
        l.top1_equal,
        l.positions,
        100.0 * l.top5_overlap
    )
}

/// Which side ends closer to the oracle, in words.
fn closer(record: &Comparison) -> Option<String> {
    let last = record.sites.last()?;
    let a = last.a_oracle.as_ref()?.relative_l2?;
    let b = last.b_oracle.as_ref()?.relative_l2?;
    let (name, near, far) = if a <= b { ("A", a, b) } else { ("B", b, a) };
    let times = if near > 0.0 { format!("{} times", short(Some(far / near))) } else { "exactly equal,".to_owned() };
    Some(format!(
        "{name} is closer to the oracle at {}: {} against {} ({times} closer)",
        last.site,
        percent(Some(near)),
        percent(Some(far))
    ))
}
