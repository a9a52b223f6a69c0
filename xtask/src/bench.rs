//! Instructions of one decoding step, counted by valgrind: the same on a busy machine as on a quiet one, so a change can be
//! judged where seconds say nothing. Valgrind knows AVX2 and nothing wider.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::check::cargo;
use crate::command;

/// What is counted: each path on each instruction set.
const PATHS: [&str; 3] = ["standalone", "fused-q8k", "fused-q8x32"];
const ISAS: [&str; 2] = ["portable", "avx2"];
/// Steps of the shorter and of the longer run; a step is a difference, so that loading and the prompt cancel.
const STEPS: [u64; 2] = [1, 5];
/// The bundled model, and where the record lies.
const MODEL: &str = "zoo/teacher-q4_k_m.gguf";
const RECORD: &str = "benches/record/instructions.txt";
/// One run under valgrind.
const LIMIT: Duration = Duration::from_secs(1200);

/// Counts, prints the counts beside the recorded ones, and with `record` replaces the record.
///
/// # Errors
/// When the counted program cannot be built or run.
pub(crate) fn bench(root: &Path, record: bool) -> anyhow::Result<ExitCode> {
    if !command::run(Command::new("valgrind").arg("--version"), LIMIT).is_ok_and(|ended| ended.success) {
        eprintln!("skipped: valgrind is not installed");
        return Ok(ExitCode::from(crate::SKIPPED));
    }
    let build = ["build", "--release", "--workspace", "--example", "decode_steps"];
    let ended = command::run(cargo(root, None).args(build), LIMIT)?;
    ensure!(ended.success, "{}", ended.output);
    let recorded = std::fs::read_to_string(root.join(RECORD)).unwrap_or_default();
    let mut text = heading(root)?;
    for path in PATHS {
        for isa in ISAS {
            let count = step(root, path, isa)?;
            let line = format!("{path:12} {isa:9} {count:>12}");
            println!("{line}{}", beside(&recorded, path, isa, count));
            writeln!(text, "{line}")?;
        }
    }
    if record {
        write(&root.join(RECORD), &text)?;
        println!("{RECORD}: written");
    }
    Ok(ExitCode::SUCCESS)
}

/// What the counts depend on.
fn heading(root: &Path) -> anyhow::Result<String> {
    let version = |program: &str| -> anyhow::Result<String> {
        let ended = command::run(Command::new(program).arg("--version").current_dir(root), LIMIT)?;
        Ok(ended.output.lines().next().unwrap_or_default().to_owned())
    };
    Ok(format!(
        "# Instructions of one decoding step of {MODEL} on one thread: `cargo xtask bench --record`.\n# {}, {}\n",
        version("rustc")?,
        version("valgrind")?
    ))
}

/// Instructions of one step.
fn step(root: &Path, path: &str, isa: &str) -> anyhow::Result<u64> {
    let [short, long] = STEPS;
    let (first, second) = (count(root, path, isa, short)?, count(root, path, isa, long)?);
    let all = second.checked_sub(first).context("more steps took fewer instructions")?;
    Ok(all / (long - short))
}

/// Instructions of a whole run.
fn count(root: &Path, path: &str, isa: &str, steps: u64) -> anyhow::Result<u64> {
    let program = root.join("target/release/examples/decode_steps");
    let mut valgrind = Command::new("valgrind");
    valgrind.current_dir(root).args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(program).args([MODEL, path, isa, &steps.to_string()]);
    let ended = command::run(&mut valgrind, LIMIT)?;
    ensure!(ended.success, "{path} on {isa} under valgrind:\n{}", ended.output);
    collected(&ended.output).with_context(|| format!("valgrind names no count:\n{}", ended.output))
}

/// The count in callgrind's last lines, `==1== Collected : 123`.
fn collected(output: &str) -> Option<u64> {
    output.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}

/// `  0.982 x the recorded count`.
fn beside(recorded: &str, path: &str, isa: &str, count: u64) -> String {
    let of = |line: &str| -> Option<u64> {
        let mut words = line.split_whitespace();
        (words.next() == Some(path) && words.next() == Some(isa)).then(|| words.next()?.parse().ok())?
    };
    match recorded.lines().find_map(of) {
        Some(old) => format!("  {:.4} x the recorded count", count as f64 / old as f64),
        None => "  not recorded yet".to_owned(),
    }
}

/// Replaces the record whole or not at all.
fn write(target: &Path, text: &str) -> anyhow::Result<()> {
    let folder = target.parent().context("the record lies in a folder")?;
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    file.persist(target)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_valgrinds_words() {
        let output = "==1== Events    : Ir\n==1== Collected : 123456\n==1== I   refs:      123,456\n";
        assert_eq!((collected(output), collected("==1== killed")), (Some(123_456), None));
    }

    #[test]
    fn a_count_is_told_beside_that_of_its_own_line() {
        let recorded = "# a heading\nfused-q8k    portable  100\nfused-q8k    avx2      50\n";
        assert_eq!(beside(recorded, "fused-q8k", "avx2", 55), "  1.1000 x the recorded count");
        assert_eq!(beside(recorded, "standalone", "avx2", 55), "  not recorded yet");
    }
}
