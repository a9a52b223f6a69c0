//! The layer table of a run, without keeping the run.

use std::collections::BTreeMap;

use twinpath_engine::{Elem, Mask, Model, Numerics, Op, Point, Probe, Site, Tensor};
use twinpath_evidence::{Scope, StatsSum, Values as Covered};
use twinpath_paths::simd::{Isa, Kernel};
use twinpath_paths::team;

use super::{TraceRecord, TracedSite, write};
use crate::Progress;
use crate::error::LabError;
use crate::party::{Party, Source};
use crate::side::{Activation, Arithmetic, ModelSide, Values, stages, weights};

/// Runs all `tokens` and sums the values of each site as soon as they are made. The numbers are those of a recording of all
/// positions; nothing is written or kept, and with `hash` false the model's files are not hashed.
///
/// # Errors
/// When the tokens do not fit the model, or `party` is a recording.
pub fn statistics(
    party: &Party<'_>,
    tokens: &[u32],
    hash: bool,
    progress: Progress<'_>,
) -> Result<TraceRecord, LabError> {
    let (model, arithmetic) = match party.source {
        Source::Model(model, arithmetic) => (model, arithmetic),
        Source::Trace(trace) => {
            let why = "is a recording, whose statistics are in it: give a model".to_owned();
            return Err(LabError::BadTrace { file: trace.path().to_owned(), why });
        }
    };
    model.check_tokens(tokens, 0)?;
    let header = write::header(party, model, tokens, &(0..tokens.len()), hash)?;
    let mut table = Table { heads: model.config().heads, first_row: 0, sums: BTreeMap::new() };
    match arithmetic {
        Arithmetic::Oracle(oracle) => table.watch(model, oracle, tokens, progress)?,
        Arithmetic::Path(path) => table.watch(model, path.as_ref(), tokens, progress)?,
    }
    let site = |(site, sum): (&Site, &Sum)| {
        let values = if sum.masked { Covered::AdmittedKeys } else { Covered::All };
        let scope = Scope { site: site.to_string(), positions: header.positions, values };
        TracedSite { site: site.to_string(), weights: sum.weights.map(str::to_owned), stats: sum.stats.finish(scope) }
    };
    let sites = table.sums.iter().map(site).collect();
    Ok(TraceRecord::new(header, sites, Vec::new()))
}

/// One site so far.
#[derive(Default)]
struct Sum {
    weights: Option<&'static str>,
    masked: bool,
    stats: StatsSum,
}

/// All sites so far.
struct Table {
    heads: usize,
    first_row: usize,
    sums: BTreeMap<Site, Sum>,
}

impl Table {
    fn watch<N: Numerics + ?Sized>(
        &mut self,
        model: &Model,
        numerics: &N,
        tokens: &[u32],
        progress: Progress<'_>,
    ) -> Result<(), LabError>
    where
        Values: From<Tensor<N::Elem>>,
        N::Elem: Activation,
    {
        let mut side = ModelSide::new(model, numerics, tokens);
        let stages = stages(model.config().layers, tokens.len());
        for (done, stage) in stages.iter().enumerate() {
            progress(done as u64, stages.len() as u64);
            self.first_row = stage.first_row();
            side.run(stage, self)?;
        }
        progress(stages.len() as u64, stages.len() as u64);
        Ok(())
    }

    /// Adds all rows of `values`, in their order.
    fn add<E: Elem>(&mut self, site: Site, op: &Op<'_>, values: &Tensor<E>, mask: Option<Mask>) {
        let sum = self.sums.entry(site).or_default();
        (sum.weights, sum.masked) = (weights(op), mask.is_some());
        let (heads, isa, first) = (self.heads, Isa::detect(), self.first_row);
        let of_row = |t: usize| {
            let row = Row { values: values.row(t), heads, mask, position: first + t };
            isa.run(row)
        };
        team::map(values.rows(), of_row).iter().for_each(|row| sum.stats.merge(row));
    }
}

impl<E: Elem> Probe<E> for Table {
    fn see(&mut self, site: Site, op: &Op<'_>, inputs: &[&Tensor<E>], value: &mut Tensor<E>) {
        match (op, site.layer) {
            // Which keys count is known at the softmax, which reads the scores.
            (Op::Scores { .. }, _) => {}
            (Op::Softmax { mask, .. }, Some(layer)) => {
                self.add(Site::block(layer, Point::AttnScores), op, inputs[0], Some(*mask));
                self.add(site, op, value, Some(*mask));
            }
            _ => self.add(site, op, value, None),
        }
    }
}

/// One position, summed in the instruction set that it is run on.
struct Row<'v, E> {
    values: &'v [E],
    heads: usize,
    mask: Option<Mask>,
    position: usize,
}

impl<E: Elem> Kernel for Row<'_, E> {
    type Output = StatsSum;
    #[inline(always)]
    fn run(self) -> StatsSum {
        let Some(mask) = self.mask else { return StatsSum::of(self.values) };
        let keys = mask.keys(self.position - mask.start);
        let mut row = Vec::with_capacity(self.heads * keys.len());
        for head in self.values.chunks_exact((self.values.len() / self.heads).max(1)) {
            row.extend_from_slice(&head[keys.clone()]);
        }
        StatsSum::of(&row)
    }
}
