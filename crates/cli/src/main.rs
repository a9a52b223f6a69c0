//! `twinpath`: where two inference paths over the same weights part.

mod args;
mod choices;
mod commands;
mod input;
mod progress;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use twinpath_paths::memory::OnLines;

#[global_allocator]
static ALLOCATOR: OnLines = OnLines;

/// Exit code of a usage or input error.
const USAGE_ERROR: u8 = 2;

fn main() -> ExitCode {
    let args = args::Args::parse();
    twinpath_paths::memory::keep_freed();
    match commands::dispatch(&args) {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            progress::note(&format!("error: {}", message(&error)));
            ExitCode::from(USAGE_ERROR)
        }
    }
}

/// The error and its causes on one line. Most errors tell their cause themselves; what is already there is not repeated.
fn message(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |line, cause| {
        let cause = cause.to_string();
        if line.contains(&cause) { line } else { format!("{line}: {cause}") }
    })
}

/// A reader that closed its end has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io_error = |e: &(dyn std::error::Error + 'static)| e.downcast_ref::<io::Error>().map(io::Error::kind);
    error.chain().any(|e| io_error(e) == Some(io::ErrorKind::BrokenPipe))
}
