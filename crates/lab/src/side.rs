//! One side of a comparison: something that can say, layer by layer, what it computed.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use twinpath_engine::{Elem, Mask, Model, Numerics, Op, Oracle, Point, Probe, Session, Site, Tensor};
use twinpath_formats::TensorType;
use twinpath_paths::simd::Isa;
use twinpath_paths::{PATHS, Path, Reading, Tiles};

use crate::beside::{Desk, Linear, Role};
use crate::error::LabError;
use crate::judge::{Judged, Replay};
use crate::policies::POLICIES;
use crate::spec::PathName;

/// A piece of a forward pass, in execution order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Embedding of all tokens of the call.
    Embed,
    /// One layer on all rows.
    Block(usize),
    /// Final norm and head on some rows. Cut into pieces, because a row of logits is as long as the vocabulary.
    Head(Range<usize>),
}

impl Stage {
    /// The position of its first row.
    pub(crate) fn first_row(&self) -> usize {
        if let Stage::Head(rows) = self { rows.start } else { 0 }
    }
}

/// Rows of the head that are alive at once.
pub const HEAD_ROWS: usize = 32;

/// The stages of a call over `tokens` positions.
pub fn stages(layers: usize, tokens: usize) -> Vec<Stage> {
    let heads = (0..tokens).step_by(HEAD_ROWS).map(|from| Stage::Head(from..(from + HEAD_ROWS).min(tokens)));
    [Stage::Embed].into_iter().chain((0..layers).map(Stage::Block)).chain(heads).collect()
}

/// The values of one site over some rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Of a path.
    F32(Tensor<f32>),
    /// Of the oracle.
    F64(Tensor<f64>),
}

impl Values {
    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Values::F32(t) => (t.rows(), t.cols()),
            Values::F64(t) => (t.rows(), t.cols()),
        }
    }

    /// Row `i`, widened.
    pub fn row(&self, i: usize, out: &mut Vec<f64>) {
        out.clear();
        match self {
            Values::F32(t) => out.extend(t.row(i).iter().map(|x| f64::from(*x))),
            Values::F64(t) => out.extend_from_slice(t.row(i)),
        }
    }
}

/// A value with what made it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Where.
    pub site: Site,
    /// Block type of the weights that made it.
    pub weights: Option<&'static str>,
    /// For attention scores and probabilities: which keys count.
    pub mask: Option<Mask>,
    /// The first row of the call that it holds.
    pub first_row: usize,
    /// The values.
    pub values: Values,
    /// The sites whose values it was made of; empty where that is not known.
    pub inputs: Vec<Site>,
    /// What replay found, if it was asked for.
    pub judged: Option<Judged>,
    /// Why the values are too coarse to be judged, if they are.
    pub coarse: Option<String>,
    /// Whether logits are log-probabilities.
    pub normalised: bool,
}

/// One side of a comparison.
pub trait Side {
    /// Runs or reads one stage; stages come in execution order.
    ///
    /// # Errors
    /// When the tokens do not fit the model, or a recording cannot be read.
    fn stage(&mut self, stage: &Stage) -> Result<Vec<Recorded>, LabError>;
}

/// A model along a path.
pub struct ModelSide<'m, N: Numerics + ?Sized> {
    session: Session<'m, N>,
    tokens: &'m [u32],
    x: Option<Tensor<N::Elem>>,
    replay: Option<Replay<'m>>,
    beside: Option<(Role<'m>, &'m Desk)>,
}

impl<'m, N: Numerics + ?Sized> ModelSide<'m, N> {
    /// `tokens` through `model` along `numerics`.
    pub fn new(model: &'m Model, numerics: &'m N, tokens: &'m [u32]) -> Self {
        ModelSide { session: Session::new(model, numerics), tokens, x: None, replay: None, beside: None }
    }

    /// Runs one stage before `probe`; stages come in execution order.
    ///
    /// # Errors
    /// When the tokens do not fit the model.
    pub(crate) fn run(&mut self, stage: &Stage, probe: &mut dyn Probe<N::Elem>) -> Result<(), LabError> {
        let x = match (stage, self.x.take()) {
            (Stage::Embed, _) => self.session.embed(self.tokens, probe)?,
            (Stage::Block(layer), Some(x)) => self.session.block(*layer, x, probe),
            (Stage::Head(rows), Some(x)) => {
                self.session.head(x.rows_of(rows.clone()), probe);
                x
            }
            (Stage::Block(_) | Stage::Head(_), None) => unreachable!("stages come in execution order"),
        };
        self.x = Some(x);
        Ok(())
    }

    /// Replays every op as it is made.
    pub fn replayed(self, replay: Option<Replay<'m>>) -> Self {
        ModelSide { replay, ..self }
    }

