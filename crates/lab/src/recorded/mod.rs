//! A recording on its own inputs: the forward pass runs with the recording's values in place of ours, and each of them is
//! judged against the declared arithmetic on the values that it was made of.
//!
//! The verdict of an op needs its inputs and its value in the recording, and nothing else. Where a value is missing, the
//! declared one stands in, with the tolerance that the engine's own value would have had; the next recorded site is then
//! judged for both ops, and its tolerance includes the roundings of the missing one. Through a linear op nothing is carried:
//! what is made of values that nobody recorded is inconclusive.

mod hearing;

use std::collections::BTreeMap;
use std::ops::Range;

use twinpath_engine::{Model, Numerics, Op, Point, Probe, Session, Site, Tensor};
use twinpath_evidence::LocalSum;
use twinpath_paths::declared::UNIT;
use twinpath_paths::declared::foreign::{AnyOrder, Reach, propagate};

use crate::cut::common;
use crate::error::LabError;
use crate::judge::Judged;
use crate::side::{Recorded, Side, Sources, Stage, Values, weights};

pub(crate) use hearing::convict;
pub use hearing::{Arithmetic, Hearing, Judge};

/// One value of a recording, as judged.
pub(crate) struct Heard<'h> {
    /// Where.
    pub(crate) site: Site,
    /// The op that made it.
    pub(crate) op: &'h Op<'h>,
    /// Of what.
    pub(crate) inputs: &'h [&'h Tensor<f32>],
    /// As recorded.
    pub(crate) value: &'h Tensor<f32>,
    /// Who judged it.
    pub(crate) judge: Judge<'h>,
    /// What was found.
    pub(crate) judged: &'h Judged,
    /// What was declared of it; nothing where nothing could be judged.
    pub(crate) own: Option<&'h AnyOrder>,
}

/// Somebody who hears of each value of a recording right after it was judged.
pub(crate) trait Witness {
    /// A value that was recorded.
    fn hear(&mut self, heard: &Heard<'_>);
    /// One that was not; `stand_in` is in its place.
    fn miss(&mut self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f32>], stand_in: &Tensor<f32>);
}

/// A recording as a side, judged op by op.
pub struct RecordedSide<'m> {
    model: &'m Model,
    session: Session<'m, Nothing>,
    tokens: &'m [u32],
    x: Option<Tensor<f32>>,
    values: Box<dyn Side + 'm>,
    arithmetic: Arithmetic<'m>,
    missing: BTreeMap<Site, Missing>,
    coarse: BTreeMap<Site, String>,
    witness: Option<&'m mut dyn Witness>,
    positions: Range<usize>,
}

impl<'m> RecordedSide<'m> {
    /// `values` of `tokens`, recorded or just made, as if `model` had made them.
    pub fn new(model: &'m Model, values: Box<dyn Side + 'm>, tokens: &'m [u32], arithmetic: Arithmetic<'m>) -> Self {
        RecordedSide {
            model,
            session: Session::new(model, &Nothing),
            tokens,
            x: None,
            values,
            arithmetic,
            missing: BTreeMap::new(),
            coarse: BTreeMap::new(),
            witness: None,
            positions: 0..tokens.len(),
        }
    }

    /// The same, of a recording of these positions alone: attention, which needs all before them, is not judged.
    pub(crate) fn at(self, positions: Range<usize>) -> Self {
        RecordedSide { session: self.session.after(positions.start), positions, ..self }
    }

    /// The same, with somebody who listens.
    pub(crate) fn before(self, witness: &'m mut dyn Witness) -> Self {
        RecordedSide { witness: Some(witness), ..self }
    }
}

