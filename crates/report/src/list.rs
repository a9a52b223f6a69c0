//! What there is, one entry a paragraph.

use std::io::{self, Write};

use serde::Serialize;

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its name on the command line.
    pub name: String,
    /// What it is.
    pub description: String,
}

/// Names and descriptions.
///
/// # Errors
/// When `out` cannot be written.
pub fn list(entries: &[Entry], out: &mut dyn Write) -> io::Result<()> {
    let width = entries.iter().map(|e| e.name.len()).max().unwrap_or(0);
    for entry in entries {
        let mut lines = entry.description.lines();
        writeln!(out, "{:width$}  {}", entry.name, lines.next().unwrap_or_default())?;
        for line in lines {
            writeln!(out, "{:width$}  {line}", "")?;
        }
    }
    Ok(())
}
