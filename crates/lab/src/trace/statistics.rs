//! The layer table of a run, without keeping the run.

use std::collections::BTreeMap;

use rayon::prelude::*;
use twinpath_engine::{Model, Site};
use twinpath_evidence::{Scope, StatsSum, Values as Covered};

use super::{TraceRecord, TracedSite, write};
use crate::Progress;
use crate::error::LabError;
use crate::party::Party;
use crate::side::{Cells, Recorded, stages};

/// One site so far.
#[derive(Default)]
struct Sum {
    weights: Option<&'static str>,
    masked: bool,
    stats: StatsSum,
}

/// Runs all `tokens` and sums the values of each site while its stage is at hand. The numbers are those of a recording of all
/// positions; nothing is written, and with `hash` false the model's files are not hashed.
///
/// # Errors
/// When the tokens do not fit the model.
pub fn statistics(
    party: &Party<'_>,
    model: &Model,
    tokens: &[u32],
    hash: bool,
    progress: Progress<'_>,
) -> Result<TraceRecord, LabError> {
    model.check_tokens(tokens, 0)?;
    let header = write::header(party, model, tokens, &(0..tokens.len()), hash)?;
    let heads = model.config().heads;
    let mut side = party.side(tokens, None);
    let mut sums: BTreeMap<Site, Sum> = BTreeMap::new();
    let stages = stages(model.config().layers, tokens.len());
    for (done, stage) in stages.iter().enumerate() {
        progress(done as u64, stages.len() as u64);
        let recorded = side.stage(stage)?;
        let before: Vec<Sum> = recorded.iter().map(|r| sums.remove(&r.site).unwrap_or_default()).collect();
        let after: Vec<(Site, Sum)> =
            recorded.par_iter().zip(before).map(|(r, sum)| (r.site, add(r, heads, sum))).collect();
        sums.extend(after);
    }
    progress(stages.len() as u64, stages.len() as u64);
    let site = |(site, sum): (&Site, &Sum)| {
        let values = if sum.masked { Covered::AdmittedKeys } else { Covered::All };
        let scope = Scope { site: site.to_string(), positions: header.positions, values };
        TracedSite { site: site.to_string(), weights: sum.weights.map(str::to_owned), stats: sum.stats.finish(scope) }
    };
    let sites = sums.iter().map(site).collect();
    Ok(TraceRecord::new(header, sites, Vec::new()))
}

/// `sum` with all rows of `recorded`.
fn add(recorded: &Recorded, heads: usize, mut sum: Sum) -> Sum {
    (sum.weights, sum.masked) = (recorded.weights, recorded.mask.is_some());
    let mut row = Vec::new();
    for t in 0..recorded.values.shape().0 {
        Cells::of(recorded, heads, recorded.first_row + t).read(recorded, t, &mut row);
        sum.stats.add(&row);
    }
    sum
}