    /// Judges its linear ops together with those of another side of the same model.
    pub(crate) fn beside(self, role: Role<'m>, desk: &'m Desk) -> Self {
        ModelSide { beside: Some((role, desk)), ..self }
    }
}

impl<N: Numerics + ?Sized> Side for ModelSide<'_, N>
where
    Values: From<Tensor<N::Elem>>,
    N::Elem: Activation,
{
    fn stage(&mut self, stage: &Stage) -> Result<Vec<Recorded>, LabError> {
        let (replay, beside, first_row) = (self.replay, self.beside, stage.first_row());
        let mut recorder = Recorder { replay, beside, first_row, ..Recorder::default() };
        self.run(stage, &mut recorder)?;
        Ok(recorder.recorded)
    }
}

impl From<Tensor<f32>> for Values {
    fn from(t: Tensor<f32>) -> Self {
        Values::F32(t)
    }
}

impl From<Tensor<f64>> for Values {
    fn from(t: Tensor<f64>) -> Self {
        Values::F64(t)
    }
}

/// What activations are made of, as far as replay goes: it judges paths of f32.
pub trait Activation: Elem {
    /// The tensor, if it is one of f32.
    fn as_f32(tensor: &Tensor<Self>) -> Option<&Tensor<f32>>;
}

impl Activation for f32 {
    fn as_f32(tensor: &Tensor<f32>) -> Option<&Tensor<f32>> {
        Some(tensor)
    }
}

impl Activation for f64 {
    fn as_f32(_: &Tensor<f64>) -> Option<&Tensor<f32>> {
        None
    }
}

/// Block type of the weights of an op.
pub(crate) fn weights(op: &Op<'_>) -> Option<&'static str> {
    match op {
        Op::Linear { weight, .. } | Op::Embed { table: weight, .. } => Some(weight.format().name()),
        _ => None,
    }
}

/// Keeps a copy of every value of a stage.
#[derive(Default)]
struct Recorder<'p> {
    first_row: usize,
    recorded: Vec<Recorded>,
    mask: Option<Mask>,
    replay: Option<Replay<'p>>,
    beside: Option<(Role<'p>, &'p Desk)>,
    sources: Sources,
}

/// Where the values of a stage lie, to know them again as inputs.
#[derive(Default)]
pub(crate) struct Sources {
    places: Vec<(usize, Site)>,
}

impl Sources {
    /// The site that made an input: one of this stage, by where it lies; else the cache, or the stage before.
    pub(crate) fn of<E: Elem>(&self, site: Site, op: &Op<'_>, index: usize, input: &Tensor<E>) -> Site {
        let place = input.data().as_ptr() as usize;
        let made = |point: Point| self.places.iter().rev().map(|(_, site)| *site).find(|s| s.point == point);
        let cached = match (op, index) {
            (Op::Scores { .. }, 1) => made(Point::KRope).or(made(Point::KNorm)).or(made(Point::K)),
            (Op::Mix { .. }, 1) => made(Point::V),
            _ => None,
        };
        let known = self.places.iter().find(|(at, _)| *at == place).map(|(_, site)| *site);
        cached.or(known).unwrap_or(match (site.layer, site.point) {
            (Some(0), _) => Site::outer(Point::Embed),
            (Some(layer), _) => Site::block(layer - 1, Point::Output),
            (None, _) => Site::outer(Point::FinalNorm),
        })
    }

    /// Notes where the value of a site lies.
    pub(crate) fn add<E: Elem>(&mut self, site: Site, value: &Tensor<E>) {
        self.places.push((value.data().as_ptr() as usize, site));
    }
}

impl Recorder<'_> {
    fn judge<E: Activation>(
        &self,
        site: Site,
        op: &Op<'_>,
        inputs: &[&Tensor<E>],
        value: &Tensor<E>,
    ) -> Option<Judged> {
        let replay = self.replay?;
        let inputs: Option<Vec<&Tensor<f32>>> = inputs.iter().map(|x| E::as_f32(x)).collect();
        let (inputs, value, first_row) = (inputs?, E::as_f32(value)?, self.first_row);
        match (op, &inputs[..], self.beside) {
            (Op::Linear { .. }, [x], Some((role, desk))) => {
                desk.judge(role, &replay, &Linear { site, op, x, value, first_row })
            }
            _ => Some(replay.judge_at(site, op, &inputs, value, first_row)),
        }
    }
}

