//! The operations that all paths of f32 activations share, in f64, each with its own error model.
//!
//! Sizes are those of the [module's](super) spread: what is rounded times how strongly the result depends on it. `E` is the
//! error of exp in units of `u`.

use twinpath_engine::{Mask, Op, Pairing, Rope, Tensor};
use twinpath_formats::Matrix;

use super::gemm::LANES;
use super::{Declared, TINY, UNIT, gamma, spread};
use crate::math::MAX_EXP_ERROR_ULPS;
use crate::simd::{Isa, Kernel};

/// Error of exp as a multiple of `u`: one unit in the last place is at most `2 u` of the value.
const EXP: f64 = 2.0 * MAX_EXP_ERROR_ULPS;
/// Covers terms of second order, all below 2⁻¹⁰ of the first.
const SECOND_ORDER: f64 = 1.001;

type T32 = Tensor<f32>;

/// Every op but linear.
pub(super) fn evaluate(op: &Op<'_>, inputs: &[&T32]) -> Declared {
    match (op, inputs) {
        (Op::Embed { table, tokens }, []) => embed(table, tokens),
        (Op::Norm { weight, eps }, [x]) => norm(weight, *eps, x),
        (Op::Rope { rope, heads, start }, [x]) => rotate(rope, *heads, *start, x),
        (Op::Scores { heads, kv_heads, scale }, [q, k]) => scores(*heads, *kv_heads, *scale, q, k),
        (Op::Softmax { heads, mask }, [s]) => softmax(*heads, *mask, s),
        (Op::Mix { heads, kv_heads, mask }, [p, v]) => mix(*heads, *kv_heads, *mask, p, v),
        (Op::Silu, [x]) => silu(x),
        (Op::Multiply, [x, y]) => zip(x, y, |x, y| x * y),
        (Op::Add, [x, y]) => zip(x, y, |x, y| x + y),
        (op, inputs) => unreachable!("{op:?} does not take {} inputs", inputs.len()),
    }
}

/// A value that is rounded `times` times, each error relative to it.
#[inline(always)]
fn rounded(value: f64, times: f64) -> (f64, f64, f64) {
    let bound = gamma(times) * value.abs() + times * UNIT * TINY;
    (value, spread(times * value * value, times), bound)
}

/// Each weight rounded once to f32.
fn embed(table: &Matrix<'_>, tokens: &[u32]) -> Declared {
    let mut made = Declared::zeros(tokens.len(), table.cols());
    let mut row = vec![0.0; table.cols()];
    for (t, token) in tokens.iter().enumerate() {
        table.decode_row(*token as usize, &mut row);
        for (i, w) in row.iter().enumerate() {
            let (value, spread, bound) = rounded(*w, 1.0);
            made.set(t * row.len() + i, value, spread, bound);
        }
    }
    made
}

/// A sum of squares of terms and of partial sums, in sixteen lanes and a tree.
#[derive(Default)]
struct LaneSum {
    lanes: [f64; LANES],
    squares: f64,
    magnitude: f64,
}

impl LaneSum {
    fn of(terms: impl Iterator<Item = f64>) -> LaneSum {
        let mut sum = LaneSum::default();
        for (i, term) in terms.enumerate() {
            let lane = &mut sum.lanes[i % LANES];
            *lane += term;
            sum.squares += *lane * *lane;
            sum.magnitude += term.abs();
        }
        for width in [8, 4, 2, 1] {
            for l in 0..width {
                sum.lanes[l] += sum.lanes[l + width];
                sum.squares += sum.lanes[l] * sum.lanes[l];
            }
        }
        sum
    }

    fn value(&self) -> f64 {
        self.lanes[0]
    }
}

/// RMSNorm. With `Q = Σ x²` and `f = 1 / √(Q/n + eps)`, the result `x f w` depends on a relative error in `Q/n + eps` by
/// one half; the sum's roundings, the division, eps as f32 and its addition are of that kind. Root, reciprocal and the two
/// multiplications count in full.
fn norm(weight: &[f32], eps: f64, x: &T32) -> Declared {
    let n = weight.len();
    let mut made = Declared::zeros(x.rows(), x.cols());
    for (g, group) in x.data().chunks_exact(n).enumerate() {
        let sum = LaneSum::of(group.iter().map(|x| f64::from(*x) * f64::from(*x)));
        let mean = sum.value() / n as f64 + eps;
        let factor = 1.0 / mean.sqrt();
        // Relative to `mean`: what the sum contributes, with the absolute error of squares that are subnormal.
        let share = 1.0 / (n as f64 * mean);
        let of_sum = (sum.squares + n as f64 * TINY * TINY) * share * share;
        let squares = 0.25 * (of_sum + 3.0) + 4.0;
        let additions = n.div_ceil(LANES) as f64 + 4.0;
        let relative = gamma(0.5 * (additions + 3.0) + 4.0) * SECOND_ORDER;
        for (i, (x, w)) in group.iter().zip(weight).enumerate() {
            let value = f64::from(*x) * factor * f64::from(*w);
            // The product with the factor may be subnormal, and its error then meets the weight.
            let small = UNIT * TINY * (1.0 + f64::from(*w).abs());
            let spread = UNIT * value.abs() * squares.sqrt() + small;
            made.set(g * n + i, value, spread, value.abs() * relative + small);
        }
    }
    made
}

