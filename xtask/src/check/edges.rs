//! Dependencies between the workspace's crates, against the crate table of ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, bail};
use cargo_metadata::{DependencyKind, MetadataCommand};

/// For each crate the crates that it depends on, or may depend on, without the common prefix of their names.
type Edges = BTreeMap<String, BTreeSet<String>>;

/// Edges that no line of the table allows, crates that it lacks, and crates that it invents.
pub(super) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let file = root.join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(compare(&table(&text)?, &actual(root)?))
}

/// The edges that cargo sees; those of tests and examples do not count.
fn actual(root: &Path) -> anyhow::Result<Edges> {
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    let short = |name: &str| name.strip_prefix("twinpath-").map_or_else(|| name.to_owned(), str::to_owned);
    let crate_of = |name: &str| if name == "twinpath" { "cli".to_owned() } else { short(name) };
    let members: BTreeSet<String> = metadata.packages.iter().map(|p| crate_of(&p.name)).collect();
    let edges = metadata.packages.iter().map(|package| {
        let inner = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
        let inner = inner.map(|d| crate_of(&d.name)).filter(|name| members.contains(name));
        (crate_of(&package.name), inner.collect())
    });
    Ok(edges.collect())
}

/// The crate table: the one with a column `may depend on`, its crates in backticks.
fn table(text: &str) -> anyhow::Result<Edges> {
    let cells =
        |line: &str| -> Vec<String> { line.trim().trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect() };
    let mut lines = text.lines();
    let column = lines
        .by_ref()
        .find_map(|line| line.starts_with('|').then(|| cells(line).iter().position(|c| c == "may depend on")).flatten())
        .context("ARCHITECTURE.md has no table with a column `may depend on`")?;
    let mut edges = Edges::new();
    for line in lines.skip(1).take_while(|line| line.starts_with('|')) {
        let cells = cells(line);
        let (Some(name), Some(allowed)) = (cells.first(), cells.get(column)) else {
            bail!("ARCHITECTURE.md: the row `{line}` has too few columns");
        };
        let in_backticks = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let [name] = &in_backticks(name)[..] else {
            bail!("ARCHITECTURE.md: the row `{line}` does not begin with one crate in backticks");
        };
        edges.insert(name.clone(), in_backticks(allowed).into_iter().collect());
    }
    Ok(edges)
}

fn compare(allowed: &Edges, actual: &Edges) -> Vec<String> {
    let mut wrong = Vec::new();
    for (from, to) in actual {
        let Some(allowed) = allowed.get(from) else {
            wrong.push(format!("`{from}` is not in the crate table of ARCHITECTURE.md: add its row"));
            continue;
        };
        let forbidden = to.difference(allowed);
        wrong.extend(forbidden.map(|to| format!("`{from}` depends on `{to}`, which ARCHITECTURE.md does not allow")));
    }
    let missing = allowed.keys().filter(|name| !actual.contains_key(*name));
    wrong.extend(missing.map(|name| format!("ARCHITECTURE.md has a row for `{name}`, which is no crate: remove it")));
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_depend_on_each_other_as_architecture_md_says() {
        assert_eq!(check(&crate::root()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn forbidden_missing_and_invented_are_reported() {
        let text = "x\n\n| crate | holds | may depend on |\n|---|---|---|\n| `a` | x | none |\n| `b` | y | `a` |\n| `d` | | |\n\nend";
        let allowed = table(text).unwrap();
        let edges = |list: &[(&str, &[&str])]| -> Edges {
            list.iter().map(|(from, to)| ((*from).to_owned(), to.iter().map(|t| (*t).to_owned()).collect())).collect()
        };
        assert_eq!(compare(&allowed, &edges(&[("a", &[]), ("b", &["a"]), ("d", &[])])), Vec::<String>::new());
        let wrong = compare(&allowed, &edges(&[("a", &["b"]), ("b", &[]), ("c", &["a"])]));
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(wrong[0].starts_with("`a` depends on `b`"), "{wrong:?}");
        assert!(wrong[1].starts_with("`c` is not in"), "{wrong:?}");
        assert!(wrong[2].contains("`d`"), "{wrong:?}");
    }

    #[test]
    fn an_unreadable_table_is_an_error_and_not_an_empty_one() {
        assert!(table("no table").is_err());
        assert!(table("| crate | may depend on |\n|---|---|\n| a | `b` |\n").is_err());
    }
}
