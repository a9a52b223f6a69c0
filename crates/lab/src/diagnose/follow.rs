//! A's model on B's values.

use std::collections::BTreeMap;
use std::sync::RwLock;

use rayon::prelude::*;
use twinpath_engine::{Model, Numerics, Op, Point, Probe, Rows, Session, Site, Tensor};
use twinpath_evidence::diagnosis::Tried;
use twinpath_evidence::verdict::{CALIBRATED, lambda};
use twinpath_evidence::{LocalSum, SiteDiagnosis, Verdict};
use twinpath_paths::Path;
use twinpath_paths::declared::{Declared, evaluate};

use super::as_f32;
use crate::LabError;
use crate::change::Change;
use crate::judge::Replay;
use crate::side::Recorded;
use crate::suspects::{self, Found, SUSPECTS, Scene};

type T32 = Tensor<f32>;

/// Numerics whose value is the recorded one, where there is one of the right shape; else a path's.
pub(super) struct Recordings<'p> {
    path: &'p dyn Path,
    values: RwLock<BTreeMap<Site, T32>>,
}

impl<'p> Recordings<'p> {
    pub(super) fn new(path: &'p dyn Path) -> Self {
        Recordings { path, values: RwLock::default() }
    }

    /// The values of the stage that comes next.
    pub(super) fn set(&self, stage: Vec<Recorded>) {
        let values = stage.into_iter().filter_map(|r| Some((r.site, as_f32(&r.values)?.clone()))).collect();
        *self.values.write().unwrap_or_else(|e| unreachable!("nobody panics with it: {e}")) = values;
    }

    fn get(&self, site: Site, rows: usize) -> Option<T32> {
        let values = self.values.read().unwrap_or_else(|e| unreachable!("nobody panics with it: {e}"));
        values.get(&site).filter(|v| v.rows() == rows).cloned()
    }

    fn has(&self, site: Site, rows: usize) -> bool {
        let values = self.values.read().unwrap_or_else(|e| unreachable!("nobody panics with it: {e}"));
        values.get(&site).is_some_and(|v| v.rows() == rows)
    }
}

impl Numerics for Recordings<'_> {
    type Elem = f32;

    fn name(&self) -> &'static str {
        self.path.name()
    }

    fn eval(&self, site: Site, op: &Op<'_>, inputs: &[&T32]) -> T32 {
        let recorded = self.get(site, crate::change::rows(op, inputs));
        recorded.unwrap_or_else(|| self.path.eval(site, op, inputs))
    }
}

/// What is found at each site.
pub(super) struct Sites<'d> {
    model: &'d Model,
    recorded: &'d Recordings<'d>,
    replay: Replay<'d>,
    pub(super) first_row: usize,
    found: BTreeMap<Site, SiteSum>,
    /// The order of a layer's hidden channels, where its gate shows another one.
    channels: BTreeMap<usize, Vec<usize>>,
    ours: Ours,
}

/// Values that were not recorded, so that ours stand in for them: what is made of them is not judged.
#[derive(Default)]
struct Ours {
    /// Where they lie.
    places: Vec<usize>,
    /// The keys and values of this layer, which are copied into the cache.
    keys: bool,
    values: bool,
}

impl Ours {
    fn note(&mut self, site: Site, value: &T32, recorded: bool) {
        match site.point {
            Point::K | Point::KNorm | Point::KRope => self.keys = !recorded,
            Point::V => self.values = !recorded,
            _ => {}
        }
        if !recorded {
            self.places.push(place(value));
        }
    }

    fn among(&self, op: &Op<'_>, inputs: &[&T32]) -> bool {
        let cached = matches!(op, Op::Scores { .. }) && self.keys || matches!(op, Op::Mix { .. }) && self.values;
        cached || inputs.iter().any(|x| self.places.contains(&place(x)))
    }
}

/// Where a tensor lies, to know it again as an input.
pub(super) fn place(tensor: &T32) -> usize {
    tensor.data().as_ptr() as usize
}

/// Place of the suspect in the catalogue, place of the change in its grid, parameter.
type Way = (usize, usize, String);

/// One site as it grows: the head comes in pieces.
#[derive(Default)]
struct SiteSum {
    local: LocalSum,
    idle: Option<&'static str>,
    /// Why it was not judged.
    blind: Option<&'static str>,
    limit: Option<f64>,
    tried: BTreeMap<Way, LocalSum>,
}