impl<E: Activation> Probe<E> for Recorder<'_>
where
    Values: From<Tensor<E>>,
{
    fn see(&mut self, site: Site, op: &Op<'_>, inputs: &[&Tensor<E>], value: &mut Tensor<E>) {
        let weights = weights(op);
        if let Op::Softmax { mask, .. } = op {
            // The scores were made just before the mask was known.
            self.mask = Some(*mask);
            if let Some(scores) = self.recorded.iter_mut().find(|r| r.site.point == Point::AttnScores) {
                scores.mask = Some(*mask);
            }
        }
        let mask = if site.point == Point::AttnProbs { self.mask } else { None };
        let sources = inputs.iter().enumerate().map(|(i, x)| self.sources.of(site, op, i, x)).collect();
        let judged = self.judge(site, op, inputs, value);
        self.sources.add(site, value);
        let (values, first_row) = (Values::from(value.clone()), self.first_row);
        let (coarse, normalised) = (None, false);
        let inputs = sources;
        self.recorded.push(Recorded { site, weights, mask, first_row, values, inputs, judged, coarse, normalised });
    }
}

/// The arithmetic behind a [`PathName`].
pub enum Arithmetic {
    /// The f64 oracle.
    Oracle(Oracle),
    /// A path.
    Path(Box<dyn Path>),
}

impl Arithmetic {
    /// Makes the arithmetic, on kernels of one instruction set.
    pub fn new(name: PathName, isa: Isa) -> Arithmetic {
        match name {
            PathName::Oracle => Arithmetic::Oracle(Oracle),
            PathName::Path(i) => Arithmetic::Path((PATHS[i].new)(isa)),
            PathName::Policy(i) => Arithmetic::Path(Box::new(POLICIES[i].path(isa))),
        }
    }

    /// The name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Arithmetic::Oracle(oracle) => oracle.name(),
            Arithmetic::Path(path) => path.name(),
        }
    }

    /// The kernels that were chosen.
    pub fn kernels(&self) -> String {
        match self {
            Arithmetic::Oracle(_) => "f64".to_owned(),
            Arithmetic::Path(path) => path.kernels(),
        }
    }

    /// A side that runs `tokens` through `model`, replayed if it is a path.
    pub fn side<'m>(&'m self, model: &'m Model, tokens: &'m [u32], replay: Option<Replay<'m>>) -> Box<dyn Side + 'm> {
        match self {
            Arithmetic::Oracle(oracle) => Box::new(ModelSide::new(model, oracle, tokens)),
            Arithmetic::Path(path) => Box::new(ModelSide::new(model, path.as_ref(), tokens).replayed(replay)),
        }
    }

    /// Reads copies of weights, where it is a path that can.
    pub fn adopt(&mut self, tiles: &Arc<Tiles>) {
        if let Arithmetic::Path(path) = self {
            path.adopt(tiles);
        }
    }

    /// Whether copies of weights are of use: to a path that codes activations. One that decodes weights reads them as stored.
    pub fn reads_copies(&self) -> bool {
        self.path().is_some_and(|path| path.reading(TensorType::Q4K) != Reading::Plain)
    }

    /// The path, if it is one.
    pub fn path(&self) -> Option<&dyn Path> {
        match self {
            Arithmetic::Oracle(_) => None,
            Arithmetic::Path(path) => Some(path.as_ref()),
        }
    }
}

/// Which elements of a row count: all, or for attention the keys that the mask admits, of every head.
pub(crate) struct Cells {
    cols: usize,
    heads: usize,
    keys: Option<Range<usize>>,
}

impl Cells {
    pub(crate) fn of(recorded: &Recorded, heads: usize, position: usize) -> Cells {
        let keys = recorded.mask.map(|mask| mask.keys(position - mask.start));
        Cells { cols: recorded.values.shape().1, heads, keys }
    }

    /// The counting elements of row `t`, head after head.
    pub(crate) fn read(&self, recorded: &Recorded, t: usize, out: &mut Vec<f64>) {
        recorded.values.row(t, out);
        let Some(keys) = &self.keys else { return };
        let stride = self.cols / self.heads;
        for h in 0..self.heads {
            out.copy_within(h * stride + keys.start..h * stride + keys.end, h * keys.len());
        }
        out.truncate(self.heads * keys.len());
    }

    /// The counting elements of a row.
    pub(crate) fn pick<'a, T: Copy>(&self, row: &'a [T]) -> Cow<'a, [T]> {
        let Some(keys) = &self.keys else { return Cow::Borrowed(row) };
        let heads = row.chunks_exact(self.cols / self.heads);
        Cow::Owned(heads.flat_map(|head| &head[keys.clone()]).copied().collect())
    }

    /// Index in the whole row of the `i`-th counting element.
    pub(crate) fn channel(&self, i: usize) -> usize {
        match &self.keys {
            None => i,
            Some(keys) => i / keys.len() * (self.cols / self.heads) + keys.start + i % keys.len(),
        }
    }
}
