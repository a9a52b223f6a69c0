//! What is found at each site of a recording.

use std::collections::BTreeMap;

use rayon::prelude::*;
use twinpath_engine::{Model, Op, Point, Probe, Rows, Session, Site, Tensor};
use twinpath_evidence::diagnosis::Tried;
use twinpath_evidence::verdict::CALIBRATED;
use twinpath_evidence::{LocalSum, SiteDiagnosis, Verdict};
use twinpath_paths::declared::foreign::AnyOrder;
use twinpath_paths::{Path, Standalone};

use crate::LabError;
use crate::change::Change;
use crate::recorded::{Heard, Judge, Witness};
use crate::suspects::{self, Found, SUSPECTS, Scene};

type T32 = Tensor<f32>;

/// What is found at each site.
pub(super) struct Sites<'d> {
    model: &'d Model,
    found: BTreeMap<Site, SiteSum>,
    /// The order of a layer's hidden channels, where its gate shows another one.
    channels: BTreeMap<usize, Vec<usize>>,
    otherwise: Option<Otherwise>,
}

/// A SiLU that was not recorded.
struct Otherwise {
    site: Site,
    /// Where its stand-in lies.
    place: usize,
    /// What mistakes would have made.
    made: Vec<(Way, T32)>,
}

/// Place of the suspect in the catalogue, place of the change in its grid, parameter.
type Way = (usize, usize, String);

/// One site as it grows: the head comes in pieces.
#[derive(Default)]
struct SiteSum {
    local: LocalSum,
    idle: Option<&'static str>,
    limit: Option<f64>,
    tried: BTreeMap<Way, LocalSum>,
}

impl<'d> Sites<'d> {
    pub(super) fn new(model: &'d Model) -> Self {
        Sites { model, found: BTreeMap::new(), channels: BTreeMap::new(), otherwise: None }
    }

    /// What is left of a value of which a SiLU is part that was not recorded, with each mistake in that SiLU: engines join it
    /// with the product that follows.
    fn try_missing(&self, heard: &Heard<'_>) -> BTreeMap<Way, LocalSum> {
        let missing = self.otherwise.as_ref().filter(|missing| heard.judged.covers.contains(&missing.site));
        let which = missing.and_then(|missing| heard.inputs.iter().position(|x| at(x) == missing.place));
        let (Some(missing), Some(which)) = (missing, which) else { return BTreeMap::new() };
        let judged = missing.made.par_iter().map(|(way, made)| {
            let mut inputs = heard.inputs.to_vec();
            inputs[which] = made;
            (way.clone(), heard.judge.judge(heard.op, &inputs, heard.value, 0).0.local)
        });
        judged.collect()
    }

    pub(super) fn finish(self) -> Vec<(Site, SiteDiagnosis)> {
        self.found.into_iter().map(|(site, sum)| (site, sum.finish(site))).collect()
    }
}

/// Every way of every suspect, with its place.
fn ways(scene: &Scene<'_>) -> Vec<((usize, usize), Change)> {
    let mut all: Vec<((usize, usize), Change)> = Vec::new();
    for (i, suspect) in SUSPECTS.iter().enumerate() {
        // A fitted parameter may read like a usual one.
        for (k, change) in suspect.changes(scene).into_iter().enumerate() {
            if all.iter().all(|((j, _), c)| *j != i || c.parameter != change.parameter) {
                all.push(((i, k), change));
            }
        }
    }
    all
}

fn try_all(scene: &Scene<'_>, judge: &Judge<'_>, value: &T32) -> BTreeMap<Way, LocalSum> {
    let judged = ways(scene).into_par_iter().map(|((i, k), change)| {
        let sum = change.judge(judge, scene.op, scene.inputs, value);
        ((i, k, change.parameter), sum)
    });
    judged.collect()
}

