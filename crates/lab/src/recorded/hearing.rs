//! Whose arithmetic a recorded value is held to, and what it says of one.

use twinpath_engine::{Mask, Op, Tensor};
use twinpath_evidence::verdict::lambda;
use twinpath_evidence::{LocalSum, Residual};
use twinpath_paths::Path;
use twinpath_paths::declared::foreign::{self, AnyOrder, Engine, Reach};
use twinpath_paths::declared::{self, Reading, blame};

use crate::contrast;
use crate::judge::{Judged, Replay, Replayed, element, idle, part};

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

    /// How it reads the activations of a linear op.
    fn reading(&self, op: &Op<'_>) -> Reading {
        match (self, op) {
            (Arithmetic::Path(replay), Op::Linear { weight, .. }) => replay.own.reading(weight.tensor_type()),
            (Arithmetic::Engine(hearing), Op::Linear { weight, .. }) => hearing.engine.reading(weight.tensor_type()),
            _ => Reading::Plain,
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

/// An arithmetic at one value of a recording.
#[derive(Clone, Copy)]
pub struct Judge<'j> {
    /// Whose.
    pub arithmetic: Arithmetic<'j>,
    /// What inputs that are not recorded add to the tolerances.
    pub reach: &'j Reach,
    /// The position of the value's first row.
    pub first_row: usize,
}

impl<'j> Judge<'j> {
    /// What it declares of `op`; the value's rows begin `from` rows after those that the judge is of.
    pub fn declare(&self, op: &Op<'_>, inputs: &[&Tensor<f32>], from: usize) -> AnyOrder {
        let mut own = match self.arithmetic {
            Arithmetic::Path(replay) => AnyOrder::of(declared::evaluate(replay.own, None, op, inputs).0),
            Arithmetic::Engine(hearing) => foreign::evaluate(hearing.engine, op, inputs),
        };
        own.widen(self.reach, from);
        own
    }

    /// Judges `value`, which was made of `inputs`, and what was declared of it; nothing was where statistics judge.
    pub fn judge(
        &self,
        op: &Op<'_>,
        inputs: &[&Tensor<f32>],
        value: &Tensor<f32>,
        from: usize,
    ) -> (Judged, Option<AnyOrder>) {
        let first_row = self.first_row + from;
        match self.arithmetic {
            Arithmetic::Path(replay) if replay.statistical => (replay.judge(op, inputs, value, first_row), None),
            Arithmetic::Path(replay) => {
                let (judged, declared) = replay.judge_and_keep(op, inputs, value, first_row);
                (judged, Some(AnyOrder::of(declared)))
            }
            Arithmetic::Engine(hearing) => {
                let mut own = self.declare(op, inputs, from);
                let judged = hearing.judge(op, inputs, value, &mut own, (first_row, self.lambda(value)));
                (judged, Some(own))
            }
        }
    }

    /// The probabilistic tolerance of one of the elements of `value`, in spreads. Half of the run's chance of a false alarm
    /// is for elements, half for gains.
    pub fn lambda(&self, value: &Tensor<f32>) -> f64 {
        let (alpha, sites, positions) = match self.arithmetic {
            Arithmetic::Path(r) => (r.alpha, r.sites, r.positions),
            Arithmetic::Engine(h) => (h.alpha, h.sites, h.positions),
        };
        lambda(alpha / 2.0, sites, positions.max(value.rows()) * value.cols())
    }

    /// How it reads the activations of a linear op.
    pub fn reading(&self, op: &Op<'_>) -> Reading {
        self.arithmetic.reading(op)
    }

    /// The same with the arithmetic of another path, where there is one, and of no other side; `None` where no engine of this
    /// kind does as that path does.
    pub fn along<'a>(&self, path: Option<&'a dyn Path>, op: &Op<'_>) -> Option<Judge<'a>>
    where
        'j: 'a,
    {
        let arithmetic = match (self.arithmetic, path) {
            (Arithmetic::Path(replay), _) => {
                Arithmetic::Path(Replay { own: path.unwrap_or(replay.own), other: None, ..replay })
            }
            (Arithmetic::Engine(hearing), None) => Arithmetic::Engine(Hearing { other: None, ..hearing }),
            (Arithmetic::Engine(hearing), Some(path)) => {
                let Op::Linear { weight, .. } = op else { return None };
                let engine = hearing.engine.reading_as(path.reading(weight.tensor_type()))?;
                Arithmetic::Engine(Hearing { engine, other: None, ..hearing })
            }
        };
        Some(Judge { arithmetic, ..*self })
    }
}

impl Hearing<'_> {
    fn judge(
        &self,
        op: &Op<'_>,
        inputs: &[&Tensor<f32>],
        value: &Tensor<f32>,
        own: &mut AnyOrder,
        (first_row, per_element): (usize, f64),
    ) -> Judged {
        let other = self.other.map(|path| declared::evaluate(path, None, op, inputs).0);
        let mut local = LocalSum::default();
        let reading = Arithmetic::Engine(*self).reading(op);
        if let (Op::Linear { weight, .. }, [x]) = (op, inputs) {
            for t in (0..value.rows()).filter(|_| reading != Reading::Plain) {
                let row = Row { own: &mut *own, value, t, lambda: per_element };
                local.add_flips(row.flip(|residual| blame::flips(*weight, reading, x.row(t), residual)));
            }
        }
        let cells = admitted(op, value.cols());
        let mut worst: Option<(f64, usize)> = None;
        for t in 0..value.rows() {
            for i in cells(t).into_iter().map(|i| t * value.cols() + i) {
                let residual = element(value, &own.declared, first_row, i);
                let over = residual.calibrated();
                if convict(&mut local, &residual, own.sure[i], per_element) && worst.is_none_or(|(most, _)| over > most)
                {
                    worst = Some((over, i));
                }
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
        if let Some((_, worst)) = worst {
            let part = part(reading, op, inputs, value, &own.declared, worst);
            local.name(part, contrast::of(value, &own.declared));
        }
        let replayed = other.map(|other| Replayed { own: own.declared.value.clone(), other: Some(other.value) });
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

/// One element: flagged by its spread, convicted by the sure one.
pub(crate) fn convict(local: &mut LocalSum, element: &Residual, sure: f64, lambda: f64) -> bool {
    let wider = if element.spread > 0.0 { sure / element.spread } else { 1.0 };
    local.add(element, lambda * wider.max(1.0))
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
                convict(&mut local, &element(self.value, &own.declared, 0, i), own.sure[i], self.lambda);
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
