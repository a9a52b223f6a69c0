//! Measured speed.

use std::io::{self, Write};

use comfy_table::Table;
use twinpath_evidence::bench::{Bench, Entrant, Group, Held, Load, Quantity, Ratio, Spread, Target, Warning};

use crate::number::{bytes, short};
use crate::table::{table, text};

/// The machine, a table for each group, memory and doubts.
///
/// # Errors
/// When `out` cannot be written.
pub fn bench(record: &Bench, out: &mut dyn Write) -> io::Result<()> {
    let (p, m) = (&record.provenance, &record.machine);
    writeln!(out, "{}", record.command)?;
    writeln!(out, "machine  {}, {} threads, {}", m.processor, m.threads, p.cpu)?;
    let caches = m.caches.map(|(second, last)| format!("caches {} and {}", bytes(second), bytes(last)));
    let memory = m.memory.map(|n| format!("memory {}", bytes(n)));
    let pages = m.huge_pages.as_ref().map(|when| format!("huge pages: {when}"));
    let load = m.load.map(|x| format!("load {x}"));
    let facts: Vec<String> = [caches, memory, pages, load].into_iter().flatten().collect();
    writeln!(out, "         {}", facts.join(", "))?;
    for file in &p.files {
        writeln!(out, "model    {} ({})", file.path, bytes(file.bytes))?;
    }
    if let Some(Load::Copy { bytes: n, seconds }) = record.load {
        writeln!(out, "weights  {} copied for the kernels in {} s", bytes(n), short(Some(seconds)))?;
    }
    for group in &record.groups {
        writeln!(out, "\n{}: {}  ({} rounds; median, quartiles)", group.measure, group.name, group.rounds)?;
        write!(out, "{}", text(&rates(group)))?;
    }
    if let Some(memory) = &record.memory {
        writeln!(
            out,
            "\nmemory: at most {} resident after {} positions along {}, {} beyond the model's files; {} of it anonymous",
            bytes(memory.peak),
            memory.positions,
            memory.path,
            bytes(memory.beyond_model()),
            bytes(memory.anonymous)
        )?;
    }
    doubts(&record.warnings, out)
}

/// Noise is told once, by its worst case: on a busy machine there is a line of it for every entrant.
fn doubts(warnings: &[Warning], out: &mut dyn Write) -> io::Result<()> {
    let spread = |w: &Warning| if let Warning::Noisy { spread, .. } = w { Some(*spread) } else { None };
    let noisy = warnings.iter().filter(|w| spread(w).is_some());
    let others = warnings.iter().filter(|w| spread(w).is_none());
    let worst = noisy.clone().max_by(|a, b| spread(a).partial_cmp(&spread(b)).unwrap_or(std::cmp::Ordering::Equal));
    if !warnings.is_empty() {
        writeln!(out)?;
    }
    others.chain(worst).try_for_each(|warning| writeln!(out, "warning: {warning}"))?;
    match noisy.count() {
        0 | 1 => Ok(()),
        n => writeln!(out, "         and {} more entrants are noisy; --json names them", n - 1),
    }
}

fn rates(group: &Group) -> Table {
    let mut all = table(&["", group.unit.as_str(), "quartiles", "ms each", "ratios"], 1);
    if let Some(ratios) = all.column_mut(4) {
        ratios.set_cell_alignment(comfy_table::CellAlignment::Left);
    }
    for entrant in &group.entrants {
        let ratios = group.ratios.iter().filter(|r| r.of == entrant.name).map(ratio);
        let ratios = ratios.collect::<Vec<_>>().join("; ");
        let Entrant { name, rate, .. } = entrant;
        all.add_row([name.clone(), short(Some(rate.median)), quartiles(rate), each(group, rate), ratios]);
    }
    all
}

/// Milliseconds for one, where the unit counts things.
fn each(group: &Group, rate: &Spread) -> String {
    match group.unit.as_str() {
        "tok/s" | "1/s" => short(Some(1e3 / rate.median)),
        _ => String::new(),
    }
}

fn quartiles(spread: &Spread) -> String {
    format!("{} .. {}", short(Some(spread.q1)), short(Some(spread.q3)))
}

/// `3.21x of read (3.10 .. 3.30), target >= 3: held`.
fn ratio(ratio: &Ratio) -> String {
    let what = match ratio.quantity {
        Quantity::Speed => "speed of",
        Quantity::Time => "time of",
    };
    let median = short(Some(ratio.ratio.median));
    let line = format!("{median} x the {what} {} ({})", ratio.to, quartiles(&ratio.ratio));
    let Some((target, held)) = ratio.target.zip(ratio.held()) else { return line };
    let target = match target {
        Target::AtLeast(bound) => format!(">= {}", short(Some(bound))),
        Target::AtMost(bound) => format!("<= {}", short(Some(bound))),
    };
    let held = match held {
        Held::Yes => "held",
        Held::No => "NOT HELD",
        Held::Unclear => "unclear",
    };
    format!("{line}, target {target}: {held}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_says_what_it_compares_and_whether_its_target_is_held() {
        let spread = |q1, median, q3| Spread { q1, median, q3 };
        let mut r = Ratio {
            of: "a".into(),
            to: "b".into(),
            quantity: Quantity::Speed,
            ratio: spread(0.9, 1.0, 1.1),
            target: None,
        };
        assert_eq!(ratio(&r), "1.00 x the speed of b (0.900 .. 1.10)");
        r.target = Some(Target::AtLeast(0.95));
        assert!(ratio(&r).ends_with(", target >= 0.950: unclear"), "{}", ratio(&r));
        (r.quantity, r.target) = (Quantity::Time, Some(Target::AtMost(0.5)));
        assert_eq!(ratio(&r), "1.00 x the time of b (0.900 .. 1.10), target <= 0.500: NOT HELD");
    }
}
