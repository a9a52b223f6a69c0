//! Both published paths over the same tokens, layer by layer, with what the experiments look at.

use std::collections::BTreeMap;

use twinpath_engine::{Model, Op, Point, Probe, Session, Site, Tensor};
use twinpath_evidence::experiment::Measured;
use twinpath_paths::simd::Isa;
use twinpath_paths::{FusedQ8k, Standalone};

use super::stats::{self, distance, norm};
use crate::LabError;

/// Points that experiments read; others are not kept.
const KEPT: &[Point] = &[
    Point::Embed,
    Point::AttnNorm,
    Point::Q,
    Point::AttnScores,
    Point::AttnCtx,
    Point::AttnResidual,
    Point::FfnNorm,
    Point::FfnSwiglu,
    Point::Output,
];

/// Values by site.
pub(crate) type Values = BTreeMap<Site, Tensor<f32>>;

/// Path A's run, path B's, and path A's layers on path B's inputs.
pub(crate) struct Runs {
    /// `standalone`.
    pub(crate) a: Values,
    /// `fused-q8k`.
    pub(crate) b: Values,
    /// The output of each layer in A's arithmetic on B's input.
    pub(crate) crossed: Vec<Tensor<f32>>,
}

struct Keep<'v>(&'v mut Values);

impl Probe<f32> for Keep<'_> {
    fn see(&mut self, site: Site, _: &Op<'_>, _: &[&Tensor<f32>], value: &mut Tensor<f32>) {
        if KEPT.contains(&site.point) {
            self.0.insert(site, value.clone());
        }
    }
}

impl Runs {
    /// Runs both; `done` is told of each layer.
    ///
    /// # Errors
    /// When the tokens do not fit the model.
    pub(crate) fn new(model: &Model, tokens: &[u32], isa: Isa, done: &dyn Fn()) -> Result<Runs, LabError> {
        let (path_a, path_b) = (Standalone::with_isa(isa), FusedQ8k::with_isa(isa));
        let (mut a, mut b, mut crossed) = (Values::new(), Values::new(), Vec::new());
        let mut session_a = Session::new(model, &path_a);
        let mut session_b = Session::new(model, &path_b);
        let mut session_c = Session::new(model, &path_a);
        let mut x_a = session_a.embed(tokens, &mut Keep(&mut a))?;
        let mut x_b = session_b.embed(tokens, &mut Keep(&mut b))?;
        for layer in 0..model.config().layers {
            crossed.push(session_c.block(layer, x_b.clone(), &mut twinpath_engine::NoProbe));
            x_a = session_a.block(layer, x_a, &mut Keep(&mut a));
            x_b = session_b.block(layer, x_b, &mut Keep(&mut b));
            done();
        }
        Ok(Runs { a, b, crossed })
    }

    /// Both values at every site, in execution order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (Site, &Tensor<f32>, &Tensor<f32>)> {
        self.a.iter().filter_map(|(site, a)| Some((*site, a, self.b.get(site)?)))
    }

    /// For each layer and position: what the layer added, and by what it multiplied the error that it inherited, both
    /// relative to the length of path A's row; and the relative error after it.
    pub(crate) fn recursion(&self) -> Vec<Vec<Step>> {
        let mut before: Option<Vec<f64>> = None;
        let mut layers = Vec::new();
        for (layer, crossed) in self.crossed.iter().enumerate() {
            let site = Site::block(layer, Point::Output);
            let (Some(a), Some(b)) = (self.a.get(&site), self.b.get(&site)) else { continue };
            let step = |t: usize| {
                let length = norm(a.row(t));
                let inherited = before.as_ref().map_or(0.0, |rho| rho[t]);
                let passed = distance(crossed.row(t), a.row(t)) / length;
                let gain = if inherited > 0.0 { passed / inherited } else { 0.0 };
                Step {
                    added: distance(b.row(t), crossed.row(t)) / length,
                    gain,
                    error: distance(b.row(t), a.row(t)) / length,
                }
            };
            let steps: Vec<Step> = (0..a.rows()).map(step).collect();
            before = Some(steps.iter().map(|s| s.error).collect());
            layers.push(steps);
        }
        layers
    }
}

/// One layer at one position, all relative to the length of path A's row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// Distance of both arithmetics on path B's input.
    pub(crate) added: f64,
    /// Error passed on over error inherited.
    pub(crate) gain: f64,
    /// Error after it.
    pub(crate) error: f64,
}

/// Error at the end as measured over `energy` of the steps of one input, pooled over the inputs, with a bootstrap over them.
/// `steps` are `[op][input]`; `of` names the inputs. Not exercised where nothing differs anywhere.
pub(crate) fn closure(steps: &[Vec<Step>], energy: impl Fn(&[Step]) -> f64, of: &str) -> Measured {
    let last = match steps.last() {
        Some(last) if last.iter().any(|s| s.error > 0.0) => last,
        _ => return Measured::NotExercised { why: "both paths agree everywhere".to_owned() },
    };
    let each: Vec<(f64, f64)> = (0..last.len())
        .map(|t| {
            let one: Vec<Step> = steps.iter().map(|op| op[t]).collect();
            (last[t].error * last[t].error, energy(&one))
        })
        .collect();
    let quotient = |chosen: &[usize]| {
        let sum = |f: fn(&(f64, f64)) -> f64| chosen.iter().map(|i| f(&each[*i])).sum::<f64>();
        (sum(|e| e.0) / sum(|e| e.1)).sqrt()
    };
    stats::bootstrap(each.len(), of, quotient).into()
}

/// What all ops added, each passed on by those after it.
pub(crate) fn accumulated(steps: &[Step]) -> f64 {
    steps.iter().fold(0.0, |energy, s| s.added * s.added + s.gain * s.gain * energy)
}

/// What the first op added, passed on, with nothing added after it.
pub(crate) fn first_only(steps: &[Step]) -> f64 {
    let first = steps.first().map_or(0.0, |s| s.added * s.added);
    steps.iter().skip(1).fold(first, |energy, s| s.gain * s.gain * energy)
}
