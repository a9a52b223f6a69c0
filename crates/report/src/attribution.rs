//! Shares of the output difference.

use std::io::{self, Write};

use twinpath_evidence::attribution::{DESERVING, MIN_PROMPTS, NOTABLE_INTERACTION};
use twinpath_evidence::{Attribution, GroupShare};

use crate::number::{count, percent, short};
use crate::table::{table, text};

/// The shares in execution order, and the summary.
///
/// # Errors
/// When `out` cannot be written.
pub fn attribution(record: &Attribution, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "A       {}  [{}]", record.a.label, record.a.kernels)?;
    writeln!(out, "B       {}  [{}]", record.b.label, record.b.kernels)?;
    writeln!(out, "scope   {} prompts, {} tokens, logits of all positions", record.prompts, record.tokens)?;
    let drift = percent(Some(record.relative_l2));
    writeln!(out, "total   B against A: rel L2 {drift}, KL {} nats (means over prompts)\n", short(Some(record.kl)))?;
    let mut header = vec!["site", "share", "95 % interval", "unexplained", "energy", "KL step", "margin step"];
    if record.interaction.is_some() {
        header.extend(["reverse", "mean", "|difference|"]);
    }
    if record.random_orders > 0 {
        header.push("Shapley");
    }
    let mut shown = table(&header, 1);
    let moves = |g: &&GroupShare| [g.energy, g.unexplained, g.reverse.unwrap_or(0.0)].iter().any(|x| *x != 0.0);
    for g in record.groups.iter().filter(moves) {
        shown.add_row(row(g));
    }
    write!(out, "{}", text(&shown))?;
    let still = record.groups.iter().filter(|g| !moves(g)).count();
    if still > 0 {
        writeln!(out, "({still} more sites change nothing when switched)")?;
    }
    tensors(record, out)?;
    massive(record, out)?;
    summary(record, out)
}

/// Which tensors deserve more bits.
fn tensors(record: &Attribution, out: &mut dyn Write) -> io::Result<()> {
    if record.tensors.is_empty() {
        return Ok(());
    }
    let mut shown = table(&["tensor", "stored as", "weights", "share", "energy", "energy per weight"], 2);
    for t in &record.tensors {
        let [share, energy] = [signed(t.share), format!("{:.2} %", 100.0 * t.energy)];
        let stored = format!("{} for {}", t.to, t.from);
        shown.add_row([t.tensor.clone(), stored, count(t.weights), share, energy, short(Some(t.per_weight()))]);
    }
    write!(out, "\n{}", text(&shown))?;
    let deserving: Vec<&str> = record.tensors.iter().take(DESERVING).map(|t| t.tensor.as_str()).collect();
    writeln!(out, "more bits are worth most in: {}", deserving.join(", "))
}

/// What massive activations have to do with it.
fn massive(record: &Attribution, out: &mut dyn Write) -> io::Result<()> {
    let Some(found) = &record.massive else { return Ok(()) };
    let (sole, all) = (count(found.blocks.0), count(found.blocks.1));
    writeln!(out, "\nmassive activations: one element sets the scale of {sole} of {all} blocks that B codes")?;
    writeln!(out, "  without the errors of these blocks {} of the difference goes", signed(found.share))?;
    for m in &found.largest {
        let p = &m.peak;
        writeln!(
            out,
            "  {} prompt {} position {} channel {}: {}, {} times the median of its row",
            m.site,
            m.prompt,
            p.position,
            p.channel,
            short(Some(p.value)),
            short(p.times_median)
        )?;
    }
    Ok(())
}

pub(crate) fn signed(x: f64) -> String {
    format!("{:+.2} %", 100.0 * x)
}

/// Exact zero is said as one.
pub(crate) fn part(x: f64) -> String {
    if x == 0.0 { "0".to_owned() } else { signed(x) }
}

fn row(g: &GroupShare) -> Vec<String> {
    let bounds = g.share.bounds.map_or("-".to_owned(), |(low, high)| format!("{} .. {}", signed(low), signed(high)));
    let energy = format!("{:.2} %", 100.0 * g.energy);
    let mut cells = vec![g.group.clone(), signed(g.share.mean), bounds, part(g.unexplained), energy];
    cells.extend([short(Some(g.kl)), short(Some(g.margin))]);
    if let Some(reverse) = g.reverse {
        let (mean, difference) = ((g.share.mean + reverse) / 2.0, (g.share.mean - reverse).abs());
        cells.extend([signed(reverse), signed(mean), format!("{:.2} %", 100.0 * difference)]);
    }
    cells.extend(g.shapley.map(signed));
    cells
}

fn summary(record: &Attribution, out: &mut dyn Write) -> io::Result<()> {
    let mut top: Vec<&GroupShare> = record.groups.iter().collect();
    top.sort_by(|a, b| b.energy.total_cmp(&a.energy));
    let named: Vec<String> = top.iter().take(3).map(|g| format!("{} ({:.1} %)", g.group, 100.0 * g.energy)).collect();
    writeln!(out, "\nSUMMARY  the shares sum to {:.9} of the total", record.sum)?;
    writeln!(
        out,
        "         explained {}, unexplained {}",
        signed(record.sum - record.unexplained),
        part(record.unexplained)
    )?;
    for s in &record.suspicious {
        let of = |side, n| format!("{side} in {n} of {} prompts", record.prompts);
        let sides = [("A", s.a), ("B", s.b)].into_iter().filter(|(_, n)| *n > 0).map(|(side, n)| of(side, n));
        writeln!(out, "         UNEXPLAINED at {}: {}", s.site, sides.collect::<Vec<_>>().join(", "))?;
    }
    writeln!(out, "         largest by energy: {}", named.join(", "))?;
    let (a, b) = record.margin;
    writeln!(out, "         margin of A's answer: {} in A, {} in B", short(Some(a)), short(Some(b)))?;
    writeln!(out, "         cost: {:.1} forward passes", record.passes)?;
    if let Some(i) = record.interaction {
        let order = percent(Some(i.sum));
        writeln!(
            out,
            "         order of switching: shares move by {order} in total; reverse chain ends {:.1e} from B",
            i.closure
        )?;
        if i.sum > NOTABLE_INTERACTION {
            writeln!(out, "warning: the shares depend on the order of switching: read them as give or take that much")?;
        }
    }
    if record.prompts < MIN_PROMPTS {
        writeln!(out, "warning: shares on {} prompts are noisy; {MIN_PROMPTS} or more give intervals", record.prompts)?;
    }
    writeln!(out, "note: a share says where the difference comes from, not whether it is a mistake")
}
