//! Runs the fuzz targets of `fuzz/` through cargo-fuzz.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, ensure};
use twinpath_formats::convert::{Options, convert};

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
    println!("{} seeds from real files", seed(root)?);
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

/// Puts the repository's small model files into the corpora, where cargo-fuzz looks for them; answers how many.
fn seed(root: &Path) -> anyhow::Result<usize> {
    let corpus = |target: &str| -> anyhow::Result<PathBuf> {
        let folder = root.join("fuzz/corpus").join(target);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(folder)
    };
    let (gguf, apr, safetensors) = (corpus("gguf")?, corpus("apr")?, corpus("safetensors")?);
    let mut seeds = 0;
    for family in ["testdata/tokenizers", "testdata/tiny"] {
        for entry in fs::read_dir(root.join(family)).with_context(|| family.to_owned())? {
            let folder = entry?.path();
            let name = folder.file_name().unwrap_or_default();
            for model in ["vocab.gguf", "model.gguf"].map(|name| folder.join(name)).into_iter().filter(|p| p.is_file())
            {
                fs::copy(&model, gguf.join(name))?;
                convert(&model, &apr.join(name).with_extension("apr"), &Options::default(), &mut |_, _| ())?;
                seeds += 2;
            }
            let weights = folder.join("model.safetensors");
            if weights.is_file() {
                fs::copy(&weights, safetensors.join(name))?;
                seeds += 1;
            }
        }
    }
    ensure!(seeds > 0, "testdata/ has no model files");
    Ok(seeds)
}

/// `cargo fuzz`, with the sanitizer's unstable flag allowed on a stable compiler.
fn cargo_fuzz(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root).arg("fuzz").args(args).env("RUSTC_BOOTSTRAP", "1");
    command
}