/// RoPE: `a c - b s` with cosine and sine rounded once, each product once, the sum once. What does not rotate is exact.
fn rotate(rope: &Rope, heads: usize, start: usize, x: &T32) -> Declared {
    let (dim, pairs) = (x.cols() / heads, rope.frequencies.len());
    let mut made = Declared::zeros(x.rows(), x.cols());
    for (value, x) in made.value.iter_mut().zip(x.data()) {
        *value = f64::from(*x);
    }
    for t in 0..x.rows() {
        let turns = rope.frequencies.iter().map(|f| (start + t) as f64 * f);
        let turns: Vec<_> = turns.map(|a| (libm::cos(a) * rope.magnitude, libm::sin(a) * rope.magnitude)).collect();
        for head in 0..heads {
            let at = t * x.cols() + head * dim;
            for (i, (c, s)) in turns.iter().enumerate() {
                let (a, b) = match rope.pairing {
                    Pairing::Adjacent => (at + 2 * i, at + 2 * i + 1),
                    Pairing::HalfSplit => (at + i, at + i + pairs),
                };
                let (xa, xb) = (f64::from(x.data()[a]), f64::from(x.data()[b]));
                for (place, p, q) in [(a, xa * c, -xb * s), (b, xa * s, xb * c)] {
                    let value = p + q;
                    // At position 0 cosine and sine are exact.
                    let roundings = if *s == 0.0 && *c == 1.0 { 0.0 } else { 2.0 };
                    let squares = roundings * (p * p + q * q) + if roundings > 0.0 { value * value } else { 0.0 };
                    let bound = gamma(1.5 * roundings) * (p.abs() + q.abs()) + 3.0 * UNIT * TINY;
                    made.set(place, value, spread(squares, 3.0), bound);
                }
            }
        }
    }
    made
}

/// `scale q.k`: the sixteen-lane dot, scale as f32, one multiplication.
fn scores(heads: usize, kv_heads: usize, scale: f64, q: &T32, k: &T32) -> Declared {
    let (dim, keys) = (q.cols() / heads, k.rows());
    let mut made = Declared::zeros(q.rows(), heads * keys);
    let roundings = (dim.div_ceil(LANES) + 4 + 2) as f64;
    let one = |t: usize, h: usize, s: usize| {
        let (q, k) = (&q.row(t)[h * dim..][..dim], &k.row(s)[h / (heads / kv_heads) * dim..][..dim]);
        let dot = LaneSum::of(q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)));
        let value = dot.value() * scale;
        let squares = (dot.squares + dim as f64 * TINY * TINY) * scale * scale + 2.0 * value * value;
        let bound = gamma(roundings) * dot.magnitude * scale.abs() + roundings * UNIT * TINY * (1.0 + scale.abs());
        (value, spread(squares, 1.0), bound)
    };
    made.fill(|t, i| one(t, i / keys, i % keys));
    made
}

/// Softmax. `p_j = e^(s_j - m) / Z`: the difference rounds by `u |s_j - m|`, which exp turns into a relative error of that
/// size, and exp adds `E`; the sum's own roundings are relative to `Z`, the exponentials enter it with their share; the
/// quotient rounds once. Keys that the mask hides are exactly 0.
fn softmax(heads: usize, mask: Mask, s: &T32) -> Declared {
    let keys = s.cols() / heads;
    let mut made = Declared::zeros(s.rows(), s.cols());
    for t in 0..s.rows() {
        for h in 0..heads {
            let admitted = mask.keys(t);
            let s: Vec<f64> = s.row(t)[h * keys..][admitted.clone()].iter().map(|s| f64::from(*s)).collect();
            let at = t * heads * keys + h * keys + admitted.start;
            softmax_row(&s, admitted.start, at, &mut made);
        }
    }
    made
}

fn softmax_row(s: &[f64], first_lane: usize, at: usize, made: &mut Declared) {
    let max = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = s.iter().map(|s| libm::exp(s - max)).collect();
    // Keys begin in the lane of their position.
    let zeros = std::iter::repeat_n(0.0, first_lane % LANES);
    let sum = LaneSum::of(zeros.chain(e.iter().copied()));
    let z = sum.value();
    // Difference and exponential of key i, as a multiple of u, squared and plain.
    let own = |i: usize| ((s[i] - max).powi(2) + EXP * EXP, (s[i] - max).abs() + EXP);
    let (mut squares, mut plain) = (sum.squares / (z * z), (s.len().div_ceil(LANES) + 1 + 4) as f64);
    for i in 0..s.len() {
        let share = e[i] / z;
        squares += share * share * own(i).0;
        plain += share * own(i).1;
    }
    for i in 0..s.len() {
        let p = e[i] / z;
        // Tiny exponentials and quotients are subnormal.
        let small = 2.0 * UNIT * TINY * (1.0 + 1.0 / z);
        let spread = UNIT * p * (own(i).0 + squares + 1.0).sqrt() + small;
        let bound = UNIT * p * (own(i).1 + plain + 1.0) * SECOND_ORDER + small;
        made.set(at + i, p, spread, bound);
    }
}

