//! Project chores. `cargo xtask check` runs every gate, `cargo xtask prove` shows that each gate can fail,
//! `cargo xtask gen-model` writes random weights of a real model's sizes, `cargo xtask bench` counts instructions, and
//! `cargo xtask fuzz` runs the fuzz targets.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command for people at a terminal")]

mod bench;
mod check;
mod command;
mod fuzz;
mod gen_model;
mod prove;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Project chores.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Runs every gate: what must hold before a change is merged.
    Check {
        /// Runs this gate only.
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
    },
    /// Plants each known fault in a copy of the tree and requires that its check goes red for the right reason.
    Prove {
        /// Plants only the faults whose name or catcher contains this text.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// Counts the instructions of one decoding step, beside the recorded counts. Exit code 3: skipped, without valgrind.
    Bench {
        /// Replaces the recorded counts.
        #[arg(long)]
        record: bool,
    },
    /// Writes a GGUF file of random weights with the sizes and block types of a real model.
    GenModel(gen_model::GenModel),
    /// Plants known mistakes in small models and counts what finds them; writes benches/record/faults.json and the table of
    /// the README.
    Faults {
        /// A few faults only; nothing is written.
        #[arg(long)]
        quick: bool,
        /// What the sampling begins with.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Runs each fuzz target for a while. Exit code 3: skipped, because a tool is missing.
    Fuzz {
        /// Seconds for each target.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
}

fn main() -> ExitCode {
    match run(Args::parse().chore) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(USAGE)
        }
    }
}

fn run(chore: Chore) -> anyhow::Result<ExitCode> {
    let root = root();
    match chore {
        Chore::Check { only } => check::check(&root, only.as_deref()),
        Chore::Prove { only } => prove::prove(&root, only.as_deref()),
        Chore::Bench { record } => bench::bench(&root, record),
        Chore::GenModel(what) => gen_model::run(&root, &what).map(|()| ExitCode::SUCCESS),
        Chore::Faults { quick, seed } => faults(&root, quick, seed),
        Chore::Fuzz { seconds } => fuzz::fuzz(&root, seconds),
    }
}

/// The benchmark is an example of `lab`, so that xtask needs none of it.
fn faults(root: &Path, quick: bool, seed: u64) -> anyhow::Result<ExitCode> {
    let mut cargo = std::process::Command::new("cargo");
    cargo.current_dir(root).args(["run", "--release", "-q", "-p", "twinpath-lab", "--example", "faults", "--"]);
    cargo.args(["--seed", &seed.to_string()]);
    match quick {
        true => cargo.arg("--quick"),
        false => cargo.args(["--out", "benches/record/faults.json", "--readme", "README.md"]),
    };
    Ok(if cargo.status()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The chore could not be done.
const USAGE: u8 = 2;
/// Something could not be checked; distinct from both success and failure.
const SKIPPED: u8 = 3;

/// The root of the repository that this binary was built from.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the repository").to_owned()
}
