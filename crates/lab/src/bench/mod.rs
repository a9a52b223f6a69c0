//! How fast it is, and how fast the machine would allow it to be: one file per measure.

mod blocks;
mod decode;
mod gemm;
mod gemv;
mod kit;
mod load;
mod lockstep;
mod machine;
mod memory;
mod prefill;
mod race;
mod system;
mod threads;
mod trace;

use std::path::Path;

use twinpath_engine::Model;
use twinpath_evidence::Provenance;
use twinpath_evidence::bench::{Bench, Load, SCHEMA, Warning};
use twinpath_formats::Matrix;
use twinpath_paths::simd::Isa;

use crate::error::LabError;
use crate::party::{Party, Source};
use crate::side::Arithmetic;
pub use kit::Threads;
pub use race::Pace;
use race::Race;
pub(crate) use system::available;

/// One line of [`MEASURES`].
pub struct Measure {
    /// The name for `--only`.
    pub name: &'static str,
    /// What it measures.
    pub about: &'static str,
    run: fn(&Subject<'_>, &mut Log<'_>) -> Result<(), LabError>,
}

/// Every measure, in the order of measuring. The first reads how much memory a run took, so nothing goes before it.
pub const MEASURES: &[Measure] = &[
    memory::MEASURE,
    load::MEASURE,
    machine::MEASURE,
    gemv::MEASURE,
    gemm::MEASURE,
    blocks::MEASURE,
    decode::MEASURE,
    prefill::MEASURE,
    threads::MEASURE,
    trace::MEASURE,
    lockstep::MEASURE,
];

/// What is measured.
pub struct Subject<'m> {
    /// The model.
    pub model: &'m Model,
    /// The paths along which to run it: at least one, each a member of `PATHS`.
    pub paths: &'m [Arithmetic],
    /// The fused ones of them without copies of weights, where those above have some.
    pub mapped: &'m [Arithmetic],
    /// Where weights are read.
    pub load: Load,
    /// Other engines, for single matrices.
    pub peers: &'m [&'m dyn Peer],
    /// Instruction set.
    pub isa: Isa,
    /// Threads to run on.
    pub threads: Threads,
    /// How long to measure.
    pub pace: Pace,
    /// The command, for the record.
    pub command: String,
}

/// Another engine's product of one matrix with some positions.
pub trait Peer: Sync {
    /// Its name in the record.
    fn name(&self) -> &'static str;
    /// Threads that it runs on; it takes part where ours are as many.
    fn threads(&self) -> usize;
    /// Makes its own copy of the weights; `None` where it has no such product. The product takes `[positions, cols]`.
    fn prepare(&self, weights: Matrix<'_>) -> Option<Box<dyn Product>>;
}

/// Weights as another engine holds them.
pub trait Product: Send {
    /// `x Wᵀ` for `x` `[positions, cols]`; what comes out is dropped.
    ///
    /// # Errors
    /// Why it refuses.
    fn multiply(&mut self, positions: usize, x: &[f32]) -> Result<(), String>;
}

/// What has been measured so far.
struct Log<'p> {
    record: Bench,
    pace: Pace,
    /// Measures done, and of how many.
    done: (u64, u64),
    progress: &'p mut dyn FnMut(&str, u64, u64),
}

impl Log<'_> {
    /// Runs a race and keeps what came of it.
    fn race(&mut self, race: Race<'_>) -> Result<(), LabError> {
        (self.progress)(&format!("{} {}", race.measure, race.name), self.done.0, self.done.1);
        let group = race.run(self.pace, &mut self.record.warnings)?;
        self.record.groups.push(group);
        Ok(())
    }

    fn left_out(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.record.warnings.push(Warning::LeftOut { what: what.into(), why: why.into() });
    }
}

/// Runs the chosen measures. `progress` hears what is being measured, and how many measures are done of how many.
///
/// # Errors
/// When the model cannot run, or memory or threads are short.
pub fn bench(
    subject: &Subject<'_>,
    chosen: &[&Measure],
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Bench, LabError> {
    let mut warnings = Vec::new();
    let machine = system::machine(&mut warnings);
    let record = Bench {
        schema: SCHEMA,
        provenance: provenance(subject)?,
        machine,
        command: subject.command.clone(),
        load: Some(subject.load),
        groups: Vec::new(),
        memory: None,
        warnings,
    };
    let mut log = Log { record, pace: subject.pace, done: (0, chosen.len() as u64), progress };
    for measure in chosen {
        (log.progress)(measure.name, log.done.0, log.done.1);
        (measure.run)(subject, &mut log)?;
        log.done.0 += 1;
    }
    Ok(log.record)
}

/// What made the record; files by their names alone, because a record is shown to others.
fn provenance(subject: &Subject<'_>) -> Result<Provenance, LabError> {
    let path = &subject.paths[0];
    let party = Party { label: String::new(), source: Source::Model(subject.model, path) };
    let mut provenance = crate::compare::provenance(&[&party], false)?;
    for file in &mut provenance.files {
        file.path = Path::new(&file.path).file_name().map_or(String::new(), |n| n.to_string_lossy().into_owned());
    }
    let mut kernels: Vec<String> = subject.paths.iter().map(Arithmetic::kernels).collect();
    kernels.dedup();
    provenance.cpu = format!("{} [{}]", provenance.cpu, kernels.join("; "));
    Ok(provenance)
}
