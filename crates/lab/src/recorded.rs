//! A recording on its own inputs: the forward pass runs with the recording's values in place of ours, and each of them is
//! judged against the declared arithmetic on the values that it was made of.
//!
//! The verdict of an op needs its inputs and its value in the recording, and nothing else. Where a value is missing, the
//! declared one stands in, with the tolerance that the engine's own value would have had; the next recorded site is then
//! judged for both ops, and its tolerance includes the roundings of the missing one. Through a linear op nothing is carried:
//! what is made of values that nobody recorded is inconclusive.

use std::collections::BTreeMap;

use twinpath_engine::{Mask, Model, Numerics, Op, Point, Probe, Session, Site, Tensor};
use twinpath_evidence::LocalSum;
use twinpath_evidence::verdict::lambda;
use twinpath_paths::Path;
use twinpath_paths::declared::foreign::{AnyOrder, Engine, evaluate, propagate};
use twinpath_paths::declared::{self, Reading, UNIT, blame};

use crate::contrast;
use crate::error::LabError;
use crate::judge::{Judged, Replay, Replayed, element, idle};
use crate::side::{Recorded, Side, Sources, Stage, Values, weights};
use crate::trace::Trace;

/// Whose arithmetic a recording is held to.
#[derive(Clone, Copy)]
pub enum Arithmetic<'m> {
    /// That of a path of ours.
    Path(Replay<'m>),
    /// What is known of another engine.
    Engine(Hearing<'m>),
}

impl Arithmetic<'_> {
    /// The same; of a path, with matrix products judged by statistics if `statistical`.
    pub fn statistical(self, statistical: bool) -> Self {
        match self {
            Arithmetic::Path(replay) => Arithmetic::Path(Replay { statistical, ..replay }),
            engine @ Arithmetic::Engine(_) => engine,
        }
    }
}

/// How a recording of another engine is judged.
#[derive(Clone, Copy)]
pub struct Hearing<'m> {
    /// What is known of it.
    pub engine: Engine,
    /// The other side's arithmetic, to be applied to the recorded inputs: for the split of the drift.
    pub other: Option<&'m dyn Path>,
    /// Chance of a false alarm in the run.
    pub alpha: f64,
    /// Sites of the run, both sides counted.
    pub sites: usize,
    /// Positions of the run.
    pub positions: usize,
}

/// A recording as a side, judged op by op.
pub struct RecordedSide<'m> {
    session: Session<'m, Nothing>,
    tokens: &'m [u32],
    x: Option<Tensor<f32>>,
    trace: &'m Trace,
    arithmetic: Arithmetic<'m>,
    missing: BTreeMap<Site, Missing>,
}

impl<'m> RecordedSide<'m> {
    /// `trace`, a recording of `tokens` through `model`.
    pub fn new(model: &'m Model, trace: &'m Trace, tokens: &'m [u32], arithmetic: Arithmetic<'m>) -> Self {
        let session = Session::new(model, &Nothing);
        RecordedSide { session, tokens, x: None, trace, arithmetic, missing: BTreeMap::new() }
    }
}

impl Side for RecordedSide<'_> {
    fn stage(&mut self, stage: &Stage) -> Result<Vec<Recorded>, LabError> {
        let mut player = Player {
            trace: self.trace,
            arithmetic: self.arithmetic,
            missing: &mut self.missing,
            sources: Sources::default(),
            first_row: 0,
            recorded: Vec::new(),
        };
        let x = match (stage, self.x.take()) {
            (Stage::Embed, _) => self.session.embed(self.tokens, &mut player)?,
            (Stage::Block(layer), Some(x)) => self.session.block(*layer, x, &mut player),
            (Stage::Head(rows), Some(x)) => {
                player.first_row = rows.start;
                self.session.head(x.rows_of(rows.clone()), &mut player);
                x
            }
            (Stage::Block(_) | Stage::Head(_), None) => unreachable!("stages come in execution order"),
        };
        self.x = Some(x);
        Ok(player.recorded)
    }
}

/// Makes nothing: the probe puts the value in its place.
struct Nothing;

impl Numerics for Nothing {
    type Elem = f32;

    fn name(&self) -> &'static str {
        "recorded"
    }

    fn eval(&self, _: Site, _: &Op<'_>, _: &[&Tensor<f32>]) -> Tensor<f32> {
        Tensor::zeros(0, 0)
    }
}

/// A value that was not recorded: how far the engine's may be from the one that stands in.
struct Missing {
    cols: usize,
    spread: Vec<f64>,
    sure: Vec<f64>,
    bound: Vec<f64>,
    /// It and the missing sites that it was made of.
    chain: Vec<Site>,
    /// See [`Carried`].
    lost: Option<Site>,
}

/// Plays the recording back to the forward pass.
struct Player<'p, 'm> {
    trace: &'m Trace,
    arithmetic: Arithmetic<'m>,
    missing: &'p mut BTreeMap<Site, Missing>,
    sources: Sources,
    first_row: usize,
    recorded: Vec<Recorded>,
}