impl<'d> Sites<'d> {
    pub(super) fn new(model: &'d Model, recorded: &'d Recordings<'d>, replay: Replay<'d>) -> Self {
        Sites {
            model,
            recorded,
            replay,
            first_row: 0,
            found: BTreeMap::new(),
            channels: BTreeMap::new(),
            ours: Ours::default(),
        }
    }

    /// A stage begins with `x`, which lay at `from` when the stage before made it.
    pub(super) fn begin(&mut self, from: Option<usize>, x: Option<&T32>) {
        let ours = from.filter(|from| self.ours.places.contains(from));
        let places = ours.into_iter().chain(x.filter(|_| ours.is_some()).map(place)).collect();
        self.ours = Ours { places, ..Ours::default() };
    }

    pub(super) fn finish(self) -> Vec<(Site, SiteDiagnosis)> {
        self.found.into_iter().map(|(site, sum)| (site, sum.finish(site))).collect()
    }

    /// Every way of every suspect.
    fn try_all(&self, scene: &Scene<'_>) -> BTreeMap<Way, LocalSum> {
        let Some(found) = scene.found else { return BTreeMap::new() };
        let mut all: Vec<(usize, usize, Change)> = Vec::new();
        for (i, suspect) in SUSPECTS.iter().enumerate() {
            // A fitted parameter may read like a usual one.
            for (k, change) in suspect.changes(scene).into_iter().enumerate() {
                if all.iter().all(|(j, _, c)| *j != i || c.parameter != change.parameter) {
                    all.push((i, k, change));
                }
            }
        }
        let judged = all.into_par_iter().map(|(i, k, change)| {
            let sum = change.judge(&self.replay, scene.op, scene.inputs, found.value, self.first_row);
            ((i, k, change.parameter), sum)
        });
        judged.collect()
    }
}

impl Probe<f32> for Sites<'_> {
    fn see(&mut self, site: Site, op: &Op<'_>, inputs: &[&T32], value: &mut T32) {
        let recorded = self.recorded.has(site, value.rows());
        let blind = self.ours.among(op, inputs);
        self.ours.note(site, value, recorded);
        if !recorded || blind {
            let why = if recorded { "its input was not recorded" } else { "it was not recorded" };
            self.found.entry(site).or_default().blind = Some(why);
            return;
        }
        let judged = self.replay.judge(op, inputs, value, self.first_row);
        let Some(declared) = evaluate(&[self.replay.own], op, inputs).pop() else { return };
        let unexplained = matches!(judged.local.finish("b", None).verdict, Verdict::Unexplained { .. });
        let found = Found { value, declared: &declared.value };
        if let (true, Point::FfnGate, Some(layer)) = (unexplained, site.point, site.layer) {
            self.channels.extend(suspects::order(&found).map(|order| (layer, order)));
        }
        let channels = site.layer.and_then(|layer| self.channels.get(&layer)).map(Vec::as_slice);
        let scene = Scene { model: self.model, site, op, inputs, found: Some(found), channels };
        let tried = if unexplained { self.try_all(&scene) } else { BTreeMap::new() };
        let limit = limit(&declared, &self.replay);
        let sum = self.found.entry(site).or_default();
        sum.local.merge(judged.local);
        sum.idle = judged.idle;
        sum.limit = [sum.limit, limit].into_iter().flatten().reduce(f64::min);
        tried.into_iter().for_each(|(way, more)| sum.tried.entry(way).or_default().merge(more));
    }
}

/// The smallest change of one element that would be convicted, `λ` times the smallest spread, over the root mean square.
fn limit(declared: &Declared, replay: &Replay<'_>) -> Option<f64> {
    let lambda = lambda(replay.alpha / 2.0, replay.sites, replay.positions.max(declared.rows) * declared.cols);
    let size = (declared.value.iter().map(|y| y * y).sum::<f64>() / declared.value.len() as f64).sqrt();
    let exact = |s: &&f64| **s > 0.0;
    let least = declared.spread.iter().filter(exact).copied().reduce(f64::min)?;
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
        let blind = self.blind.map(|why| Verdict::Inconclusive { reason: why.to_owned() });
        SiteDiagnosis {
            site: site.to_string(),
            verdict: blind.unwrap_or(local.verdict),
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
