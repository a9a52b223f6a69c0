//! Who contributes how much to each path's distance from the oracle.

use std::io::{self, Write};

use twinpath_evidence::attribution::Budget;

use crate::attribution::{part, signed};
use crate::number::{percent, short};
use crate::table::{table, text};

/// Both paths' budgets side by side, and which is nearer.
///
/// # Errors
/// When `out` cannot be written.
pub fn budget(record: &Budget, out: &mut dyn Write) -> io::Result<()> {
    let (a, b) = (&record.a, &record.b);
    writeln!(out, "oracle  {}", a.a.label)?;
    writeln!(out, "A       {}  [{}]", a.b.label, a.b.kernels)?;
    writeln!(out, "B       {}  [{}]", b.b.label, b.b.kernels)?;
    writeln!(out, "scope   {} prompts, {} tokens, logits of all positions\n", a.prompts, a.tokens)?;
    let header = ["site", "A share", "A size", "A unexplained", "B share", "B size", "B unexplained", "nearer"];
    let mut shown = table(&header, 1);
    for line in record.lines() {
        let nearer = match line.a.size.total_cmp(&line.b.size) {
            std::cmp::Ordering::Less => "A",
            std::cmp::Ordering::Equal => "-",
            std::cmp::Ordering::Greater => "B",
        };
        let side = |s: &twinpath_evidence::attribution::BudgetSide| {
            [signed(s.share), percent(Some(s.size)), part(s.unexplained)]
        };
        let mut cells = vec![line.group.to_owned()];
        cells.extend(side(&line.a));
        cells.extend(side(&line.b));
        cells.push(nearer.to_owned());
        shown.add_row(cells);
    }
    write!(out, "{}", text(&shown))?;
    let [to_a, to_b] = [a.relative_l2, b.relative_l2];
    writeln!(
        out,
        "\nSUMMARY  distance from the oracle at the logits: A {}, B {}",
        percent(Some(to_a)),
        percent(Some(to_b))
    )?;
    let (nearer, ratio) = if to_a <= to_b { ("A", to_b / to_a) } else { ("B", to_a / to_b) };
    if ratio.is_finite() && ratio > 1.0 {
        writeln!(out, "         {nearer} is {} times nearer", short(Some(ratio)))?;
    }
    for (side, of) in [("A", a), ("B", b)] {
        writeln!(out, "         {side}: shares sum to {:.9}, unexplained {}", of.sum, part(of.unexplained))?;
    }
    writeln!(out, "note: size is the distance that a site alone would make, of the norm of the oracle's logits")
}
