//! A gap before and after policies, side by side.

use std::io::{self, Write};

use twinpath_evidence::fix::{COSINE, LAYER, STD_RATIO};
use twinpath_evidence::{Fix, FixVerdict, Gap, Tried};

use crate::number::{percent, short};
use crate::table::{table, text};

/// One column for what was, and one for each policy.
///
/// # Errors
/// When `out` cannot be written.
pub fn fix(record: &Fix, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "A         {}  [{}]", record.a.label, record.a.kernels)?;
    writeln!(out, "B         {}  [{}]", record.b.label, record.b.kernels)?;
    for (what, e) in [("seen    ", record.seen), ("held out", record.held_out)] {
        writeln!(out, "{what}  {} prompts, {} tokens, positions up to {}", e.prompts, e.tokens, e.positions)?;
    }
    if record.held_out.positions <= record.seen.positions {
        writeln!(out, "warning: no position is held out: give longer prompts, or fewer --prompt-tokens")?;
    }
    writeln!(out)?;
    let names = record.tried.iter().map(|t| t.policy.as_str());
    let header: Vec<&str> = ["", "before"].into_iter().chain(names).collect();
    let mut shown = table(&header, 1);
    for line in LINES {
        let tried = record.tried.iter().map(|t| (line.after)(t));
        shown.add_row([line.name.to_owned(), (line.before)(&record.before)].into_iter().chain(tried));
    }
    write!(out, "{}", text(&shown))?;
    writeln!(
        out,
        "\naccepted as published: std ratio of ffn_swiglu below {STD_RATIO}, each layer's std within {} %, cosine of the \
         logits at least {COSINE}",
        100.0 * LAYER
    )?;
    writeln!(
        out,
        "held-out figures where nothing else is said; distances are rel L2 at the logits, means over prompts"
    )?;
    for t in &record.tried {
        said(t, out)?;
    }
    best(record, out)
}

/// A line of the table.
struct Line {
    name: &'static str,
    before: fn(&Gap) -> String,
    after: fn(&Tried) -> String,
}

const LINES: &[Line] = &[
    Line { name: "the gap is", before: |_| String::new(), after: |t| t.verdict.word().to_owned() },
    Line {
        name: "rel L2, seen",
        before: |g| percent(Some(g.relative_l2)),
        after: |t| percent(Some(t.seen.relative_l2)),
    },
    Line { name: "rel L2", before: |g| percent(Some(g.relative_l2)), after: |t| percent(Some(t.held_out.relative_l2)) },
    Line { name: "KL (nats)", before: |g| short(Some(g.kl)), after: |t| short(Some(t.held_out.kl)) },
    Line { name: "sites identical", before: |g| g.identical.to_string(), after: |t| t.held_out.identical.to_string() },
    Line { name: "sites explained", before: |g| g.explained.to_string(), after: |t| t.held_out.explained.to_string() },
    Line {
        name: "sites unexplained",
        before: |g| g.unexplained.len().to_string(),
        after: |t| t.held_out.unexplained.len().to_string(),
    },
    Line { name: "std ratio", before: |g| ratio(g.std_ratio), after: |t| ratio(t.held_out.std_ratio) },
    Line { name: "layers' std", before: |g| percent(Some(g.layer)), after: |t| percent(Some(t.held_out.layer)) },
    Line { name: "cosine", before: |g| ratio(g.cosine), after: |t| ratio(t.held_out.cosine) },
    Line { name: "accepted", before: |g| yes(g.is_accepted()), after: |t| yes(t.accepted) },
    Line { name: "A~oracle", before: |g| percent(g.a_oracle), after: |t| percent(t.held_out.a_oracle) },
    Line { name: "B~oracle", before: |g| percent(g.b_oracle), after: |t| percent(t.held_out.b_oracle) },
    Line {
        name: "decode speed",
        before: |_| String::new(),
        after: |t| t.speed.map_or("-".to_owned(), |s| format!("{s:.2} x")),
    },
];

fn ratio(x: f64) -> String {
    format!("{x:.6}")
}

fn yes(x: bool) -> String {
    if x { "yes" } else { "no" }.to_owned()
}

/// What a verdict names.
fn said(t: &Tried, out: &mut dyn Write) -> io::Result<()> {
    let sites = match &t.verdict {
        FixVerdict::Closed { .. } => return Ok(()),
        FixVerdict::Inconclusive { reason } => return writeln!(out, "{}: inconclusive: {reason}", t.policy),
        FixVerdict::Open { sites } | FixVerdict::Moved { sites } | FixVerdict::Hidden { sites } => sites,
    };
    let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
    let what = match &t.verdict {
        FixVerdict::Open { .. } => "a side is still not what its arithmetic declares at",
        FixVerdict::Moved { .. } => "a side is now not what its arithmetic declares at",
        _ => "the outputs agree, but a side is not what its arithmetic declares at",
    };
    writeln!(out, "{}: {what} {}", t.policy, sites.join(", "))
}

/// Which policy is nearest the oracle.
fn best(record: &Fix, out: &mut dyn Write) -> io::Result<()> {
    let distance = |t: &Tried| Some(t.held_out.a_oracle?.max(t.held_out.b_oracle?));
    let known: Vec<(f64, &str)> = record.tried.iter().filter_map(|t| Some((distance(t)?, t.policy.as_str()))).collect();
    let Some((least, nearest)) = known.iter().min_by(|a, b| a.0.total_cmp(&b.0)) else { return Ok(()) };
    for (other, name) in known.iter().filter(|(_, name)| name != nearest) {
        writeln!(out, "{nearest} is {} times nearer the oracle than {name}", short(Some(other / least)))?;
    }
    Ok(())
}
