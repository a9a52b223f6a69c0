//! Source files that a reader can hold in mind.

use std::path::Path;

use crate::tree;

/// Lines that a Rust file may have.
const BUDGET: usize = 400;

/// Files that may be longer, and why: flat catalogues, where a cut would only hide an entry.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// Files above the budget, and exceptions that are none.
pub(super) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut lengths = Vec::new();
    for file in tree::files(root)? {
        if file.extension().is_some_and(|e| e == "rs") {
            let lines = tree::text(&root.join(&file))?.unwrap_or_default().lines().count();
            lengths.push((file.display().to_string(), lines));
        }
    }
    Ok(judge(&lengths, EXCEPTIONS))
}

fn judge(lengths: &[(String, usize)], exceptions: &[(&str, &str)]) -> Vec<String> {
    let excepted = |file: &str| exceptions.iter().any(|(name, _)| *name == file);
    let long = lengths.iter().filter(|(file, lines)| *lines > BUDGET && !excepted(file));
    let mut wrong: Vec<String> =
        long.map(|(file, lines)| format!("{file} has {lines} lines, more than {BUDGET}: split it")).collect();
    let needed = |name: &str| lengths.iter().any(|(file, lines)| file == name && *lines > BUDGET);
    let stale = exceptions.iter().filter(|(name, _)| !needed(name));
    wrong.extend(stale.map(|(name, _)| format!("{name} needs no exception from the size gate: remove it")));
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_above_the_budget_without_a_reason_is_too_long() {
        let lengths = [("a.rs", 400), ("b.rs", 401), ("c.rs", 999)].map(|(name, lines)| (name.to_owned(), lines));
        let wrong = judge(&lengths, &[("c.rs", "a catalogue"), ("a.rs", "stale")]);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].starts_with("b.rs has 401") && wrong[1].starts_with("a.rs"), "{wrong:?}");
    }
}
