//! What is accumulated at one site, position by position: positions are summed side by side and joined in order.

use std::borrow::Cow;

use twinpath_engine::Point;
use twinpath_evidence::lanes::{Value, wide};
use twinpath_evidence::massive::Peak;
use twinpath_evidence::{DriftSum, LogitSum, Profile, SplitRow, SplitSum, StatsSum};
use twinpath_paths::simd::Kernel;

use crate::side::{Cells, Recorded, Values};

/// Points that matrices read.
pub(crate) const READ: [Point; 5] =
    [Point::AttnNorm, Point::AttnCtx, Point::FfnNorm, Point::FfnSwiglu, Point::FinalNorm];

/// Sums over positions of one site.
#[derive(Default)]
pub(crate) struct Sums {
    pub(crate) a: StatsSum,
    pub(crate) b: StatsSum,
    pub(crate) drift: DriftSum,
    pub(crate) a_oracle: DriftSum,
    pub(crate) b_oracle: DriftSum,
    pub(crate) split: SplitSum,
    pub(crate) profile: Option<Profile>,
    /// The largest value of each position of A, where matrices read it.
    pub(crate) peaks: Vec<Peak>,
    pub(crate) logits: LogitSum,
    pub(crate) a_oracle_logits: LogitSum,
    pub(crate) b_oracle_logits: LogitSum,
}

impl Sums {
    /// Joins the sums of later positions.
    pub(crate) fn merge(&mut self, later: Sums) {
        self.a.merge(&later.a);
        self.b.merge(&later.b);
        self.drift.merge(later.drift);
        self.a_oracle.merge(later.a_oracle);
        self.b_oracle.merge(later.b_oracle);
        self.split.merge(&later.split);
        self.peaks.extend(later.peaks);
        self.logits.merge(later.logits);
        self.a_oracle_logits.merge(later.a_oracle_logits);
        self.b_oracle_logits.merge(later.b_oracle_logits);
        match (&mut self.profile, later.profile) {
            (Some(mine), Some(later)) => mine.merge(later),
            (mine, later) => *mine = mine.take().or(later),
        }
    }
}

/// One site of all sides. `oracle` is absent where it does not run, and `Some(None)` where it has no such site.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a> {
    pub(crate) heads: usize,
    /// Whether norms are kept token by token.
    pub(crate) profiled: bool,
    pub(crate) a: &'a Recorded,
    pub(crate) b: Option<&'a Recorded>,
    pub(crate) oracle: Option<Option<&'a Recorded>>,
}

/// One position of it, to be summed in the instruction set that it is run on.
pub(crate) struct Position<'a> {
    pub(crate) group: &'a Group<'a>,
    pub(crate) t: usize,
}

impl Kernel for Position<'_> {
    type Output = Sums;
    #[inline(always)]
    fn run(self) -> Sums {
        let Group { heads, a, b, .. } = *self.group;
        let cells = Cells::of(a, heads, a.first_row + self.t);
        let unlike = b.is_some_and(|b| b.normalised != a.normalised);
        match (narrow(&cells, a, self.t), b.map(|b| narrow(&cells, b, self.t))) {
            (Some(row_a), None) => self.sums(&cells, &row_a[..], None),
            (Some(row_a), Some(Some(row_b))) if !unlike => self.sums(&cells, &row_a[..], Some(&row_b[..])),
            _ => {
                let (mut row_a, mut row_b) = (Vec::new(), Vec::new());
                cells.read(a, self.t, &mut row_a);
                if let Some(b) = b {
                    cells.read(b, self.t, &mut row_b);
                    alike(&mut row_a, &mut row_b, [a.normalised, b.normalised]);
                }
                self.sums(&cells, &row_a[..], b.map(|_| &row_b[..]))
            }
        }
    }
}

/// The counting elements of row `t`, if they are of f32.
#[inline(always)]
fn narrow<'a>(cells: &Cells, recorded: &'a Recorded, t: usize) -> Option<Cow<'a, [f32]>> {
    match &recorded.values {
        Values::F32(values) => Some(cells.pick(values.row(t))),
        Values::F64(_) => None,
    }
}

impl Position<'_> {
    /// Of the counting elements of both sides, or of A alone.
    #[inline(always)]
    fn sums<T: Value>(&self, cells: &Cells, row_a: &[T], row_b: Option<&[T]>) -> Sums {
        let (Group { a, b, .. }, t, mut sums) = (*self.group, self.t, Sums::default());
        let position = a.first_row + t;
        let channel = |i| cells.channel(i);
        let mut row_o = Vec::new();
        sums.a.add(row_a);
        if READ.contains(&a.site.point) {
            sums.peaks.extend(Peak::of(position, row_a));
        }
        if let (Some(b), Some(row_b)) = (b, row_b) {
            sums.b.add(row_b);
            let squares = sums.drift.add(position, row_b, row_a, channel);
            if self.group.profiled {
                let profile = sums.profile.insert(Profile::new(a.site.to_string()));
                profile.add(position, squares, [row_a, row_b], channel);
            }
            split(&mut sums.split, cells, b, t, [row_a, row_b]);
        } else {
            sums.drift.add_missing(row_a.len() as u64);
        }
        match self.group.oracle {
            None => {}
            Some(Some(o)) => {
                cells.read(o, t, &mut row_o);
                sums.a_oracle.add(position, row_a, &row_o, channel);
                if let Some(row_b) = row_b {
                    sums.b_oracle.add(position, row_b, &row_o, channel);
                }
            }
            Some(None) => sums.a_oracle.add_missing(row_a.len() as u64),
        }
        if let (Point::Logits, Some(row_b)) = (a.site.point, row_b) {
            let (mut row_a, mut row_b) = (wide(row_a), wide(row_b));
            lift(&mut row_a, a.normalised);
            lift(&mut row_b, b.is_some_and(|b| b.normalised));
            sums.logits.add(position, &row_b, &row_a);
            if !row_o.is_empty() {
                sums.a_oracle_logits.add(position, &row_a, &row_o);
                sums.b_oracle_logits.add(position, &row_b, &row_o);
            }
        }
        sums
    }
}

/// Makes log-probabilities of one side's logits where the other side has nothing else.
fn alike(a: &mut [f64], b: &mut [f64], normalised: [bool; 2]) {
    let logits = match normalised {
        [true, false] => b,
        [false, true] => a,
        _ => return,
    };
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum = max + logits.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
    logits.iter_mut().for_each(|x| *x -= sum);
}

/// Log-probabilities that a recording left out as too small count as the smallest that it has: no distribution has holes.
fn lift(row: &mut [f64], normalised: bool) {
    if normalised {
        let least = row.iter().copied().fold(f64::INFINITY, f64::min);
        row.iter_mut().filter(|x| x.is_nan()).for_each(|x| *x = least);
    }
}

/// Where A's arithmetic was applied to B's input.
#[inline(always)]
fn split<T: Value>(sum: &mut SplitSum, cells: &Cells, b: &Recorded, t: usize, [row_a, row_b]: [&[T]; 2]) {
    let Some(replayed) = b.judged.as_ref().and_then(|j| j.replayed.as_ref()) else { return };
    let cols = b.values.shape().1;
    let row = t * cols..(t + 1) * cols;
    let b_on_b = cells.pick(&replayed.own[row.clone()]);
    let a_on_b = replayed.other.as_ref().map(|values| cells.pick(&values[row]));
    let a_on_b = a_on_b.as_ref().unwrap_or(&b_on_b);
    sum.add(&SplitRow { a: &wide(row_a), b: &wide(row_b), a_on_b, b_on_b: &b_on_b });
}
