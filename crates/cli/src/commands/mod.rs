//! One file per command.

pub(crate) mod bench;
#[cfg(feature = "candle")]
mod bench_candle;
mod compare;
pub(crate) mod contract;
mod convert;
pub(crate) mod diagnose;
pub(crate) mod explain;
mod falsify;
pub(crate) mod fix;
mod inspect;
mod list;
mod run;
mod trace;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;

use crate::args::{Args, Command};

/// Runs the command; the answer is the exit code.
pub(crate) fn dispatch(args: &Args) -> Result<u8> {
    if let Some(threads) = args.global.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads));
        pool.build_global().context("cannot start the threads")?;
    }
    match &args.command {
        Command::Inspect(command) => inspect::run(command, &args.global),
        Command::Run(command) => run::run(command, &args.global),
        Command::Trace(command) => trace::run(command, &args.global),
        Command::Compare(command) => compare::run(command, &args.global),
        Command::Explain(command) => explain::run(command, &args.global),
        Command::Fix(command) => fix::run(command, &args.global),
        Command::Diagnose(command) => diagnose::run(command, &args.global),
        Command::Contract(command) => contract::run(command, &args.global),
        Command::Bench(command) => bench::run(command, &args.global),
        Command::Falsify(command) => falsify::run(command, &args.global),
        Command::Convert(command) => convert::run(command, &args.global),
        Command::List(command) => list::run(command, &args.global),
        Command::Completions { shell } => {
            // clap_complete panics on a closed pipe, so the script is made in memory.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Args::command(), "twinpath", &mut script);
            print(|out| out.write_all(&script))
        }
    }
}

/// Writes to standard output; the exit code is 0.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<u8> {
    let mut out = BufWriter::new(io::stdout().lock());
    write(&mut out)?;
    out.flush()?;
    Ok(0)
}

/// Refuses an output that cannot be one before any work is done, and to replace a file unasked.
fn check_output(path: &Path, force: bool) -> Result<()> {
    let name = path.display();
    match path.metadata() {
        Ok(found) if found.is_dir() => bail!("{name}: is a folder; name a file to write"),
        Ok(found) if !found.is_file() => bail!("{name}: is no regular file; name a file to write"),
        Ok(_) if !force => bail!("{name}: exists; --force replaces it"),
        Ok(_) => return Ok(()),
        Err(_) => {}
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            bail!("{name}: there is no folder {}; make it first", folder.display())
        }
        _ => Ok(()),
    }
}