impl Probe<f32> for Player<'_, '_> {
    fn see(&mut self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f32>], value: &mut Tensor<f32>) {
        let sources: Vec<Site> = match site.point {
            Point::FinalNorm => vec![Site::block(self.trace.header().config.layers - 1, Point::Output)],
            _ => inputs.iter().enumerate().map(|(i, x)| self.sources.of(site, op, i, x)).collect(),
        };
        let rows = match (op, inputs) {
            (Op::Embed { tokens, .. }, _) => tokens.len(),
            (_, [x, ..]) => x.rows(),
            (_, []) => 0,
        };
        let found = self.trace.recorded(site, self.first_row..self.first_row + rows);
        *value = match (self.arithmetic, found) {
            (Arithmetic::Path(replay), Some(found)) => {
                let recorded = narrow(&found.values);
                let judged = replay.judge(op, inputs, &recorded, self.first_row);
                self.keep(found, op, sources, judged);
                recorded
            }
            (Arithmetic::Path(replay), None) => unreachable!("{} is not whole: {site}", replay.own.name()),
            (Arithmetic::Engine(hearing), found) => {
                let mut own = evaluate(hearing.engine, op, inputs);
                let carried = self.carry(op, inputs, &sources, &mut own);
                match found {
                    Some(found) => {
                        let recorded = narrow(&found.values);
                        let excuse = self.trace.coarse(site).or(carried.excuse());
                        let mut judged = hearing.judge(excuse, op, inputs, &recorded, own, self.first_row);
                        judged.covers = if carried.lost.is_none() { carried.chain } else { Vec::new() };
                        self.keep(found, op, sources, judged);
                        recorded
                    }
                    None => self.stand_in(site, own, carried),
                }
            }
        };
        self.sources.add(site, value);
    }
}

fn narrow(values: &Values) -> Tensor<f32> {
    match values {
        Values::F32(t) => t.clone(),
        Values::F64(t) => Tensor::new(t.rows(), t.cols(), t.data().iter().map(|x| *x as f32).collect()),
    }
}

/// Missing sites behind a value.
#[derive(Default)]
struct Carried {
    chain: Vec<Site>,
    /// The missing input of a linear op, behind which nothing can be said.
    lost: Option<Site>,
    /// Why a recorded input is too coarse for what is made of it to be judged.
    coarse: Option<String>,
}

impl Carried {
    fn excuse(&self) -> Option<String> {
        let lost = |site| format!("{site} is not recorded, and nothing is known of what a linear op made of it");
        self.lost.map(lost).or_else(|| self.coarse.clone())
    }
}

impl Player<'_, '_> {
    fn keep(&mut self, found: Recorded, op: &Op<'_>, inputs: Vec<Site>, judged: Judged) {
        self.recorded.push(Recorded { weights: weights(op), inputs, judged: Some(judged), ..found });
    }

    /// Adds to the tolerances of `own` what its missing inputs are uncertain by.
    fn carry(&self, op: &Op<'_>, inputs: &[&Tensor<f32>], sources: &[Site], own: &mut AnyOrder) -> Carried {
        let mut carried = Carried::default();
        for (which, source) in sources.iter().enumerate() {
            let Some(missing) = self.missing.get(source) else {
                let coarse = self.trace.coarse(*source).map(|why| format!("its input {source} was {why}"));
                carried.coarse = carried.coarse.take().or(coarse);
                continue;
            };
            carried.chain.extend(missing.chain.iter().copied());
            let from = self.first_row * missing.cols;
            let reach = |of: &[f64]| propagate(op, inputs, which, &of[from..from + inputs[which].data().len()]);
            match (missing.lost, reach(&missing.spread), reach(&missing.sure), reach(&missing.bound)) {
                (None, Some(spread), Some(sure), Some(bound)) => {
                    // Roundings of one op are independent of those of another.
                    let declared = &mut own.declared;
                    declared.spread.iter_mut().zip(spread).for_each(|(own, more)| *own = own.hypot(more));
                    own.sure.iter_mut().zip(sure).for_each(|(own, more)| *own = own.hypot(more));
                    declared.bound.iter_mut().zip(bound).for_each(|(own, more)| *own += more);
                }
                (lost, ..) => carried.lost = carried.lost.or(lost).or(Some(*source)),
            }
        }
        carried.chain.sort();
        carried.chain.dedup();
        carried
    }

    /// The declared value, rounded, in the place of one that was not recorded.
    fn stand_in(&mut self, site: Site, own: AnyOrder, carried: Carried) -> Tensor<f32> {
        let declared = own.declared;
        let value: Vec<f32> = declared.value.iter().map(|x| *x as f32).collect();
        // Ours is rounded once more than theirs.
        let once: Vec<f64> = declared.value.iter().map(|x| UNIT * x.abs().max(f64::from(f32::MIN_POSITIVE))).collect();
        let rounded = |of: Vec<f64>| of.iter().zip(&once).map(|(of, once)| of.hypot(*once)).collect();
        let bound = declared.bound.iter().zip(&once).map(|(of, once)| of + once).collect();
        let mut chain = carried.chain;
        chain.push(site);
        let missing = Missing {
            cols: declared.cols,
            spread: rounded(declared.spread),
            sure: rounded(own.sure),
            bound,
            chain,
            lost: carried.lost,
        };
        self.missing.insert(site, missing);
        Tensor::new(declared.rows, declared.cols, value)
    }
}

