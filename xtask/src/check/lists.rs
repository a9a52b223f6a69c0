//! One thing is one file and one line in a visible list: no file may be forgotten in its list.
//!
//! Block formats and paths have a test of their own beside their list.

use std::path::Path;

use anyhow::Context as _;

/// A folder of things and the list that names them.
struct List {
    /// The folder.
    folder: &'static str,
    /// The file that holds the list.
    file: &'static str,
    /// The name of the `const`.
    name: &'static str,
    /// Files (and folders) of the folder that are no such thing.
    others: &'static [&'static str],
}

/// Every such folder. A new one is a new entry.
const LISTS: &[List] = &[
    List {
        folder: "crates/lab/src/experiments",
        file: "crates/lab/src/experiments/mod.rs",
        name: "EXPERIMENTS",
        others: &["mod", "kit"],
    },
    List {
        folder: "crates/lab/src/bench",
        file: "crates/lab/src/bench/mod.rs",
        name: "MEASURES",
        others: &["mod", "kit", "race", "system"],
    },
    List {
        folder: "crates/lab/src/policies",
        file: "crates/lab/src/policies/mod.rs",
        name: "POLICIES",
        others: &["mod", "policed"],
    },
    List {
        folder: "crates/lab/src/suspects",
        file: "crates/lab/src/suspects/mod.rs",
        name: "SUSPECTS",
        others: &["mod", "kit"],
    },
    List { folder: "crates/engine/src/arch", file: "crates/engine/src/arch/mod.rs", name: "ARCHS", others: &["mod"] },
    List {
        folder: "crates/lab/src/trace/export",
        file: "crates/lab/src/trace/export/mod.rs",
        name: "EXPORTS",
        others: &["mod"],
    },
    List {
        folder: "crates/lab/src/trace/import",
        file: "crates/lab/src/trace/import/mod.rs",
        name: "IMPORTS",
        others: &["mod"],
    },
    List {
        folder: "crates/lab/src/trace/names",
        file: "crates/lab/src/trace/names/mod.rs",
        name: "NAMES",
        others: &["mod", "user"],
    },
    List {
        folder: "crates/paths/src/fused",
        file: "crates/paths/src/fused/mod.rs",
        name: "PACKED",
        others: &["mod", "bytes", "row", "split", "tests", "tile", "tiles", "x86"],
    },
];

/// Files that their list does not name.
pub(super) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for list in LISTS {
        let folder = root.join(list.folder);
        let mut stems = Vec::new();
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|s| s.to_str()).context("a file name is not UTF-8")?.to_owned();
            stems.push(stem);
        }
        stems.sort();
        stems.dedup();
        let text =
            std::fs::read_to_string(root.join(list.file)).with_context(|| format!("cannot read {}", list.file))?;
        wrong.extend(forgotten(list, &stems, &text)?);
    }
    Ok(wrong)
}

fn forgotten(list: &List, stems: &[String], text: &str) -> anyhow::Result<Vec<String>> {
    let List { folder, file, name, others } = list;
    let body = text
        .split_once(&format!("const {name}:"))
        .and_then(|(_, rest)| rest.split_once("= &["))
        .and_then(|(_, rest)| rest.split_once("];"))
        .map(|(body, _)| body)
        .with_context(|| format!("{file} has no `const {name}: … = &[…];`"))?;
    let named = |stem: &str| body.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == stem);
    let mut wrong = Vec::new();
    for stem in stems.iter().filter(|stem| !others.contains(&stem.as_str()) && !named(stem)) {
        wrong.push(format!("{folder}/{stem}.rs is not in {name} of {file}"));
    }
    for other in others.iter().filter(|other| !stems.iter().any(|stem| stem == *other)) {
        wrong.push(format!("{folder}/{other}.rs does not exist: remove it from LISTS of the gate"));
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_a_folder_of_things_is_in_its_list() {
        assert_eq!(check(&crate::root()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_forgotten_file_and_a_stale_exception_are_reported() {
        let list = List { folder: "f", file: "f/mod.rs", name: "THINGS", others: &["mod", "gone"] };
        let text = "use a;\npub const THINGS: &[&dyn T] = &[&a::A, &bc::B];\n";
        let stems = ["a", "b", "bc", "mod"].map(str::to_owned);
        let wrong = forgotten(&list, &stems, text).unwrap();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].starts_with("f/b.rs is not in THINGS") && wrong[1].starts_with("f/gone.rs"), "{wrong:?}");
        assert!(forgotten(&list, &stems, "no list").is_err());
    }
}
