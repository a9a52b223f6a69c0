//! Changes: one operation done otherwise than the model says it.
//!
//! A planted fault and a suspected mistake are the same thing. [`Change::plant`] makes the value that an engine with the
//! mistake would have made; [`Change::judge`] asks whether a recorded value is what the declared arithmetic makes with the
//! mistake in it.

use std::collections::BTreeMap;
use std::ops::Range;

use half::{bf16, f16};
use twinpath_engine::{Numerics, Op, Site, Tensor};
use twinpath_evidence::{LocalSum, Residual};
use twinpath_formats::TensorType;
use twinpath_paths::declared::foreign::AnyOrder;
use twinpath_paths::declared::{Declared, SIGMA, UNIT};
use twinpath_paths::{Path, Reading};

use crate::contrast;
use crate::recorded::{Judge, convict};

type T32 = Tensor<f32>;

/// Takes rows of the value, and the op and inputs that they are made of. Rows come in order and cover the value once.
pub type Then<'t> = &'t mut dyn FnMut(Range<usize>, &Op<'_>, &[&T32]);

type Instead = dyn Fn(&Op<'_>, &[&T32], Then<'_>) + Send + Sync;

/// One way of doing an operation wrongly: other operations on other inputs, then something done to each value.
pub struct Change {
    /// What was changed to what, in words: `theta 10000`.
    pub parameter: String,
    instead: Box<Instead>,
    after: After,
    /// The path whose arithmetic is used instead of the right one's.
    along: Option<&'static str>,
}

/// What is done to each value of the changed op.
enum After {
    Nothing,
    Map(Box<dyn Fn(f64) -> f64 + Send + Sync>),
    Round(Narrow),
    /// Sums kept in a narrow type: the same value, with its roundings.
    Sums(Narrow),
}

/// A type narrower than f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Narrow {
    /// IEEE binary16.
    F16,
    /// The upper half of binary32.
    BF16,
}

impl Narrow {
    /// Both.
    pub const ALL: [Narrow; 2] = [Narrow::F16, Narrow::BF16];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Narrow::F16 => "f16",
            Narrow::BF16 => "bf16",
        }
    }

    /// The nearest value of the type, ties to even.
    pub fn round(self, x: f64) -> f64 {
        match self {
            Narrow::F16 => f16::from_f64(x).to_f64(),
            Narrow::BF16 => bf16::from_f64(x).to_f64(),
        }
    }

    /// Unit roundoff.
    fn unit(self) -> f64 {
        match self {
            Narrow::F16 => 1.0 / (1u64 << 11) as f64,
            Narrow::BF16 => 1.0 / (1u64 << 8) as f64,
        }
    }
}

impl Change {
    /// Another op, on the same or other inputs.
    pub fn op(
        parameter: impl Into<String>,
        instead: impl Fn(&Op<'_>, &[&T32], Then<'_>) + Send + Sync + 'static,
    ) -> Change {
        Change { parameter: parameter.into(), instead: Box::new(instead), after: After::Nothing, along: None }
    }

    /// `f` of each value of the right op.
    pub fn map(parameter: impl Into<String>, f: impl Fn(f64) -> f64 + Send + Sync + 'static) -> Change {
        Change::op(parameter, unchanged).then(f)
    }

    /// `f` of each value of the first input.
    pub fn of_input(parameter: impl Into<String>, f: impl Fn(f64) -> f64 + Send + Sync + 'static) -> Change {
        Change::op(parameter, |_, x, then| {
            let zeros = Tensor::zeros(x[0].rows(), x[0].cols());
            then(0..x[0].rows(), &Op::Add, &[x[0], &zeros]);
        })
        .then(f)
    }

    /// Each value of the right op rounded to a narrow type.
    pub fn round(parameter: impl Into<String>, to: Narrow) -> Change {
        Change { after: After::Round(to), ..Change::op(parameter, unchanged) }
    }

    /// The right op with its sums kept in a narrow type.
    pub fn sums(parameter: impl Into<String>, to: Narrow) -> Change {
        Change { after: After::Sums(to), ..Change::op(parameter, unchanged) }
    }