impl Hearing<'_> {
    /// Judges `value`, which the engine made of `inputs`; `own` is what it declares of them.
    fn judge(
        &self,
        excuse: Option<String>,
        op: &Op<'_>,
        inputs: &[&Tensor<f32>],
        value: &Tensor<f32>,
        mut own: AnyOrder,
        first_row: usize,
    ) -> Judged {
        let other = self.other.and_then(|path| declared::evaluate(&[path], op, inputs).into_iter().next());
        let mut local = LocalSum::default();
        if let Some(excuse) = excuse {
            local.excuse(excuse);
        } else {
            let elements = self.positions.max(value.rows()) * value.cols();
            let per_element = lambda(self.alpha / 2.0, self.sites, elements);
            if let (Op::Linear { weight, .. }, [x]) = (op, inputs) {
                let reading = self.engine.reading(weight.tensor_type());
                for t in (0..value.rows()).filter(|_| reading != Reading::Plain) {
                    let row = Row { own: &mut own, value, t, lambda: per_element };
                    local.add_flips(row.flip(|residual| blame::flips(*weight, reading, x.row(t), residual)));
                }
            }
            let cells = admitted(op, value.cols());
            for t in 0..value.rows() {
                for i in cells(t) {
                    judge_one(&mut local, value, &own, first_row, t * value.cols() + i, per_element);
                }
            }
            if let Op::Norm { weight, .. } = op {
                let sure = declared::Declared { spread: own.sure.clone(), ..own.declared.clone() };
                let gain = contrast::common_gain(value, &sure, weight.len());
                let per_gain = lambda(self.alpha / 2.0, self.sites, self.positions);
                if let Some((gain, spread)) = gain {
                    let over = gain.size.abs() / (per_gain * spread);
                    local.add_gain(gain, over);
                }
            }
            if local.convicted() > 0 {
                local.name(None, contrast::of(value, &own.declared));
            }
        }
        let replayed = other.map(|other| Replayed { own: own.declared.value, other: Some(other.value) });
        Judged { local, idle: idle(op, value.rows()), replayed, statistical: None, covers: Vec::new() }
    }
}

/// The elements of row `t` that mean something: of attention the admitted keys. What an engine leaves elsewhere is its own
/// affair; scores are judged where the softmax will read them.
fn admitted(op: &Op<'_>, cols: usize) -> impl Fn(usize) -> Vec<usize> {
    let (heads, mask) = match *op {
        Op::Softmax { heads, mask } => (heads, Some(mask)),
        Op::Scores { heads, .. } => (heads, Some(Mask { start: 0, window: None })),
        _ => (1, None),
    };
    move |t| {
        let keys = cols / heads;
        let admitted = mask.map_or(0..keys, |mask| mask.keys(t));
        (0..heads).flat_map(|h| admitted.clone().map(move |key| h * keys + key)).collect()
    }
}

/// One element: flagged by the spread, convicted by the sure one.
fn judge_one(
    local: &mut LocalSum,
    value: &Tensor<f32>,
    own: &AnyOrder,
    first_row: usize,
    i: usize,
    lambda: f64,
) -> bool {
    let element = element(value, &own.declared, first_row, i);
    let wider = if element.spread > 0.0 { own.sure[i] / element.spread } else { 1.0 };
    local.add(&element, lambda * wider.max(1.0))
}

/// One position of a linear op whose activations are coded.
struct Row<'r> {
    own: &'r mut AnyOrder,
    value: &'r Tensor<f32>,
    t: usize,
    lambda: f64,
}

impl Row<'_> {
    /// Lets activations go the other way, if fewer elements are flagged then; how many went.
    fn flip(self, flips: impl FnOnce(&[f64]) -> (Vec<blame::Flip>, Vec<f64>)) -> usize {
        let cols = self.own.declared.cols;
        let range = self.t * cols..(self.t + 1) * cols;
        let flagged = |own: &AnyOrder| {
            let mut local = LocalSum::default();
            range.clone().for_each(|i| {
                judge_one(&mut local, self.value, own, 0, i, self.lambda);
            });
            local.flagged()
        };
        let before = flagged(self.own);
        if before == 0 {
            return 0;
        }
        let residual: Vec<f64> =
            range.clone().map(|i| f64::from(self.value.data()[i]) - self.own.declared.value[i]).collect();
        let (taken, added) = flips(&residual);
        let kept = self.own.declared.value[range.clone()].to_vec();
        self.own.declared.value[range.clone()].iter_mut().zip(added).for_each(|(value, added)| *value += added);
        if flagged(self.own) < before {
            return taken.len();
        }
        self.own.declared.value[range].copy_from_slice(&kept);
        0
    }
}
