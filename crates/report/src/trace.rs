//! The layer table of a recording.

use std::io::{self, Write};

use twinpath_evidence::Stats;

use crate::number::{count, short};
use crate::table::{table, text};

/// One site of a recording.
#[derive(Debug, Clone)]
pub struct TraceRow<'r> {
    /// Text form of the site.
    pub site: &'r str,
    /// Block type of the weights that made it.
    pub weights: Option<&'r str>,
    /// Its statistics.
    pub stats: &'r Stats,
}

/// The layer table, one line a site.
///
/// # Errors
/// When `out` cannot be written.
pub fn trace(rows: &[TraceRow<'_>], out: &mut dyn Write) -> io::Result<()> {
    let mut table = table(&["site", "weights", "count", "mean", "std", "min", "max", "non-finite"], 2);
    for row in rows {
        let s = row.stats;
        let number = |x| short(Some(x));
        let mut cells = vec![row.site.to_owned(), row.weights.unwrap_or("-").to_owned(), count(s.count)];
        cells.extend([s.mean, s.std, s.min, s.max].map(number));
        cells.push(count(s.non_finite));
        table.add_row(cells);
    }
    write!(out, "{}", text(&table))
}