    /// The right op along another path.
    pub fn along(parameter: impl Into<String>, path: &'static str) -> Change {
        Change { along: Some(path), ..Change::op(parameter, unchanged) }
    }

    /// The same, with `f` of each value.
    pub fn then(self, f: impl Fn(f64) -> f64 + Send + Sync + 'static) -> Change {
        Change { after: After::Map(Box::new(f)), ..self }
    }

    /// The value with the mistake in it; `path` makes the ops.
    pub fn plant(&self, path: &dyn Path, site: Site, op: &Op<'_>, inputs: &[&T32]) -> T32 {
        let other = self.along.and_then(twinpath_paths::path);
        let path = other.as_deref().unwrap_or(path);
        let mut made: Option<T32> = None;
        (self.instead)(op, inputs, &mut |_, op, inputs| {
            let more = path.eval(site, op, inputs);
            match &mut made {
                Some(made) => made.append(&more),
                None => made = Some(more),
            }
        });
        let mut made = made.unwrap_or_else(|| unreachable!("a change makes every row"));
        let each: &dyn Fn(f64) -> f64 = match &self.after {
            After::Nothing => return made,
            After::Map(f) => f,
            After::Round(to) => &|x| to.round(x),
            After::Sums(to) => return crate::narrow::sums(op, inputs, *to).unwrap_or(made),
        };
        made.data_mut().iter_mut().for_each(|y| *y = each(f64::from(*y)) as f32);
        made
    }

    /// Whether `value` is what the judge's arithmetic makes with the mistake in it. Tolerances of missing inputs are those of
    /// the op as the model says it: they are of the size of roundings in either.
    pub fn judge(&self, judge: &Judge<'_>, op: &Op<'_>, inputs: &[&T32], value: &T32) -> LocalSum {
        let mut sum = LocalSum::default();
        let other = self.along.and_then(twinpath_paths::path);
        let Some(judge) = judge.along(other.as_deref(), op) else { return sum };
        (self.instead)(op, inputs, &mut |rows, op, inputs| {
            let value = value.rows_of(rows.clone());
            sum.merge(match self.after {
                After::Nothing => judge.judge(op, inputs, &value, rows.start).0.local,
                _ => self.judge_after(&judge, op, inputs, &value, rows.start),
            });
        });
        sum
    }

    fn judge_after(&self, judge: &Judge<'_>, op: &Op<'_>, inputs: &[&T32], value: &T32, from: usize) -> LocalSum {
        let own = judge.declare(op, inputs, from);
        let lambda = judge.lambda(value);
        let mut sum = LocalSum::default();
        if let After::Sums(to) = self.after
            && !looks_random(&own.declared, value, to)
        {
            return sum; // nothing judged, so that nothing is explained
        }
        for (i, y) in value.data().iter().enumerate() {
            let (declared, spread, sure, bound) = self.element(&own, i, lambda);
            if declared.is_infinite() && f64::from(*y) == declared {
                continue; // an overflow that the change makes, too
            }
            let (position, row) = (judge.first_row + from + i / value.cols(), i % value.cols());
            convict(&mut sum, &Residual { position, row, value: f64::from(*y), declared, spread, bound }, sure, lambda);
        }
        sum
    }

    /// Value, spread, the spread that convicts, and bound of one element after the change.
    fn element(&self, own: &AnyOrder, i: usize, lambda: f64) -> (f64, f64, f64, f64) {
        let (value, spread, bound) = (own.declared.value[i], own.declared.spread[i], own.declared.bound[i]);
        let sure = own.sure[i];
        match &self.after {
            After::Nothing => (value, spread, sure, bound),
            After::Map(f) => {
                let (made, spread, bound) = mapped(f.as_ref(), value, spread, bound);
                (made, spread, mapped(f.as_ref(), value, sure, bound).1, bound)
            }
            After::Round(to) => {
                let (made, spread, bound) = rounded(*to, value, sure, lambda);
                (made, spread, spread, bound)
            }
            After::Sums(to) => {
                let wider = to.unit() / UNIT;
                (value, spread * wider, sure * wider, bound * wider)
            }
        }
    }
}

