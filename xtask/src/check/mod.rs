//! The gates: what must hold before a change is merged. One line in [`GATES`] each, and at least one fault in
//! [`faults`](crate::prove::faults) that it must catch.

mod edges;
mod lists;
mod size;
mod words;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::command;

/// One gate.
pub(crate) struct Gate {
    /// The name for `--only`.
    pub(crate) name: &'static str,
    /// What it checks.
    checks: &'static str,
    how: How,
}

/// How a gate finds out.
enum How {
    /// `cargo` with these arguments and environment.
    Cargo { args: &'static [&'static str], env: &'static [(&'static str, &'static str)] },
    /// A function of the repository's root that returns what is wrong.
    Own(fn(&Path) -> anyhow::Result<Vec<String>>),
}

/// Every gate, the quick ones first.
pub(crate) const GATES: &[Gate] = &[
    Gate {
        name: "fmt",
        checks: "rustfmt would change nothing",
        how: How::Cargo { args: &["fmt", "--all", "--check"], env: &[] },
    },
    Gate { name: "edges", checks: "crates depend on each other as ARCHITECTURE.md says", how: How::Own(edges::check) },
    Gate { name: "lists", checks: "every file of a folder of things is in its list", how: How::Own(lists::check) },
    Gate { name: "size", checks: "no source file is longer than its budget", how: How::Own(size::check) },
    Gate { name: "words", checks: "no text names a path of somebody's machine", how: How::Own(words::check) },
    Gate {
        name: "clippy",
        checks: "no warning in any target",
        how: How::Cargo { args: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], env: &[] },
    },
    Gate {
        name: "rustdoc",
        checks: "the documentation builds and its links lead somewhere",
        how: How::Cargo { args: &["doc", "--workspace", "--no-deps"], env: &[("RUSTDOCFLAGS", "-D warnings")] },
    },
    Gate {
        name: "tests",
        checks: "every test of the workspace passes",
        how: How::Cargo { args: &["test", "--profile", "quick", "--workspace", "--no-fail-fast"], env: &[] },
    },
];

/// What a gate says.
pub(crate) enum Outcome {
    /// It looked, and all is well.
    Passed,
    /// What is wrong.
    Failed(String),
    /// It could not look, and why.
    Skipped(String),
}

/// No gate takes longer on any machine worth waiting for.
const LIMIT: Duration = Duration::from_secs(3600);

impl Gate {
    /// The gate of this name.
    pub(crate) fn find(name: &str) -> Option<&'static Gate> {
        GATES.iter().find(|gate| gate.name == name)
    }

    /// Judges the tree under `root`; cargo builds into `target`, or where it always does.
    ///
    /// # Errors
    /// When it cannot be run, which says nothing about the tree.
    pub(crate) fn run(&self, root: &Path, target: Option<&Path>) -> anyhow::Result<Outcome> {
        match self.how {
            How::Own(judge) => {
                let wrong = judge(root)?;
                Ok(if wrong.is_empty() { Outcome::Passed } else { Outcome::Failed(wrong.join("\n")) })
            }
            How::Cargo { args, env } => {
                // `-h`, because the built-in commands know no `--version`.
                let help = command::run(cargo(root, target).args([args[0], "-h"]), LIMIT)?;
                if !help.success {
                    return Ok(Outcome::Skipped(format!("`cargo {}` is not installed", args[0])));
                }
                let ended = command::run(cargo(root, target).args(args).envs(env.iter().copied()), LIMIT)?;
                Ok(if ended.success { Outcome::Passed } else { Outcome::Failed(ended.output) })
            }
        }
    }
}

/// `cargo`, to be run at `root` and to build into `target`.
pub(crate) fn cargo(root: &Path, target: Option<&Path>) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root).env("CARGO_TERM_COLOR", "never");
    if let Some(target) = target {
        command.env("CARGO_TARGET_DIR", target);
    }
    command
}

/// Runs the gates and prints a line for each. Exit code 1 if one failed, 3 if none did but one was skipped.
///
/// # Errors
/// When there is no gate of the name `only`, or one cannot be run.
pub(crate) fn check(root: &Path, only: Option<&str>) -> anyhow::Result<ExitCode> {
    let chosen: Vec<&Gate> = GATES.iter().filter(|gate| only.is_none_or(|name| gate.name == name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = GATES.iter().map(|gate| gate.name).collect();
        bail!("there is no gate {:?}; there are {}", only.unwrap_or_default(), names.join(", "));
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for gate in &chosen {
        let start = Instant::now();
        let outcome = gate.run(root, None)?;
        let (word, details) = match outcome {
            Outcome::Passed => ("passed", None),
            Outcome::Failed(output) => ("FAILED", Some(output)),
            Outcome::Skipped(reason) => ("SKIPPED", Some(reason)),
        };
        match word {
            "passed" => passed += 1,
            "FAILED" => failed += 1,
            _ => skipped += 1,
        }
        println!("{word:7} {:8} {:7.1} s  {}", gate.name, start.elapsed().as_secs_f64(), gate.checks);
        if let Some(details) = details {
            println!("{}\n", details.trim_end());
        }
    }
    let rest = GATES.len() - chosen.len();
    let rest = if rest == 0 { String::new() } else { format!(", {rest} not asked for") };
    println!("{passed} passed, {failed} failed, {skipped} skipped{rest}");
    Ok(match (failed, skipped) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(crate::SKIPPED),
        _ => ExitCode::FAILURE,
    })
}
