//! Wild-sign replicates: what would the drift be if rounding were all there is?
//!
//! A replicate runs path A's arithmetic, but adds to each input of a quantised linear op the very error that path B's
//! rounding makes there, with a random sign for each element (a wild bootstrap of the rounding). The size of each error is
//! the real one, so massive values, sparse inputs and dead zones need no model. Matrices that read one input share its
//! signs. The observed drift of B is then ranked among the replicates' drifts.

use std::collections::BTreeMap;

use twinpath_engine::rng::SplitMix64;
use twinpath_engine::{Model, Numerics, Op, Point, Site, Tensor};
use twinpath_evidence::{DriftSum, NullTest};
use twinpath_paths::simd::Isa;
use twinpath_paths::{Standalone, fused_q8k, standalone};

use crate::Progress;
use crate::compare::different_weights;
use crate::error::LabError;
use crate::party::Party;
use crate::side::{ModelSide, Recorded, Side, stages};

/// [`null_test`] for the sides of a comparison.
///
/// # Errors
/// As [`null_test`]; also when the sides are not `standalone` and `fused-q8k` on one set of weights.
pub fn null_of(
    a: &Party<'_>,
    b: &Party<'_>,
    tokens: &[u32],
    replicates: usize,
    seed: u64,
    progress: Progress<'_>,
) -> Result<Option<NullTest>, LabError> {
    let pair = || LabError::NullPair { a: a.label.clone(), b: b.label.clone() };
    let (Some(model), Some(other)) = (a.model(), b.model()) else { return Err(pair()) };
    let paths = [a.info().path, b.info().path];
    let one_shape = model.config().difference(other.config()).is_none();
    if paths != [standalone::NAME, fused_q8k::NAME] || !one_shape || !different_weights(model, other).is_empty() {
        return Err(pair());
    }
    null_test(model, tokens, replicates, seed, Isa::detect(), progress)
}

/// Ranks the drift of `fused-q8k` from `standalone` over `tokens` among `replicates` wild-sign replicates.
///
/// `None` when no site drifts: the paths are then the same on this model, and there is no size to judge.
/// Costs `replicates + 2` forward passes; memory is that of two layers' activations and of all the KV caches.
///
/// # Errors
/// When the tokens do not fit the model.
pub fn null_test(
    model: &Model,
    tokens: &[u32],
    replicates: usize,
    seed: u64,
    isa: Isa,
    progress: Progress<'_>,
) -> Result<Option<NullTest>, LabError> {
    let (plain, fused) = (Standalone::with_isa(isa), fused_q8k::FusedQ8k::with_isa(isa));
    let wild: Vec<Wild> =
        (0..replicates as u64).map(|k| Wild { plain: Standalone::with_isa(isa), seed: seed ^ (k << 32) }).collect();
    let mut reference = ModelSide::new(model, &plain, tokens);
    let mut observed = ModelSide::new(model, &fused, tokens);
    let mut sides: Vec<ModelSide<'_, Wild>> = wild.iter().map(|w| ModelSide::new(model, w, tokens)).collect();
    // One sum per site for the observed path, then one for each replicate.
    let mut sums: BTreeMap<Site, Vec<DriftSum>> = BTreeMap::new();
    let stages = stages(model.config().layers, tokens.len());
    for (done, stage) in stages.iter().enumerate() {
        progress(done as u64, stages.len() as u64);
        let a = reference.stage(stage)?;
        add(&mut sums, replicates, 0, &observed.stage(stage)?, &a);
        for (k, side) in sides.iter_mut().enumerate() {
            add(&mut sums, replicates, k + 1, &side.stage(stage)?, &a);
        }
    }
    progress(stages.len() as u64, stages.len() as u64);
    let names: Vec<String> = sums.keys().map(Site::to_string).collect();
    let size = |sum: &DriftSum| sum.finish().relative_l2.unwrap_or(0.0);
    let column = |i: usize| -> Vec<f64> { sums.values().map(|s| size(&s[i])).collect() };
    let drawn: Vec<Vec<f64>> = (1..=replicates).map(column).collect();
    Ok(NullTest::rank(&names, &column(0), &drawn, seed))
}

fn add(sums: &mut BTreeMap<Site, Vec<DriftSum>>, replicates: usize, i: usize, side: &[Recorded], a: &[Recorded]) {
    let (mut row, mut row_a) = (Vec::new(), Vec::new());
    for (x, a) in side.iter().zip(a) {
        // Scores and probabilities of masked keys are nobody's values; the context that they make is compared instead.
        if matches!(x.site.point, Point::AttnScores | Point::AttnProbs) {
            continue;
        }
        let sum = &mut sums.entry(x.site).or_insert_with(|| vec![DriftSum::default(); replicates + 1])[i];
        for t in 0..x.values.shape().0 {
            x.values.row(t, &mut row);
            a.values.row(t, &mut row_a);
            sum.add(x.first_row + t, &row, &row_a, |c| c);
        }
    }
}

/// Path A with path B's rounding errors under random signs.
struct Wild {
    plain: Standalone,
    seed: u64,
}

impl Numerics for Wild {
    type Elem = f32;

    fn name(&self) -> &'static str {
        "wild-sign"
    }

    fn eval(&self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f32>]) -> Tensor<f32> {
        let Op::Linear { weight, .. } = op else { return self.plain.eval(site, op, inputs) };
        let Some(error) = fused_q8k::rounding_error(*weight, inputs[0]) else {
            return self.plain.eval(site, op, inputs);
        };
        let mut rng = SplitMix64::new(self.seed ^ input_of(site));
        let mut x = inputs[0].clone();
        for (x, e) in x.data_mut().iter_mut().zip(error.data()) {
            *x += if rng.next_u64() >> 63 == 0 { *e } else { -*e };
        }
        self.plain.eval(site, op, &[&x])
    }
}

/// A number for the value that a linear op reads, so that all its readers draw the same signs.
fn input_of(site: Site) -> u64 {
    let read = match site.point {
        Point::Q | Point::K | Point::V => Point::AttnNorm,
        Point::FfnGate | Point::FfnUp => Point::FfnNorm,
        other => other,
    };
    let layer = site.layer.map_or(u64::MAX, |l| l as u64);
    layer.wrapping_mul(64).wrapping_add(read as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