/// Whether the residuals are errors of sums kept in `to`: of that size, all over, and without a pattern. The order of the
/// additions is unknown; sequential sums of a few thousand terms err by up to 8 times the spread of the declared order,
/// sums of blocks by down to a tenth of it.
fn looks_random(declared: &Declared, value: &T32, to: Narrow) -> bool {
    let size = |s: f64| SIGMA * s * to.unit() / UNIT;
    let all = || value.data().iter().zip(declared.value.iter().zip(&declared.spread));
    let in_units = all().map(|(y, (d, s))| (f64::from(*y) - d) / size(*s)).filter(|z| z.is_finite());
    let (squares, moved, n) = in_units
        .fold((0.0, 0u64, 0u64), |(squares, moved, n), z| (squares + z * z, moved + u64::from(z.abs() > 0.02), n + 1));
    let rms = (squares / n as f64).sqrt();
    (0.1..8.0).contains(&rms) && 2 * moved > n && contrast::of(value, declared).is_none()
}

fn unchanged(op: &Op<'_>, x: &[&T32], then: Then<'_>) {
    then(0..rows(op, x), op, x);
}

/// Rows of the value of `op`.
pub fn rows(op: &Op<'_>, inputs: &[&T32]) -> usize {
    match op {
        Op::Embed { tokens, .. } => tokens.len(),
        _ => inputs[0].rows(),
    }
}

/// `f` of a value known to within its spread: the slope carries the spread, and `f` itself, a handful of f32 operations on
/// numbers of the size of `value` and `f(value)`, adds four roundings of each.
fn mapped(f: &(dyn Fn(f64) -> f64 + Send + Sync), value: f64, spread: f64, bound: f64) -> (f64, f64, f64) {
    let made = f(value);
    let slope = |by: f64| if by > 0.0 { (f(value + by) - f(value - by)).abs() / 2.0 } else { 0.0 };
    let own = 4.0 * UNIT * (made.abs() + slope(value.abs() * 1e-3) * 1e3 + f64::from(f32::MIN_POSITIVE));
    (made, slope(spread) + own, slope(bound) + own)
}

/// A value rounded to a narrow type. Where it lies so near the edge between two of them that f32 roundings decide, either is
/// right; elsewhere only the one, exactly.
fn rounded(to: Narrow, value: f64, spread: f64, lambda: f64) -> (f64, f64, f64) {
    let (low, high) = (to.round(value - lambda * spread), to.round(value + lambda * spread));
    if low == high {
        return (low, 0.0, 0.0);
    }
    let half = (high - low) / 2.0;
    // A hair more than half a step, so that the ends are within it whatever the division rounds to.
    (low + half, 1.001 * half / lambda, 1.001 * half)
}

/// A path that makes mistakes at some sites, and all else as `inner` does. It declares what `inner` declares.
pub struct Planted {
    inner: Box<dyn Path>,
    changes: BTreeMap<Site, Change>,
}

impl Planted {
    /// Plants `changes` in `inner`.
    pub fn new(inner: Box<dyn Path>, changes: BTreeMap<Site, Change>) -> Planted {
        Planted { inner, changes }
    }

    /// Where it goes wrong, and how.
    pub fn mistakes(&self) -> impl Iterator<Item = (&Site, &str)> {
        self.changes.iter().map(|(site, change)| (site, change.parameter.as_str()))
    }
}

impl Numerics for Planted {
    type Elem = f32;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn eval(&self, site: Site, op: &Op<'_>, inputs: &[&T32]) -> T32 {
        match self.changes.get(&site) {
            Some(change) => change.plant(self.inner.as_ref(), site, op, inputs),
            None => self.inner.eval(site, op, inputs),
        }
    }
}

impl Path for Planted {
    fn describe(&self) -> &'static str {
        "A path with planted mistakes."
    }

    fn kernels(&self) -> String {
        format!("{} with planted mistakes", self.inner.kernels())
    }

    fn reading(&self, weights: TensorType) -> Reading {
        self.inner.reading(weights)
    }

    fn for_row(&self, site: Site, op: &Op<'_>, x: &[f32]) -> Option<&dyn Path> {
        self.inner.for_row(site, op, x)
    }
}
