//! Two paths side by side.

use std::io::{self, Write};

use twinpath_evidence::{
    Budget, Comparison, Coverage, Drift, LayerDrift, LayerSplit, Local, LogitDrift, Outcome, Positions, SiteRecord,
};

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
    let held = record.sites.first().map_or(Positions::new(0, n), |s| s.a.scope.positions);
    let (first, end) = (held.first, held.first + held.count);
    writeln!(
        out,
        "scope   {n} tokens, positions {first}..{end}, all channels (attention: the keys that the mask admits)"
    )
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
    let mut header = vec!["layer", "output rel L2"];
    header.extend(if record.layers.is_some() { &["fresh", "gain", "cosine"][..] } else { &["largest at", "rel L2"] });
    header.extend(["A~oracle", "B~oracle"]);
    header.extend(if judged { &["most made at", "made here", "sigmas", "verdict"][..] } else { &["SQNR dB"][..] });
    header.push("compared");
    let mut table = table(&header, 1);
    let mut rest = record.sites.as_slice();
    while let Some(first) = rest.first() {
        let n = if first.layer.is_none() { 1 } else { rest.iter().take_while(|s| s.layer == first.layer).count() };
        let (group, after) = rest.split_at(n);
        rest = after;
        let of = |s: &&LayerDrift| s.layer == first.layer && (s.layer.is_some() || first.point == "logits");
        let step = record.layers.as_ref().map(|l| l.steps.iter().find(of));
        table.add_row(layer_cells(first, group, &group[n - 1], step, judged));
    }
    text(&table)
}

/// `step` is absent without a split by layers, and `Some(None)` for what is no layer.
fn layer_cells(
    first: &SiteRecord,
    group: &[SiteRecord],
    last: &SiteRecord,
    step: Option<Option<&LayerDrift>>,
    judged: bool,
) -> Vec<String> {
    let largest =
        |size: fn(&SiteRecord) -> f64| group.iter().max_by(|a, b| size(a).total_cmp(&size(b))).unwrap_or(last);
    let worst = largest(|s| s.drift.relative_l2.unwrap_or(f64::INFINITY));
    let all: u64 = group.iter().map(|s| s.drift.compared).sum();
    let expected: u64 = group.iter().map(|s| s.drift.expected).sum();
    let [a, b] = against_oracle(last);
    let mut cells =
        vec![first.layer.map_or(first.site.clone(), |l| format!("blk.{l}")), percent(last.drift.relative_l2)];
    match step {
        None => cells.extend([worst.point.clone(), percent(worst.drift.relative_l2)]),
        Some(None) => cells.extend(["-"; 3].map(str::to_owned)),
        Some(Some(s)) => cells.extend([percent(Some(s.fresh)), short(s.gain), short(s.cosine)]),
    }
    cells.extend([a, b]);
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
    null(record, out)?;
    if let Some(budget) = &record.budget {
        writeln!(out, "\n{}", verdicts::budget(record, budget).trim_end())?;
        writeln!(out, "{}", closer(budget))?;
    }
    for warning in &record.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    conclusion(record, out)
}

fn null(record: &Comparison, out: &mut dyn Write) -> io::Result<()> {
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
    Ok(())
}

fn conclusion(record: &Comparison, out: &mut dyn Write) -> io::Result<()> {
    if let Some(coverage) = &record.coverage {
        recording(record, coverage, out)?;
    }
    let equal = record.sites.iter().filter(|s| s.drift.is_identical()).count();
    let complete = record.sites.iter().filter(|s| s.drift.is_complete()).count();
    let n = record.sites.len();
    let note = if record.judgement.is_some() { "" } else { "; no site was judged" };
    writeln!(out, "\nSUMMARY  {complete} of {n} sites compared in full, {equal} of them identical{note}")?;
    if let Some(first) = record.sites.iter().find(|s| !s.drift.is_identical()) {
        writeln!(out, "         the sides part first at {}: {}", first.site, percent(first.drift.relative_l2))?;
    }
    if let Some(split) = &record.layers {
        writeln!(out, "         {}", recursion(split))?;
    }
    verdicts::details(record, out)?;
    let end = verdicts::ending(record);
    match (&record.outcome, &record.judgement) {
        (Outcome::Identical | Outcome::Measured, Some(judgement)) => verdicts::end(record, judgement, out)?,
        (Outcome::Inconclusive { reasons }, _) if end.word == "INCONCLUSIVE" => {
            writeln!(out, "INCONCLUSIVE:")?;
            return reasons.iter().try_for_each(|reason| writeln!(out, "  {reason}"));
        }
        _ => {}
    }
    writeln!(out, "{}: {}", end.word, end.sentence)
}

