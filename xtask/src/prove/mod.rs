//! A check counts only after it has been seen to fail. `prove` copies the tree, plants one fault after the other, and
//! requires that the check that should catch it goes red, and for that reason.
//!
//! Everything happens below `target/prove`: the copy in `tree`, its build output in `target`.

pub(crate) mod faults;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::check::{Gate, Outcome, cargo};
use crate::{command, tree};
use faults::{Catcher, Edit, Fault};

/// A planted fault may make a test hang; then it was not caught.
const LIMIT: Duration = Duration::from_secs(1800);

/// Packages that are selected beside that of a test, though they hold none of its name: the features of dependencies follow
/// from what is selected, and with these they are nearly those of the whole workspace, so that each is built once.
const WITH: &[&str] = &["-p", "twinpath", "-p", "xtask"];

/// Plants every fault and prints a line for each. Exit code 1 if one was not caught, or its catcher is red without it.
///
/// # Errors
/// When no fault matches `only`, or an entry no longer fits the tree.
pub(crate) fn prove(root: &Path, only: Option<&str>) -> anyhow::Result<ExitCode> {
    let matches = |f: &&Fault| only.is_none_or(|text| f.name.contains(text) || f.catcher.name().contains(text));
    let chosen: Vec<&Fault> = faults::all().filter(matches).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = faults::all().map(|f| f.name).collect();
        bail!("no fault matches {:?}; there are\n{}", only.unwrap_or_default(), names.join("\n"));
    }
    let place = Place::new(root)?;
    println!("without a fault:");
    let mut states: Vec<(Catcher, bool)> = Vec::new();
    for fault in &chosen {
        if states.iter().any(|(catcher, _)| *catcher == fault.catcher) {
            continue;
        }
        let start = Instant::now();
        let red = place.why_not_green(fault.catcher)?;
        row(if red.is_none() { "green" } else { "RED" }, start, fault.catcher.name(), "");
        red.iter().for_each(|why| println!("{why}\n"));
        states.push((fault.catcher, red.is_none()));
    }
    println!("with one:");
    let mut missed = 0;
    for fault in &chosen {
        let start = Instant::now();
        let green = states.contains(&(fault.catcher, true));
        let verdict = if green { place.plant(fault)? } else { Err("it is red without any fault".to_owned()) };
        row(if verdict.is_ok() { "caught" } else { "NOT CAUGHT" }, start, fault.catcher.name(), fault.name);
        if let Err(why) = verdict {
            println!("{why}\n");
            missed += 1;
        }
    }
    println!("{} caught, {missed} not caught", chosen.len() - missed);
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(verdict: &str, start: Instant, catcher: &str, fault: &str) {
    let catcher: String = if catcher.len() > 44 { format!("{}…", &catcher[..43]) } else { catcher.to_owned() };
    println!("{verdict:10} {:6.1} s  {catcher:44}  {fault}", start.elapsed().as_secs_f64());
}

/// Where faults are planted.
struct Place {
    root: PathBuf,
    target: PathBuf,
    /// Held as long as faults are planted: two at once would plant into each other's tree.
    _lock: File,
}

impl Place {
    fn new(root: &Path) -> anyhow::Result<Place> {
        let base = root.join("target/prove");
        std::fs::create_dir_all(&base)?;
        let lock = File::create(base.join("lock"))?;
        lock.try_lock().with_context(|| format!("{} is in use by another `cargo xtask prove`", base.display()))?;
        let place = Place { root: base.join("tree"), target: base.join("target"), _lock: lock };
        tree::mirror(root, &place.root)?;
        Ok(place)
    }

    fn run(&self, catcher: Catcher) -> anyhow::Result<Outcome> {
        match catcher {
            Catcher::Gate(name) => {
                let gate = Gate::find(name).with_context(|| format!("there is no gate {name}"))?;
                gate.run(&self.root, Some(&self.target))
            }
            Catcher::Test { target, name } => {
                let mut cargo = cargo(&self.root, Some(&self.target));
                let cargo = cargo.args(["test", "--profile", "prove"]).args(WITH).args(target).arg(name);
                let ended = command::run(cargo, LIMIT)?;
                Ok(match ended.success {
                    true if verdicts(&ended.output, name).any(|verdict| verdict == "ok") => Outcome::Passed,
                    true => Outcome::Skipped(format!("no test {name} was run:\n{}", ended.output)),
                    false => Outcome::Failed(ended.output),
                })
            }
        }
    }

    fn why_not_green(&self, catcher: Catcher) -> anyhow::Result<Option<String>> {
        Ok(match self.run(catcher)? {
            Outcome::Passed => None,
            Outcome::Failed(why) => Some(why),
            Outcome::Skipped(why) => Some(format!("it was skipped, which proves nothing: {why}")),
        })
    }

    /// Plants, looks, restores. `Err` of the inner result says why the fault was not caught.
    fn plant(&self, fault: &Fault) -> anyhow::Result<Result<(), String>> {
        let mut saved = Vec::new();
        for edit in fault.edits {
            let file = self.root.join(edit.file());
            saved.push((file.clone(), std::fs::read(&file).ok()));
            edit.apply(&self.root).with_context(|| format!("the fault `{}` does not fit the tree", fault.name))?;
        }
        let outcome = self.run(fault.catcher);
        for (file, bytes) in saved.into_iter().rev() {
            match bytes {
                Some(bytes) => std::fs::write(&file, bytes)?,
                None => std::fs::remove_file(&file)?,
            }
        }
        Ok(judge(fault, outcome?))
    }
}