impl Side for RecordedSide<'_> {
    fn stage(&mut self, stage: &Stage) -> Result<Vec<Recorded>, LabError> {
        let values: BTreeMap<Site, Recorded> =
            self.values.stage(stage)?.into_iter().map(|recorded| (recorded.site, recorded)).collect();
        let coarse = values.values().filter_map(|r| Some((r.site, r.coarse.clone()?)));
        self.coarse.extend(coarse);
        let mut player = Player {
            layers: self.model.config().layers,
            values,
            arithmetic: self.arithmetic,
            missing: &mut self.missing,
            coarse: &self.coarse,
            witness: self.witness.as_deref_mut(),
            sources: Sources::default(),
            first: self.positions.start,
            first_row: self.positions.start,
            recorded: Vec::new(),
        };
        let x = match (stage, self.x.take()) {
            (Stage::Embed, _) => self.session.embed(&self.tokens[self.positions.clone()], &mut player)?,
            (Stage::Block(layer), Some(x)) => self.session.block(*layer, x, &mut player),
            (Stage::Head(rows), Some(x)) => {
                if let Some(rows) = common(rows, &self.positions) {
                    player.first_row = rows.start;
                    let first = self.positions.start;
                    self.session.head(x.rows_of(rows.start - first..rows.end - first), &mut player);
                }
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
    /// The position of its first row.
    first_row: usize,
    reach: Reach,
    /// It and the missing sites that it was made of.
    chain: Vec<Site>,
    /// The value, not recorded, behind which nothing can be said.
    lost: Option<Site>,
}

/// Plays the recording back to the forward pass.
struct Player<'p, 'm> {
    layers: usize,
    values: BTreeMap<Site, Recorded>,
    arithmetic: Arithmetic<'m>,
    missing: &'p mut BTreeMap<Site, Missing>,
    coarse: &'p BTreeMap<Site, String>,
    witness: Option<&'p mut (dyn Witness + 'm)>,
    sources: Sources,
    /// The first position of the recording, and that of this stage.
    first: usize,
    first_row: usize,
    recorded: Vec<Recorded>,
}

impl Probe<f32> for Player<'_, '_> {
    fn see(&mut self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f32>], value: &mut Tensor<f32>) {
        let sources: Vec<Site> = match site.point {
            Point::FinalNorm => vec![Site::block(self.layers - 1, Point::Output)],
            _ => inputs.iter().enumerate().map(|(i, x)| self.sources.of(site, op, i, x)).collect(),
        };
        let rows = crate::change::rows(op, inputs);
        let found = self.values.remove(&site).filter(|found| found.values.shape().0 == rows);
        let carried = self.carry(op, inputs, &sources);
        *value = match found {
            Some(found) => self.hear(found, op, inputs, sources, carried),
            None => {
                let value = self.stand_in(site, op, inputs, carried);
                if let Some(witness) = &mut self.witness {
                    witness.miss(site, op, inputs, &value);
                }
                value
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
    reach: Reach,
    /// The missing input behind which nothing can be said: of a linear op, or of any op of a path.
    lost: Option<Site>,
    /// Whether it is missing at early positions only.
    early: bool,
    /// Why a recorded input is too coarse for what is made of it to be judged.
    coarse: Option<String>,
}

impl Carried {
    fn excuse(&self) -> Option<String> {
        let lost = |site| match self.early {
            true => format!("{site} is not recorded at the positions before, which attention needs"),
            false => format!("{site} is not recorded, and nothing is known of what was made of it"),
        };
        self.lost.map(lost).or_else(|| self.coarse.clone())
    }
}

impl Player<'_, '_> {
    /// Judges a recorded value, and keeps it.
    fn hear(
        &mut self,
        found: Recorded,
        op: &Op<'_>,
        inputs: &[&Tensor<f32>],
        sources: Vec<Site>,
        carried: Carried,
    ) -> Tensor<f32> {
        let (site, value) = (found.site, narrow(&found.values));
        let judge = Judge { arithmetic: self.arithmetic, reach: &carried.reach, first_row: self.first_row };
        // Behind keys that are not recorded not even the number of values is right.
        let blank = self.first > 0 && carried.lost.is_some();
        let (mut judged, mut own) = if blank { (Judged::default(), None) } else { judge.judge(op, inputs, &value, 0) };
        if let Some(excuse) = found.coarse.clone().or(carried.excuse()) {
            judged.local = LocalSum::default();
            judged.local.excuse(excuse);
            own = None;
        }
        if carried.lost.is_none() {
            judged.covers.clone_from(&carried.chain);
        }
        if let Some(witness) = &mut self.witness {
            witness.hear(&Heard { site, op, inputs, value: &value, judge, judged: &judged, own: own.as_ref() });
        }
        self.recorded.push(Recorded { weights: weights(op), inputs: sources, judged: Some(judged), ..found });
        value
    }

    /// What the missing inputs of an op are uncertain by.
    fn carry(&self, op: &Op<'_>, inputs: &[&Tensor<f32>], sources: &[Site]) -> Carried {
        let mut carried = Carried::default();
        if self.first > 0 && matches!(op, Op::Scores { .. } | Op::Mix { .. }) {
            carried.lost = sources.last().copied();
            carried.early = true;
        }
        for (which, source) in sources.iter().enumerate() {
            let Some(missing) = self.missing.get(source) else {
                let coarse = self.coarse.get(source).map(|why| format!("its input {source} was {why}"));
                carried.coarse = carried.coarse.take().or(coarse);
                continue;
            };
            carried.chain.extend(missing.chain.iter().copied());
            let from = (self.first_row - missing.first_row) * missing.cols;
            let reach = |of: &[f64]| propagate(op, inputs, which, &of[from..from + inputs[which].data().len()]);
            let of =
                |r: &Reach| Some(Reach { spread: reach(&r.spread)?, sure: reach(&r.sure)?, bound: reach(&r.bound)? });
            match missing.lost {
                Some(lost) => carried.lost = carried.lost.or(Some(lost)),
                None => match of(&missing.reach) {
                    Some(reach) => carried.reach.join(reach),
                    None => carried.lost = carried.lost.or(Some(*source)),
                },
            }
        }
        carried.chain.sort();
        carried.chain.dedup();
        carried
    }

    /// A value in the place of one that was not recorded: of an engine the declared one, rounded; of a path its own, and
    /// nothing is carried, because a recording of ours lacks a value only where somebody took it out.
    fn stand_in(&mut self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f32>], carried: Carried) -> Tensor<f32> {
        let mut chain = carried.chain;
        chain.push(site);
        let (first_row, none) = (self.first_row, Reach::default());
        if let Arithmetic::Path(replay) = self.arithmetic {
            let value = replay.own.eval(site, op, inputs);
            let lost = carried.lost.or(Some(site));
            self.missing.insert(site, Missing { cols: value.cols(), first_row, reach: none, chain, lost });
            return value;
        }
        let judge = Judge { arithmetic: self.arithmetic, reach: &carried.reach, first_row };
        let AnyOrder { declared, sure } = judge.declare(op, inputs, 0);
        let value: Vec<f32> = declared.value.iter().map(|x| *x as f32).collect();
        // Ours is rounded once more than theirs.
        let once: Vec<f64> = declared.value.iter().map(|x| UNIT * x.abs().max(f64::from(f32::MIN_POSITIVE))).collect();
        let rounded = |of: Vec<f64>| of.iter().zip(&once).map(|(of, once)| of.hypot(*once)).collect();
        let bound = declared.bound.iter().zip(&once).map(|(of, once)| of + once).collect();
        let reach = Reach { spread: rounded(declared.spread), sure: rounded(sure), bound };
        self.missing.insert(site, Missing { cols: declared.cols, first_row, reach, chain, lost: carried.lost });
        Tensor::new(declared.rows, declared.cols, value)
    }
}
