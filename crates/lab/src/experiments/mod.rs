//! Claims that a procedure could refute, one file each.
//!
//! The text at the head of an experiment's file is its page for users: `twinpath falsify ID --explain` prints it. Each has
//! the published procedure, computed again bit for bit, and a sound form of the same question, measured on a model with
//! controls that show that it can say both yes and no.

mod a1_rope;
mod a2_softmax;
mod a3_block_scale;
mod a4_batch;
mod a5_real_weights;
mod a6_rmsnorm;
mod alarm;
mod compounding;
mod cumulative_layers;
mod decode;
mod decomposition;
pub(crate) mod kit;
mod mechanism;
mod order;
mod reproducible;

use std::sync::atomic::{AtomicU64, Ordering};
use twinpath_engine::Model;

use rayon::prelude::*;
use twinpath_evidence::experiment::{ExperimentRecord, Falsification, Findings};
use twinpath_evidence::published::{PublishedRecord, Reproduction};
use twinpath_evidence::{FileId, Provenance};
use twinpath_paths::simd::Isa;

use crate::LabError;
use kit::Bench;
use kit::runs::Runs;

/// A claim, and the procedures that could refute it.
pub struct Experiment {
    /// Its name on the command line.
    pub id: &'static str,
    /// The number of the published test, and upstream's own label.
    pub number: &'static str,
    source: &'static str,
    published: fn(Option<&Model>) -> PublishedRecord,
    sound: fn(&Bench<'_>) -> Findings,
    needs_runs: bool,
}

/// Every experiment, in the order of the published numbers.
pub const EXPERIMENTS: &[Experiment] = &[
    alarm::EXPERIMENT,
    reproducible::EXPERIMENT,
    order::EXPERIMENT,
    decode::EXPERIMENT,
    mechanism::EXPERIMENT,
    compounding::EXPERIMENT,
    a3_block_scale::EXPERIMENT,
    a2_softmax::EXPERIMENT,
    a1_rope::EXPERIMENT,
    a4_batch::EXPERIMENT,
    a5_real_weights::EXPERIMENT,
    a6_rmsnorm::EXPERIMENT,
    cumulative_layers::EXPERIMENT,
    decomposition::EXPERIMENT,
];

/// Headings of an experiment's page, in order.
pub const HEADINGS: &[&str] = &["Claim", "Why it matters", "Procedure", "Refuted if", "Control", "Blind spots"];

impl Experiment {
    /// The experiment with this id or published number, however it is capitalised.
    pub fn find(name: &str) -> Option<&'static Experiment> {
        let mut all = EXPERIMENTS.iter();
        all.find(|e| {
            e.id.eq_ignore_ascii_case(name) || e.number.split([' ', '/']).any(|n| n.eq_ignore_ascii_case(name))
        })
    }

    /// Whether it measures on runs of the model, not on its weights alone.
    pub fn needs_runs(&self) -> bool {
        self.needs_runs
    }

    /// Its page: the text at the head of its file.
    pub fn page(&self) -> String {
        let lines = self.source.lines().map_while(|line| line.strip_prefix("//!"));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned() + "\n").collect()
    }

    /// The text under one heading of its page.
    pub fn section(&self, heading: &str) -> String {
        let page = self.page();
        let body = page.lines().skip_while(|line| line.strip_prefix("# ") != Some(heading)).skip(1);
        let body = body.take_while(|line| !line.starts_with("# ")).collect::<Vec<_>>().join(" ");
        body.trim().to_owned()
    }
}

/// Computes every published figure of some experiments again. Figures of the published 7B model need that `model`.
pub fn reproduce(experiments: &[&Experiment], model: Option<&Model>) -> Reproduction {
    Reproduction::new(experiments.iter().map(|e| (e.published)(model)).collect())
}

/// What experiments are measured on.
pub struct Subject<'m> {
    /// The model.
    pub model: &'m Model,
    /// Token ids that both paths are run on, where an experiment needs runs.
    pub tokens: &'m [u32],
    /// The instruction set.
    pub isa: Isa,
}

/// Runs some experiments, all at once; their records come in the order given. `progress` is told of work done and to do.
///
/// # Errors
/// When the tokens do not fit the model.
pub fn falsify(
    experiments: &[&Experiment],
    subject: &Subject<'_>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Falsification, LabError> {
    let Subject { model, tokens, isa } = *subject;
    let needs_runs = experiments.iter().any(|e| e.needs_runs);
    let layers = if needs_runs { model.config().layers as u64 } else { 0 };
    let (done, total) = (AtomicU64::new(0), layers + experiments.len() as u64);
    let step = || progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
    // Before the experiments, not by the first that asks: a task that waits for another's result may be what that other
    // waits for.
    let runs = needs_runs.then(|| Runs::new(model, tokens, isa, &step)).transpose()?;
    let bench = Bench { model, isa, runs };
    let records: Vec<ExperimentRecord> = experiments
        .par_iter()
        .map(|e| {
            let published = (e.published)(Some(model)).phrase();
            let record = ExperimentRecord::new(e.id, &e.section("Claim"), (e.sound)(&bench), Some(published));
            step();
            record
        })
        .collect();
    let files = model.file().paths().into_iter().map(|path| FileId {
        path: path.display().to_string(),
        bytes: std::fs::metadata(path).map_or(0, |m| m.len()),
        blake3: None,
    });
    let provenance = Provenance {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cpu: isa.name().to_owned(),
        files: files.collect(),
    };
    let tokens = if needs_runs { tokens.to_vec() } else { Vec::new() };
    Ok(Falsification::new(provenance, tokens, records))
}
