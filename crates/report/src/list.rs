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

/// Columns of a line.
const WIDTH: usize = 100;

/// Names and descriptions, wrapped; lines of a description stay lines.
///
/// # Errors
/// When `out` cannot be written.
pub fn list(entries: &[Entry], out: &mut dyn Write) -> io::Result<()> {
    let width = entries.iter().map(|e| e.name.len()).max().unwrap_or(0);
    for entry in entries {
        let mut name = entry.name.as_str();
        for line in entry.description.lines() {
            for piece in textwrap::wrap(line, WIDTH.saturating_sub(width + 2)) {
                writeln!(out, "{name:width$}  {piece}")?;
                name = "";
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_descriptions_are_wrapped_beside_their_name() {
        let description = format!("{}\nkernels", "weights ".repeat(30));
        let entries = [("a", description), ("longer", "short".to_owned())]
            .map(|(name, description)| Entry { name: name.to_owned(), description });
        let mut out = Vec::new();
        list(&entries, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|l| l.chars().count() <= WIDTH), "{text}");
        assert_eq!((lines.len(), &lines[0][..9], &lines[1][..9]), (5, "a       w", "        w"), "{text}");
        assert_eq!(lines[3..], ["        kernels", "longer  short"], "{text}");
        assert_eq!(text.matches("weights").count(), 30);
    }
}
