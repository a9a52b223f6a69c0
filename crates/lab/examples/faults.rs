//! Runs the fault benchmark: `cargo xtask faults`.
//!
//! Writes the record as JSON, and the table made of it between two marks of a Markdown file.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command for people at a terminal")]

use std::error::Error;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use twinpath_evidence::fault_bench::FaultBench;
use twinpath_formats::atomic::{write_atomically, write_error};

const BEGIN: &str = "<!-- faults: made by `cargo xtask faults` -->";
const END: &str = "<!-- end of faults -->";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut options = Options { quick: false, seed: 1, out: None, readme: None };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--quick" => options.quick = true,
            "--seed" => options.seed = value()?.parse()?,
            "--out" => options.out = Some(value()?.into()),
            "--readme" => options.readme = Some(value()?.into()),
            _ => return Err(format!("unknown argument {arg}; there are --quick, --seed, --out, --readme").into()),
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let scratch = tempfile::tempdir()?;
    let show = std::io::stderr().is_terminal();
    let record = twinpath_lab::faults::bench(&root, scratch.path(), options.seed, options.quick, &mut |done, all| {
        if show {
            eprint!("\rfaults: {:3} % ", 100 * done / all.max(1));
        }
    })?;
    println!("{}", twinpath_report::fault_bench(&record));
    print_classes(&record);
    if let Some(out) = &options.out {
        let mut text = serde_json::to_string_pretty(&record)?;
        text.push('\n');
        write_atomically(out, |file| file.write_all(text.as_bytes()).map_err(|e| write_error(out, e)))?;
    }
    if let Some(readme) = &options.readme {
        let text = std::fs::read_to_string(readme)?;
        let (before, rest) = text.split_once(BEGIN).ok_or("the file has no mark where the table begins")?;
        let (_, after) = rest.split_once(END).ok_or("the file has no mark where the table ends")?;
        let text = format!("{before}{BEGIN}\n\n{}\n{END}{after}", twinpath_report::fault_bench(&record));
        write_atomically(readme, |file| file.write_all(text.as_bytes()).map_err(|e| write_error(readme, e)))?;
    }
    Ok(())
}

struct Options {
    quick: bool,
    seed: u64,
    out: Option<PathBuf>,
    readme: Option<PathBuf>,
}

fn print_classes(record: &FaultBench) {
    for c in &record.classes {
        let of = |r: twinpath_evidence::fault_bench::Rate| format!("{}/{}", r.hits, r.of);
        println!(
            "{:50} planted {:3}  detected {:>7}  exact {:>7}  named {:>7}",
            c.class,
            c.planted,
            of(c.detected),
            of(c.exact),
            of(c.named)
        );
        c.misses.iter().for_each(|miss| println!("    {miss}"));
    }
    for c in &record.controls {
        println!("{:60} {:4} runs, {} of {} sites blamed", c.control, c.runs, c.blamed.hits, c.blamed.of);
    }
    println!("below the limit: {:?}", record.below);
}