impl Edit {
    /// The file that it changes.
    pub(crate) fn file(&self) -> &'static str {
        match self {
            Edit::Replace(file, ..) | Edit::Create(file, ..) => file,
        }
    }

    /// Changes the tree under `root`.
    ///
    /// # Errors
    /// When the text to replace is not there exactly once, or the file to create is there.
    pub(crate) fn apply(&self, root: &Path) -> anyhow::Result<()> {
        let path = root.join(self.file());
        match *self {
            Edit::Replace(file, find, with) => {
                let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {file}"))?;
                let count = text.matches(find).count();
                ensure!(count == 1, "{file} has `{find}` {count} times; it must be there exactly once");
                std::fs::write(&path, text.replacen(find, with, 1))?;
            }
            Edit::Create(file, line, lines) => {
                ensure!(!path.exists(), "{file} exists");
                std::fs::write(&path, format!("{line}\n").repeat(lines))?;
            }
        }
        Ok(())
    }
}

/// The verdicts that the test harness gives on tests whose path ends in `name`.
fn verdicts<'o>(output: &'o str, name: &'o str) -> impl Iterator<Item = &'o str> {
    let lines = output.lines().filter_map(|line| line.strip_prefix("test ")?.split_once(" ... "));
    lines
        .filter(move |(path, _)| path.split(" - ").next().is_some_and(|p| p.ends_with(name)))
        .map(|(_, verdict)| verdict)
}

/// Whether a fault was caught for the right reason. Code that does not compile has tested nothing.
fn judge(fault: &Fault, outcome: Outcome) -> Result<(), String> {
    let output = match outcome {
        Outcome::Failed(output) => output,
        Outcome::Passed => return Err("it stayed green".to_owned()),
        Outcome::Skipped(why) => return Err(format!("it was skipped: {why}")),
    };
    let is_lint = matches!(fault.catcher, Catcher::Gate("clippy" | "rustdoc"));
    if !is_lint && output.contains("could not compile") {
        return Err(format!("the planted code does not compile:\n{output}"));
    }
    if let Catcher::Test { name, .. } = fault.catcher
        && !verdicts(&output, name).any(|verdict| verdict == "FAILED")
    {
        return Err(format!("it is red, but not in the test {name}:\n{output}"));
    }
    if !output.contains(fault.sign) {
        return Err(format!("it is red, but does not say `{}`:\n{output}", fault.sign));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::GATES;

    const TEST: Catcher = Catcher::Test { target: &[], name: "a_test" };

    fn fault(catcher: Catcher, sign: &'static str) -> Fault {
        Fault { name: "f", edits: &[], catcher, sign }
    }

    #[test]
    fn only_red_for_the_right_reason_is_caught() {
        let red = |text: &str| Outcome::Failed(text.to_owned());
        let failed = "test tests::a_test ... FAILED\n\nassertion: wrong sum";
        assert!(judge(&fault(TEST, ""), red(failed)).is_ok());
        assert!(judge(&fault(TEST, "wrong sum"), red(failed)).is_ok());
        assert!(judge(&fault(TEST, "wrong product"), red(failed)).is_err());
        assert!(judge(&fault(TEST, ""), red("test tests::another ... FAILED")).is_err());
        assert!(judge(&fault(TEST, ""), red("test tests::a_test ... ok\ntest tests::another ... FAILED")).is_err());
        assert!(judge(&fault(TEST, ""), red("error: could not compile `x`")).is_err());
        assert!(judge(&fault(TEST, ""), Outcome::Passed).is_err());
        assert!(judge(&fault(TEST, ""), Outcome::Skipped(String::new())).is_err());
        let lint = "error: unused variable\nerror: could not compile `x`";
        assert!(judge(&fault(Catcher::Gate("clippy"), "unused variable"), red(lint)).is_ok());
        assert!(judge(&fault(Catcher::Gate("tests"), "unused variable"), red(lint)).is_err());
    }

    #[test]
    fn every_gate_has_a_fault_and_every_gate_named_exists() {
        for gate in GATES {
            assert!(
                faults::all().any(|f| f.catcher == Catcher::Gate(gate.name)),
                "no fault for the gate {}",
                gate.name
            );
        }
        for fault in faults::all() {
            if let Catcher::Gate(name) = fault.catcher {
                assert!(Gate::find(name).is_some(), "{}: there is no gate {name}", fault.name);
                assert!(!fault.sign.is_empty(), "{}: say what the gate {name} must complain about", fault.name);
            }
        }
        let mut names: Vec<&str> = faults::all().map(|f| f.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|w| w[0] != w[1]), "two faults of one name");
    }

    #[test]
    fn every_fault_fits_the_tree() {
        let root = crate::root();
        for fault in faults::all() {
            for edit in fault.edits {
                // Later edits of a file are judged without the earlier ones: they must not depend on each other.
                match *edit {
                    Edit::Replace(file, find, with) => {
                        let count = std::fs::read_to_string(root.join(file)).unwrap_or_default().matches(find).count();
                        assert_eq!(count, 1, "`{}`: {file} has `{find}` {count} times; update the fault", fault.name);
                        assert_ne!(find, with, "`{}` plants nothing", fault.name);
                    }
                    Edit::Create(file, ..) => assert!(!root.join(file).exists(), "`{}`: {file} exists", fault.name),
                }
            }
        }
    }

    #[test]
    fn an_edit_that_finds_its_text_twice_or_not_at_all_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f"), "a b b").unwrap();
        let replace = |find| Edit::Replace("f", find, "x").apply(folder.path());
        assert!(replace("b").is_err() && replace("c").is_err());
        replace("a").unwrap();
        assert_eq!(std::fs::read(folder.path().join("f")).unwrap(), b"x b b");
        let create = Edit::Create("g", "y", 2);
        create.apply(folder.path()).unwrap();
        assert_eq!(std::fs::read(folder.path().join("g")).unwrap(), b"y\ny\n");
        assert!(create.apply(folder.path()).is_err());
    }
}
