//! What may be asked of another engine: the same mathematics, with the order of its additions, its exp and its angles
//! unknown.
//!
//! An [`Engine`] says the little that must be known: how activations are read where they meet weights, and in which type
//! keys and values are kept. Three tolerances, as for our own paths, but of any order of summation:
//!
//! * **spread**: the larger of three orders' root sum of squares of all that is rounded: the natural order of the terms,
//!   the reversed one, and the mean over all orders. For `n` terms `p` with sum `y` a random subset of `m` has the mean
//!   square `(m/n)² y² + (m/n)(1 - m/n) n/(n-1) Σ(p - y/n)²`; summed over `m` and with `Σp²` in place of the smaller
//!   `Σ(p - y/n)²` that is below `n (y²/3 + Σp²/6)` and its remainder `y²/2 + Σp²/6`. It flags (see [`super::SIGMA`]).
//! * **sure**: `u √(k) Σ|p|` with `k` roundings, whatever the order: of any tree of additions the squares of the nodes are
//!   at most `Σ|p|` times the sum over terms of `|p|` times their depth, and no depth exceeds `k` (Higham and Mary 2019,
//!   Theorem 2.4, is the sequential case). Beyond `λ` of it a value is convicted.
//! * **bound**: `γ_k Σ|p|`.

mod linear;
mod ops;
mod propagate;
#[cfg(test)]
mod tests;

use half::{bf16, f16};
use twinpath_engine::{Op, Tensor};
use twinpath_formats::TensorType;

use super::{Declared, Reading, TINY, UNIT, gamma};

pub use propagate::propagate;

/// How an engine reads the activations that meet weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activations {
    /// As they are: PyTorch on weights of f32, and whatever decodes weights first.
    F32,
    /// As ggml's dot products of each weight type do: Q8_K, Q8_0, Q8_1, f16, bf16 or f32 (`vec_dot_type` of its type table).
    Ggml,
}

/// The type that keys and values are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kv {
    /// f32.
    F32,
    /// IEEE binary16; the operand that meets them is rounded to it too, as in ggml.
    F16,
    /// bfloat16, likewise.
    BF16,
}

/// What is known of another engine's arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engine {
    /// How activations are read.
    pub activations: Activations,
    /// What the cache holds.
    pub kv: Kv,
    /// Whether attention is one pass over the keys, with scores that are never whole.
    pub flash: bool,
}

impl Engine {
    /// In words, for records.
    pub fn describe(self) -> String {
        let activations = match self.activations {
            Activations::F32 => "activations as they are",
            Activations::Ggml => "activations coded as ggml does for each weight type",
        };
        let kv = match self.kv {
            Kv::F32 => "f32",
            Kv::F16 => "f16",
            Kv::BF16 => "bf16",
        };
        let flash = if self.flash { ", flash attention (over f16 values it may sum in f16)" } else { "" };
        format!("{activations}, keys and values in {kv}{flash}, sums in any order")
    }