impl Witness for Sites<'_> {
    fn hear(&mut self, heard: &Heard<'_>) {
        let Heard { site, op, inputs, value, judge, judged, own } = *heard;
        // What a value that is missing would have shown, this one does.
        judged.covers.iter().for_each(|missing| drop(self.found.remove(missing)));
        let mut tried = BTreeMap::new();
        let unexplained = matches!(judged.local.finish("b", None).verdict, Verdict::Unexplained { .. });
        if let (true, Some(own)) = (unexplained, own) {
            let found = Found { value, own, reading: judge.reading(op) };
            if let (Point::FfnGate, Some(layer)) = (site.point, site.layer) {
                self.channels.extend(suspects::order(&found).map(|order| (layer, order)));
            }
            let channels = site.layer.and_then(|layer| self.channels.get(&layer)).map(Vec::as_slice);
            let scene = Scene { model: self.model, site, op, inputs, found: Some(found), channels };
            tried = try_all(&scene, &judge, value);
            tried.extend(self.try_missing(heard));
        }
        let sum = self.found.entry(site).or_default();
        sum.local.merge(judged.local.clone());
        sum.idle = judged.idle;
        let limit = own.and_then(|own| limit(own, judge.lambda(value)));
        sum.limit = [sum.limit, limit].into_iter().flatten().reduce(f64::min);
        tried.into_iter().for_each(|(way, more)| sum.tried.entry(way).or_default().merge(more));
    }

    fn miss(&mut self, site: Site, op: &Op<'_>, inputs: &[&T32], stand_in: &T32) {
        self.found.entry(site).or_default().local.excuse("it was not recorded".to_owned());
        if let Op::Silu = op {
            let scene = Scene { model: self.model, site, op, inputs, found: None, channels: None };
            let path = Standalone::new();
            let made = ways(&scene).into_iter().map(|((i, k), change)| {
                let made = change.plant(&path, site, op, inputs);
                ((i, k, change.parameter), made)
            });
            self.otherwise = Some(Otherwise { site, place: at(stand_in), made: made.collect() });
        }
    }
}

/// Where a tensor lies, to know it again as an input.
fn at(tensor: &T32) -> usize {
    tensor.data().as_ptr() as usize
}

/// The smallest change of one element that would be convicted, `λ` times the smallest spread, over the root mean square.
fn limit(own: &AnyOrder, lambda: f64) -> Option<f64> {
    let value = &own.declared.value;
    let size = (value.iter().map(|y| y * y).sum::<f64>() / value.len() as f64).sqrt();
    let exact = |s: &f64| *s > 0.0;
    let least = own.sure.iter().copied().filter(exact).reduce(f64::min)?;
    Some(lambda * least / size).filter(|l| l.is_finite())
}

impl SiteSum {
    fn finish(self, site: Site) -> SiteDiagnosis {
        let local = self.local.finish("b", self.idle);
        // Those that explain come first, in the order of the catalogue and of their grids; then by what they leave.
        let mut tried: Vec<(Way, Tried)> =
            self.tried.into_iter().map(|(way, sum)| (way.clone(), tried(way, &sum))).collect();
        let left = |t: &Tried| if t.explains { 0.0 } else { t.residual.unwrap_or(f64::INFINITY) };
        tried.sort_by(|(i, a), (j, b)| b.explains.cmp(&a.explains).then(left(a).total_cmp(&left(b))).then(i.cmp(j)));
        SiteDiagnosis {
            site: site.to_string(),
            verdict: local.verdict,
            residual: local.relative_l2,
            limit: self.limit,
            tried: tried.into_iter().map(|(_, t)| t).collect(),
        }
    }
}

fn tried((suspect, _, parameter): Way, sum: &LocalSum) -> Tried {
    let local = sum.finish("b", None);
    let explains = !matches!(local.verdict, Verdict::Unexplained { .. } | Verdict::Inconclusive { .. });
    let (residual, sigmas) = (local.relative_l2, local.calibrated * CALIBRATED);
    Tried { suspect: SUSPECTS[suspect].name.to_owned(), parameter, explains, residual, sigmas }
}

/// Runs `tokens` through `model` and shows every op as a scene.
///
/// # Errors
/// When the tokens do not fit the model.
pub(crate) fn scenes(
    model: &Model,
    path: &dyn Path,
    tokens: &[u32],
    at: &mut dyn FnMut(Site, &Scene<'_>),
) -> Result<(), LabError> {
    struct Scenes<'s>(&'s Model, &'s mut dyn FnMut(Site, &Scene<'_>));
    impl Probe<f32> for Scenes<'_> {
        fn see(&mut self, site: Site, op: &Op<'_>, inputs: &[&T32], _: &mut T32) {
            (self.1)(site, &Scene { model: self.0, site, op, inputs, found: None, channels: None });
        }
    }
    Session::new(model, path).forward(tokens, Rows::All, &mut Scenes(model, at))?;
    Ok(())
}
