//! Text that only makes sense on the machine where it was written.

use std::path::Path;

use crate::tree;

/// First parts of paths that belong to one machine. Spelt in pieces, so that this file is none of its own findings.
const PLACES: &[&str] = &[concat!("/wo", "rk"), concat!("/ro", "ot"), concat!("/ho", "me"), concat!("/t", "mp")];

/// Folders whose files are recorded from elsewhere and are not ours to word.
const RECORDED: &[&str] = &["testdata/"];

/// Lines of text files that name such a place.
pub(super) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for file in tree::files(root)? {
        let name = file.display().to_string();
        if RECORDED.iter().any(|folder| name.starts_with(folder)) {
            continue;
        }
        let Some(text) = tree::text(&root.join(&file))? else { continue };
        for (i, line) in text.lines().enumerate() {
            if let Some(place) = PLACES.iter().find(|place| names(line, place)) {
                wrong.push(format!("{name}:{}: `{place}` is a path of one machine: {}", i + 1, line.trim()));
            }
        }
    }
    Ok(wrong)
}

/// Whether `line` has `place` as the beginning of an absolute path: not inside a longer path, nor as part of a word.
fn names(line: &str, place: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || "_-.~*})]>".contains(c);
    line.match_indices(place).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + place.len()..]);
        !before.ends_with(inner) && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_are_found_and_other_words_are_not() {
        let [work, .., tmp] = PLACES else { unreachable!("there are several") };
        for line in [format!("see {work}/x"), format!("`{work}`"), format!("--out {tmp}/x.json"), (*tmp).to_owned()] {
            assert!(PLACES.iter().any(|place| names(&line, place)), "{line}");
        }
        for line in [format!("https://example.org{work}/x"), format!("{work}space"), format!("a{tmp}"), "$TMP".into()] {
            assert!(!PLACES.iter().any(|place| names(&line, place)), "{line}");
        }
    }
}
