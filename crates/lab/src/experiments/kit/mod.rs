//! What the experiments share: the published fixtures, and the means of measuring on a model.

pub(crate) mod fixture;
pub(crate) mod runs;
pub(crate) mod stats;
pub(crate) mod teacher;
pub(crate) mod weights;

use twinpath_engine::Model;
use twinpath_paths::simd::Isa;
use twinpath_paths::{FusedQ8k, Standalone};

use runs::Runs;

/// What an experiment measures on.
pub(crate) struct Bench<'m> {
    /// The model.
    pub(crate) model: &'m Model,
    /// The instruction set.
    pub(crate) isa: Isa,
    /// Both paths' runs, if an experiment that was asked for needs them.
    pub(crate) runs: Option<Runs>,
}

impl Bench<'_> {
    /// Path A.
    pub(crate) fn a(&self) -> Standalone {
        Standalone::with_isa(self.isa)
    }

    /// Path B.
    pub(crate) fn b(&self) -> FusedQ8k {
        FusedQ8k::with_isa(self.isa)
    }

    /// The layer that single-layer experiments look at: 3, as published, or the middle one of shorter models.
    pub(crate) fn layer(&self) -> usize {
        3.min(self.model.config().layers / 2)
    }
}
