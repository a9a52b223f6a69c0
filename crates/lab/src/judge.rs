//! Replay: what a side recorded, against what its arithmetic declares for the same inputs.

mod rows;

use std::ops::Range;

use rayon::prelude::*;
use twinpath_engine::{Op, Site, Tensor};
use twinpath_evidence::verdict::{Part, lambda};
use twinpath_evidence::{LocalSum, Residual, Statistical};
use twinpath_formats::Matrix;
use twinpath_paths::Path;
use twinpath_paths::declared::{Declared, Reading, blame, evaluate, linear};

use self::rows::{is_calm, judge_all, suspects};
use crate::contrast;
use crate::statistical::Outputs;

/// How a side is replayed.
#[derive(Clone, Copy)]
pub struct Replay<'p> {
    /// Its arithmetic.
    pub own: &'p dyn Path,
    /// The other side's, to be applied to this side's inputs: for the split of the drift.
    pub other: Option<&'p dyn Path>,
    /// Chance of a false alarm in the run.
    pub alpha: f64,
    /// Sites of the run, both sides counted.
    pub sites: usize,
    /// Positions of the run.
    pub positions: usize,
    /// Judges linear ops by the statistics of rounding, as if the rule by which their activations were coded were not known.
    pub statistical: bool,
}

/// What replay found of one value.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    /// Residuals.
    pub local: LocalSum,
    /// Why the input could not have shown a fault.
    pub idle: Option<&'static str>,
    /// Own and other arithmetic on this side's inputs: where another was asked for.
    pub replayed: Option<Replayed>,
    /// What statistics say, where they judge in place of replay.
    pub statistical: Option<Statistical>,
    /// Sites that a recording lacks and whose ops were judged with this one.
    pub covers: Vec<Site>,
}

/// Two declared arithmetics on the same inputs, row after row.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// The side's own.
    pub own: Vec<f64>,
    /// The other side's; absent where all paths declare the same.
    pub other: Option<Vec<f64>>,
}

impl Judged {
    /// Joins what was found of the rows after these.
    fn followed_by(mut self, next: Judged) -> Judged {
        self.local.merge(next.local);
        if let (Some(mine), Some(more)) = (&mut self.replayed, next.replayed) {
            mine.own.extend(more.own);
            if let (Some(mine), Some(more)) = (&mut mine.other, more.other) {
                mine.extend(more);
            }
        }
        self.statistical = match (self.statistical, next.statistical) {
            (Some(mine), Some(more)) => Some(mine.worse(more)),
            (mine, more) => mine.or(more),
        };
        self
    }
}

/// Elements of one value that are worked out in f64, rounding by rounding, the worst first.
const MOST_EXACT: usize = 4096;

impl<'p> Replay<'p> {
    /// As [`judge`](Replay::judge), each position along the path that makes it at `site`.
    pub fn judge_at(
        &self,
        site: Site,
        op: &Op<'_>,
        inputs: &[&Tensor<f32>],
        value: &Tensor<f32>,
        first_row: usize,
    ) -> Judged {
        let runs = self.runs(site, op, inputs);
        let [x] = inputs else { return self.judge(op, inputs, value, first_row) };
        match &runs[..] {
            [] => self.judge(op, inputs, value, first_row),
            [(_, one)] => one.judge(op, inputs, value, first_row),
            runs => {
                let parts = runs.iter().map(|(rows, replay)| {
                    let (x, value) = (x.rows_of(rows.clone()), value.rows_of(rows.clone()));
                    replay.judge(op, &[&x], &value, first_row + rows.start)
                });
                parts.reduce(Judged::followed_by).unwrap_or_else(|| unreachable!("several runs"))
            }
        }
    }