/// What a recording of another engine holds, and its worst site.
fn recording(record: &Comparison, coverage: &Coverage, out: &mut dyn Write) -> io::Result<()> {
    let (judged, held, all) = (coverage.judged, coverage.recorded, coverage.expected);
    let share = |sites: usize| 100.0 * sites as f64 / all.max(1) as f64;
    writeln!(
        out,
        "recording                     {judged} of {all} sites judged ({:.1} %), {held} of them by their own value ({:.1} %)",
        share(judged),
        share(held)
    )?;
    let gap = " ".repeat(30);
    for (sites, with) in grouped(&coverage.judged_with) {
        writeln!(out, "{gap}{sites}: not recorded, judged with {with}")?;
    }
    for site in &coverage.unjudged {
        writeln!(out, "{gap}{site}: not recorded, nothing is said of it")?;
    }
    for note in &coverage.notes {
        writeln!(out, "{gap}{note}")?;
    }
    let worst = record.sites.iter().filter(|s| verdicts::sigmas(s).is_some());
    let sigmas = |s: &SiteRecord| verdicts::sigmas(s).unwrap_or(0.0);
    if let Some(worst) = worst.max_by(|a, b| sigmas(a).total_cmp(&sigmas(b))) {
        let size = short(verdicts::sigmas(worst));
        writeln!(out, "{gap}worst site {}: {size} sigmas of rounding in an unknown order", worst.site)?;
    }
    Ok(())
}

/// Missing points and the point that they were judged with, over all layers.
fn grouped(pairs: &[(String, String)]) -> Vec<(String, String)> {
    let point = |site: &str| site.rsplit('.').next().unwrap_or(site).to_owned();
    let mut groups: Vec<(Vec<String>, String)> = Vec::new();
    for (missing, with) in pairs.iter().map(|(missing, with)| (point(missing), point(with))) {
        match groups.iter_mut().find(|(_, w)| *w == with) {
            Some((points, _)) if points.contains(&missing) => {}
            Some((points, _)) => points.push(missing),
            None => groups.push((vec![missing], with)),
        }
    }
    groups.into_iter().map(|(points, with)| (points.join(", "), with)).collect()
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

/// Whether the drift adds up like independent errors, in words.
pub(crate) fn recursion(split: &LayerSplit) -> String {
    let (predicted, observed) = (percent(Some(split.predicted)), percent(Some(split.observed)));
    let says = match (split.closes, split.closure) {
        (_, None) => "nothing drifts".to_owned(),
        (true, Some(c)) => format!("drift adds up like independent errors, to {:+.0} %", 100.0 * (c - 1.0)),
        (false, Some(_)) => {
            "layers add drift along what comes in, so it does not add up like independent errors".to_owned()
        }
    };
    format!("layer by layer, ρ'² = a²ρ² + n² gives {predicted} at the end, observed {observed}: {says}")
}

/// Which side ends closer to the oracle, in words.
fn closer(budget: &Budget) -> String {
    let (a, b) = (budget.a.end, budget.b.end);
    let (name, near, far) = if a <= b { ("A", a, b) } else { ("B", b, a) };
    let site = &budget.a.end_site;
    match (near, far) {
        (_, 0.0) => format!("both sides are exact at {site}"),
        (0.0, _) => format!("{name} is exact at {site}"),
        _ if near == far => format!("both sides are equally close to the oracle at {site}"),
        _ => format!("{name} is {} times closer to the oracle at {site}", short(Some(far / near))),
    }
}