/// `Σ p v` in key order, one FMA each.
fn mix(heads: usize, kv_heads: usize, mask: Mask, p: &T32, v: &T32) -> Declared {
    let (keys, dim) = (p.cols() / heads, v.cols() / kv_heads);
    let mut made = Declared::zeros(p.rows(), heads * dim);
    let one = |t: usize, i: usize| {
        let (h, channel) = (i / dim, i % dim);
        let (mut sum, mut squares, mut magnitude) = (0.0, 0.0, 0.0);
        let admitted = mask.keys(t);
        let roundings = admitted.len() as f64;
        for s in admitted {
            let value = v.row(s)[h / (heads / kv_heads) * dim + channel];
            let term = f64::from(p.row(t)[h * keys + s]) * f64::from(value);
            sum += term;
            squares += sum * sum;
            magnitude += term.abs();
        }
        (sum, spread(squares, roundings), gamma(roundings) * magnitude + roundings * UNIT * TINY)
    };
    made.fill(one);
    made
}

/// `x / (1 + e^-x)`: exp enters with the share `e / (1 + e)`, the sum and the quotient round once each. Where `e` is
/// infinite in f32 the declared value is 0; next to that place either answer is faithful.
fn silu(x: &T32) -> Declared {
    let isa = Isa::detect();
    let mut made = Declared::zeros(x.rows(), x.cols());
    made.fill_rows(|t, made| isa.run(Silu { x: x.row(t), made }));
    made
}

/// A row of it.
struct Silu<'a> {
    x: &'a [f32],
    made: [&'a mut [f64]; 3],
}

impl Kernel for Silu<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let limit = f64::from(f32::MAX);
        let [value, spread, bound] = self.made;
        let made = value.iter_mut().zip(spread).zip(bound);
        for (x, ((value, spread), bound)) in self.x.iter().zip(made) {
            let x = f64::from(*x);
            let e = exp(-x);
            let quotient = x / (1.0 + e);
            let (at_edge, beyond) = (e > 0.999 * limit, e > 1.001 * limit);
            let share = EXP * e / (1.0 + e);
            let small = UNIT * TINY;
            let edge = (x / e).abs() + TINY;
            let plain = UNIT * quotient.abs() * (share * share + 2.0).sqrt() + small;
            let most = UNIT * quotient.abs() * (share + 2.0) * SECOND_ORDER + small;
            *value = if beyond { 0.0 } else { quotient };
            *spread = if at_edge { edge } else { plain };
            *bound = if at_edge { edge } else { most };
        }
    }
}

/// `e^x` to some units of 2⁻⁵², in steps that LLVM vectorises; what is beyond 2^±1022 is that. `x = k ln 2 + r` with `r` at
/// most half of ln 2, whose series' fourteenth term is below 2⁻⁵⁷.
#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    // ln 2 in a part of 32 bits, whose multiples are exact, and the rest of it.
    const LN_2: [f64; 2] = [f64::from_bits(0x3fe6_2e42_fee0_0000), f64::from_bits(0x3dea_39ef_3579_3c76)];
    /// Above it, f64 holds whole numbers alone, in their low bits.
    const ROUND: f64 = 1.5 * (1u64 << 52) as f64;
    let limit = 1022.0 * std::f64::consts::LN_2;
    let within = if x > limit { limit } else { x };
    let within = if within < -limit { -limit } else { within };
    let k = within * std::f64::consts::LOG2_E + ROUND;
    let whole = k - ROUND;
    let r = (-whole).mul_add(LN_2[1], (-whole).mul_add(LN_2[0], within));
    let mut series = 1.0;
    for n in [13.0, 12.0, 11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        series = (r * (1.0 / n)).mul_add(series, 1.0);
    }
    series * f64::from_bits((k.to_bits() << 52).wrapping_add(1.0f64.to_bits()))
}

/// One rounding.
fn zip(x: &T32, y: &T32, f: impl Fn(f64, f64) -> f64 + Sync) -> Declared {
    let isa = Isa::detect();
    let mut made = Declared::zeros(x.rows(), x.cols());
    made.fill_rows(|t, made| isa.run(Zip { x: x.row(t), y: y.row(t), f: &f, made }));
    made
}

/// A row of it.
struct Zip<'a, F> {
    x: &'a [f32],
    y: &'a [f32],
    f: &'a F,
    made: [&'a mut [f64]; 3],
}

impl<F: Fn(f64, f64) -> f64> Kernel for Zip<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let [value, spread, bound] = self.made;
        let made = value.iter_mut().zip(spread).zip(bound);
        for ((x, y), ((value, spread), bound)) in self.x.iter().zip(self.y).zip(made) {
            (*value, *spread, *bound) = rounded((self.f)(f64::from(*x), f64::from(*y)), 1.0);
        }
    }
}