    /// Rows of a linear op by the paths that make them; empty for other ops, which all paths declare alike.
    fn runs(&self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f32>]) -> Vec<(Range<usize>, Self)> {
        let (Op::Linear { .. }, [x]) = (op, inputs) else { return Vec::new() };
        let mut runs: Vec<(Range<usize>, Self)> = Vec::new();
        for t in 0..x.rows() {
            let maker = |path: &'p dyn Path| path.for_row(site, op, x.row(t)).unwrap_or(path);
            let replay = Replay { own: maker(self.own), other: self.other.map(maker), ..*self };
            match runs.last_mut() {
                Some((rows, last)) if last.is_as(&replay) => rows.end = t + 1,
                _ => runs.push((t..t + 1, replay)),
            }
        }
        runs
    }

    /// Whether both replay along the same paths.
    fn is_as(&self, other: &Self) -> bool {
        let place = |path: &'p dyn Path| std::ptr::from_ref(path).cast::<()>();
        place(self.own) == place(other.own) && self.other.map(place) == other.other.map(place)
    }

    /// For a linear op of which one path makes all positions and whose residuals are judged: replay along that path.
    pub(crate) fn one_path(&self, site: Site, op: &Op<'_>, x: &Tensor<f32>) -> Option<Self> {
        match &self.runs(site, op, &[x])[..] {
            [(_, one)] if !self.statistical => Some(*one),
            _ => None,
        }
    }

    /// Judges `value`, which `op` made of `inputs`; `first_row` is the position of its first row.
    pub fn judge(&self, op: &Op<'_>, inputs: &[&Tensor<f32>], value: &Tensor<f32>, first_row: usize) -> Judged {
        if let Some(statistical) = self.judge_by_statistics(op, inputs, value, first_row) {
            let (local, statistical) = (LocalSum::default(), Some(statistical));
            return Judged { local, idle: None, replayed: None, statistical, covers: Vec::new() };
        }
        self.judge_declared(op, inputs, value, first_row, evaluate(self.own, self.other, op, inputs))
    }

    /// As [`judge`](Replay::judge) where statistics do not, with what is declared, and the values that the other arithmetic
    /// declares if it is another.
    pub(crate) fn judge_declared(
        &self,
        op: &Op<'_>,
        inputs: &[&Tensor<f32>],
        value: &Tensor<f32>,
        first_row: usize,
        (mut own, other): (Declared, Option<Vec<f64>>),
    ) -> Judged {
        let mut judged = self.judge_by_residuals(op, inputs, value, first_row, &mut own);
        judged.replayed = self.other.map(|_| Replayed { own: own.value, other });
        judged
    }

    /// As [`judge`](Replay::judge) where statistics do not, with what was declared.
    pub(crate) fn judge_and_keep(
        &self,
        op: &Op<'_>,
        inputs: &[&Tensor<f32>],
        value: &Tensor<f32>,
        first_row: usize,
    ) -> (Judged, Declared) {
        let (mut own, other) = evaluate(self.own, self.other, op, inputs);
        let mut judged = self.judge_by_residuals(op, inputs, value, first_row, &mut own);
        judged.replayed = self.other.map(|_| Replayed { own: own.value.clone(), other });
        (judged, own)
    }

    /// What is found of `own`, which is declared; elements near their tolerance are worked out again in it.
    fn judge_by_residuals(
        &self,
        op: &Op<'_>,
        inputs: &[&Tensor<f32>],
        value: &Tensor<f32>,
        first_row: usize,
        own: &mut Declared,
    ) -> Judged {
        let elements = self.positions.max(value.rows()) * value.cols();
        // Half of the run's chance of a false alarm is for elements, half for gains.
        let (lambda, gain_lambda) =
            (lambda(self.alpha / 2.0, self.sites, elements), lambda(self.alpha / 2.0, self.sites, self.positions));
        let (mut local, mut worst) = judge_all(value, own, first_row, lambda);
        if matches!(op, Op::Linear { .. }) && !is_calm(&local) {
            let flips = self.judge_linear(op, inputs, value, own, lambda);
            (local, worst) = judge_all(value, own, first_row, lambda);
            local.merge(flips);
        }
        if let Op::Norm { weight, .. } = op
            && let Some((gain, spread)) = contrast::common_gain(value, own, weight.len())
        {
            let over = gain.size.abs() / (gain_lambda * spread);
            local.add_gain(gain, over);
        }
        if let Some(worst) = worst {
            let reading = match op {
                Op::Linear { weight, .. } => self.own.reading(weight.tensor_type()),
                _ => Reading::Plain,
            };
            local.name(part(reading, op, inputs, value, own, worst), contrast::of(value, own));
        }
        let idle = idle(op, value.rows());
        Judged { local, idle, replayed: None, statistical: None, covers: Vec::new() }
    }

    /// `None` where replay is asked for, or activations are not coded. A site that comes in pieces shares its chance of a
    /// false alarm among them.
    fn judge_by_statistics(
        &self,
        op: &Op<'_>,
        inputs: &[&Tensor<f32>],
        value: &Tensor<f32>,
        first_row: usize,
    ) -> Option<Statistical> {
        let (Op::Linear { weight, bias }, [x], true) = (op, inputs, self.statistical) else { return None };
        let reading = self.own.reading(weight.tensor_type());
        let pieces = self.positions.div_ceil(value.rows().max(1));
        let alpha = self.alpha / (self.sites * pieces.max(1)) as f64;
        let outputs = Outputs { weight: *weight, bias: *bias, x, value, reading };
        (reading != Reading::Plain).then(|| outputs.judge(alpha, first_row))
    }

    /// Values in f64 and exact tolerances for elements that are near their tolerance; then, for positions with a convicted
    /// element, activations on the edge between two codes may go the other way.
    fn judge_linear(
        &self,
        op: &Op<'_>,
        inputs: &[&Tensor<f32>],
        value: &Tensor<f32>,
        own: &mut Declared,
        lambda: f64,
    ) -> LocalSum {
        let mut sum = LocalSum::default();
        let (Op::Linear { weight, bias }, [x]) = (op, inputs) else { return sum };
        let reading = self.own.reading(weight.tensor_type());
        let mut suspects = suspects(value, own);
        if suspects.is_empty() {
            return sum;
        }
        suspects.sort_by(|a, b| b.0.total_cmp(&a.0));
        suspects.truncate(MOST_EXACT);
        let exact = |i: &usize| linear::exact(*weight, *bias, x.row(i / own.cols), reading, i % own.cols);
        let exact: Vec<_> = suspects.par_iter().map(|(_, i)| exact(i)).collect();
        for ((_, i), (value, spread, bound)) in suspects.iter().zip(exact) {
            (own.value[*i], own.spread[*i], own.bound[*i]) = (value, spread, bound);
        }
        if reading == Reading::Plain {
            return sum;
        }
        for t in 0..value.rows() {
            sum.add_flips(self.flip(*weight, x.row(t), value, own, t, lambda));
        }
        sum
    }

    /// Lets activations of position `t` go the other way, if fewer elements are convicted then; how many went.
    fn flip(
        &self,
        weight: Matrix<'_>,
        x: &[f32],
        value: &Tensor<f32>,
        own: &mut Declared,
        t: usize,
        lambda: f64,
    ) -> usize {
        let at = t * own.cols;
        let convicted = |own: &Declared| {
            let of = |i: usize| LocalSum::default().add(&element(value, own, 0, at + i), lambda);
            (0..own.cols).filter(|i| of(*i)).count()
        };
        let before = convicted(own);
        if before == 0 {
            return 0;
        }
        let residual: Vec<f64> = (at..at + own.cols).map(|i| f64::from(value.data()[i]) - own.value[i]).collect();
        let (flips, added) = blame::flips(weight, self.own.reading(weight.tensor_type()), x, &residual);
        let kept = own.value[at..at + own.cols].to_vec();
        own.value[at..at + own.cols].iter_mut().zip(added).for_each(|(value, added)| *value += added);
        if convicted(own) < before {
            return flips.len();
        }
        own.value[at..at + own.cols].copy_from_slice(&kept);
        0
    }
}

