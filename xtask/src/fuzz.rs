//! Runs the fuzz targets of `fuzz/` through cargo-fuzz.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::ensure;

use crate::{SKIPPED, command};

/// Time beyond that of the fuzzing itself: building with the sanitizer.
const BUILD: Duration = Duration::from_secs(1200);

/// Runs each target for `seconds`. Exit code 1 if one found something, 3 if nothing was run.
///
/// # Errors
/// When a command cannot be started, or there is no target.
pub(crate) fn fuzz(root: &Path, seconds: u32) -> anyhow::Result<ExitCode> {
    let skipped = |reason: &str| {
        println!("SKIPPED  {reason}\n0 passed, 0 failed: nothing was fuzzed");
        Ok(ExitCode::from(SKIPPED))
    };
    if !root.join("fuzz/Cargo.toml").is_file() {
        return skipped("there is no folder fuzz/");
    }
    if !command::run(&mut cargo_fuzz(root, &["--version"]), BUILD)?.success {
        return skipped("cargo-fuzz is not installed: `cargo install cargo-fuzz`");
    }
    let list = command::run(&mut cargo_fuzz(root, &["list"]), BUILD)?;
    ensure!(list.success, "cargo fuzz list: {}", list.output);
    let targets: Vec<&str> = list.output.split_whitespace().collect();
    ensure!(!targets.is_empty(), "fuzz/ has no targets");
    let (mut passed, mut failed) = (0, 0);
    for target in targets {
        let built = command::run(&mut cargo_fuzz(root, &["build", target]), BUILD)?;
        if !built.success {
            println!("{}", built.output);
            return skipped("the fuzz targets cannot be built with this toolchain (see above)");
        }
        let time = format!("-max_total_time={seconds}");
        let limit = BUILD + Duration::from_secs(u64::from(seconds));
        let ended = command::run(&mut cargo_fuzz(root, &["run", target, "--", &time]), limit)?;
        let done = ended.output.lines().rev().find(|line| line.starts_with("Done ")).unwrap_or("");
        // A run that ends without saying how many inputs it tried has tried none that we know of.
        if ended.success && !done.is_empty() {
            passed += 1;
            println!("passed   {target:16} {done}");
        } else {
            failed += 1;
            println!("FAILED   {target}\n{}", ended.output);
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `cargo fuzz`, with the sanitizer's unstable flag allowed on a stable compiler.
fn cargo_fuzz(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root).arg("fuzz").args(args).env("RUSTC_BOOTSTRAP", "1");
    command
}