    fn read(self, weights: TensorType) -> Read {
        use TensorType::{BF16, F16, F32, IQ4NL, IQ4XS, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
        match (self.activations, weights) {
            (Activations::F32, _) | (Activations::Ggml, F32) => Read::Float(Kv::F32),
            (Activations::Ggml, F16) => Read::Float(Kv::F16),
            (Activations::Ggml, BF16) => Read::Float(Kv::BF16),
            (Activations::Ggml, Q4_0 | Q5_0 | Q8_0 | IQ4NL) => Read::Coded(Reading::Q8_0),
            (Activations::Ggml, Q4_1 | Q5_1) => Read::Q8_1,
            (Activations::Ggml, Q2K | Q3K | Q4K | Q5K | Q6K | IQ4XS) => Read::Coded(Reading::Q8K),
        }
    }

    /// The same engine with activations that are read as a path of ours reads those that meet such weights; `None` where no
    /// engine does.
    pub fn reading_as(self, reading: Reading) -> Option<Engine> {
        let activations = match reading {
            Reading::Plain => Activations::F32,
            Reading::Q8K | Reading::Q8_0 => Activations::Ggml,
            Reading::Q8x32 => return None,
        };
        Some(Engine { activations, ..self })
    }

    /// How it codes activations, where it does: for the question whether one was coded the other way.
    pub fn reading(self, weights: TensorType) -> Reading {
        match self.read(weights) {
            Read::Float(_) => Reading::Plain,
            Read::Coded(reading) => reading,
            Read::Q8_1 => Reading::Q8_0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// Rounded to a float type.
    Float(Kv),
    /// Coded.
    Coded(Reading),
    /// As Q8_0; what meets the minimums is the sum of a block, rounded to f16.
    Q8_1,
}

/// `x` in the type `kv`.
fn stored(kv: Kv, x: f32) -> f64 {
    match kv {
        Kv::F32 => f64::from(x),
        Kv::F16 => f16::from_f32(x).to_f64(),
        Kv::BF16 => bf16::from_f32(x).to_f64(),
    }
}

/// A value in its declared semantics, with the tolerances of any order.
#[derive(Debug, Clone, PartialEq)]
pub struct AnyOrder {
    /// Value, spread and bound.
    pub declared: Declared,
    /// The spread that convicts.
    pub sure: Vec<f64>,
}

/// One element.
#[derive(Debug, Clone, Copy)]
struct Element {
    value: f64,
    spread: f64,
    sure: f64,
    bound: f64,
}

impl AnyOrder {
    fn zeros(rows: usize, cols: usize) -> AnyOrder {
        AnyOrder { declared: Declared::zeros(rows, cols), sure: vec![0.0; rows * cols] }
    }

    fn set(&mut self, i: usize, e: Element) {
        self.declared.set(i, e.value, e.spread, e.bound);
        self.sure[i] = e.sure;
    }

    /// Where no sum is, or its order is known, the spread convicts too.
    pub fn of(declared: Declared) -> AnyOrder {
        AnyOrder { sure: declared.spread.clone(), declared }
    }

    /// Adds what the inputs are uncertain by to the tolerances; `reach` begins `rows` rows before.
    pub fn widen(&mut self, reach: &Reach, rows: usize) {
        if reach.bound.is_empty() {
            return;
        }
        let from = rows * self.declared.cols;
        add_squares(&mut self.declared.spread, &reach.spread[from..]);
        add_squares(&mut self.sure, &reach.sure[from..]);
        self.declared.bound.iter_mut().zip(&reach.bound[from..]).for_each(|(own, more)| *own += more);
    }
}

/// How far the uncertainty of its inputs carries each element of a value; empty where they are certain.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reach {
    /// Of the spread.
    pub spread: Vec<f64>,
    /// Of the spread that convicts.
    pub sure: Vec<f64>,
    /// Of the bound.
    pub bound: Vec<f64>,
}

impl Reach {
    /// Adds that of another input.
    pub fn join(&mut self, other: Reach) {
        if self.bound.is_empty() {
            *self = other;
            return;
        }
        add_squares(&mut self.spread, &other.spread);
        add_squares(&mut self.sure, &other.sure);
        self.bound.iter_mut().zip(&other.bound).for_each(|(own, more)| *own += more);
    }
}

/// Roundings of one op are independent of those of another.
fn add_squares(own: &mut [f64], more: &[f64]) {
    own.iter_mut().zip(more).for_each(|(own, more)| *own = own.hypot(*more));
}

/// A sum of terms, as far as it can be told without the order of its additions.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    terms: f64,
    value: f64,
    magnitude: f64,
    /// `Σ p²`.
    squares: f64,
    /// Sum of the partial sums in natural order, and of their squares.
    partial: f64,
    partial_squares: f64,
}

impl Sum {
    fn of(terms: impl Iterator<Item = f64>) -> Sum {
        let mut sum = Sum::default();
        for p in terms {
            sum.terms += 1.0;
            sum.value += p;
            sum.magnitude += p.abs();
            sum.squares += p * p;
            sum.partial += sum.value;
            sum.partial_squares += sum.value * sum.value;
        }
        sum
    }

    /// Squares of all partial sums: the largest of the three orders.
    fn additions(&self) -> f64 {
        let (n, y) = (self.terms, self.value);
        // The reversed order has the partial sums `y - s`, shifted by one.
        let reversed = n * y * y - 2.0 * y * self.partial + self.partial_squares + y * y;
        let mean = n * (y * y / 3.0 + self.squares / 6.0) + y * y / 2.0 + self.squares / 6.0;
        self.partial_squares.max(reversed).max(mean)
    }
}

/// `op` on `inputs` as `engine` does it, whatever the order of its additions.
///
/// # Panics
/// When the inputs are not those of the op.
pub fn evaluate(engine: Engine, op: &Op<'_>, inputs: &[&Tensor<f32>]) -> AnyOrder {
    match (*op, inputs) {
        (Op::Linear { weight, bias }, [x]) => linear::evaluate(weight, bias, x, engine.read(weight.tensor_type())),
        _ => ops::evaluate(engine, op, inputs),
    }
}

/// `u √(squares)` with `roundings` errors below that of a subnormal.
fn spread(squares: f64, roundings: f64) -> f64 {
    super::spread(squares, roundings)
}