/// The part of the weights that explains the worst element's row, if `reading` is how its activations were read.
pub(crate) fn part(
    reading: Reading,
    op: &Op<'_>,
    inputs: &[&Tensor<f32>],
    value: &Tensor<f32>,
    own: &Declared,
    worst: usize,
) -> Option<Part> {
    let (Op::Linear { weight, .. }, [x]) = (op, inputs) else { return None };
    let row = worst % own.cols;
    let seen: Vec<blame::Seen<'_>> = (0..value.rows())
        .map(|t| {
            let e = element(value, own, 0, t * own.cols + row);
            blame::Seen { x: x.row(t), residual: e.value - e.declared, spread: e.spread }
        })
        .collect();
    let group = blame::group(*weight, reading, row, &seen)?;
    let what = if group.minimum { "minimum" } else { "scale" }.to_owned();
    let blame::Group { block, group, units, left, .. } = group;
    Some(Part { block, group, what, units, left })
}

pub(crate) fn element(value: &Tensor<f32>, own: &Declared, first_row: usize, i: usize) -> Residual {
    Residual {
        position: first_row + i / own.cols,
        row: i % own.cols,
        value: f64::from(value.data()[i]),
        declared: own.value[i],
        spread: own.spread[i],
        bound: own.bound[i],
    }
}

/// Why a call of `rows` positions could not have shown a fault of `op`.
pub(crate) fn idle(op: &Op<'_>, rows: usize) -> Option<&'static str> {
    match op {
        Op::Rope { start: 0, .. } if rows == 1 => Some("position 0 alone: RoPE is the identity there"),
        Op::Softmax { mask, .. } | Op::Mix { mask, .. } if rows == 1 && mask.keys(0).len() == 1 => {
            Some("one key alone: its probability is 1 whatever the score, and the mask has nothing to hide")
        }
        _ => None,
    }
}
