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

use twinpath_engine::Model;
use twinpath_evidence::published::{PublishedRecord, Reproduction};

/// A claim, and the procedures that could refute it.
pub struct Experiment {
    /// Its name on the command line.
    pub id: &'static str,
    /// The number of the published test, and upstream's own label.
    pub number: &'static str,
    source: &'static str,
    published: fn(Option<&Model>) -> PublishedRecord,
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
