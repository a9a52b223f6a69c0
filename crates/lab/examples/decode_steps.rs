//! Some decoding steps of a model on one thread, for counting instructions: everything that could differ from run to run
//! (threads, clocks, hash maps of a tokenizer) is left out. `cargo xtask bench` runs it under valgrind.
//!
//! `decode_steps MODEL PATH ISA STEPS`

use std::process::ExitCode;

use twinpath_engine::{Model, NoProbe, Rows, Session};
use twinpath_formats::Verify;
use twinpath_paths::PATHS;
use twinpath_paths::simd::Isa;

/// Positions before the first step.
const PAST: u32 = 8;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Some(()) => ExitCode::SUCCESS,
        None => ExitCode::from(2),
    }
}

fn run(args: &[String]) -> Option<()> {
    let [file, path, isa, steps] = args else { return None };
    // The calling thread is the pool: nothing is handed to another, and nobody waits.
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().ok()?;
    let model = Model::open(file.as_ref(), Verify::Header).ok()?;
    let isa = Isa::all_available().into_iter().find(|have| have.name() == isa)?;
    let path = (PATHS.iter().find(|entry| entry.name == path)?.new)(isa);
    let mut session = Session::new(&model, path.as_ref());
    let prompt: Vec<u32> = (1..=PAST).collect();
    session.forward(&prompt, Rows::Last, &mut NoProbe).ok()?;
    for step in 0..steps.parse().ok()? {
        std::hint::black_box(session.forward(&[step + 1], Rows::Last, &mut NoProbe).ok()?);
    }
    Some(())
}
