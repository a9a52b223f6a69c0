//! The other operations in any order. Sizes are those of the [`declared`](crate::declared) module's spread.

use rayon::prelude::*;
use twinpath_engine::{Mask, Op, Pairing, Rope, Tensor};

use super::{AnyOrder, Element, Engine, Kv, Sum, TINY, UNIT, gamma, spread, stored};

/// Error of an engine's exp as a multiple of `u`: two units in the last place, each at most `2 u` of the value. ggml's
/// vector exp promises 1.45, Sleef's (PyTorch) and the C libraries' 1.
const EXP: f64 = 4.0;
/// Covers terms of second order.
const SECOND_ORDER: f64 = 1.001;

type T32 = Tensor<f32>;

/// Every op but linear.
pub(super) fn evaluate(engine: Engine, op: &Op<'_>, inputs: &[&T32]) -> AnyOrder {
    match (op, inputs) {
        (Op::Norm { weight, eps }, [x]) => norm(weight, *eps, x),
        (Op::Rope { rope, heads, start }, [x]) => rotate(rope, *heads, *start, x),
        (Op::Scores { heads, kv_heads, scale }, [q, k]) => scores(engine.kv, *heads / *kv_heads, *heads, *scale, q, k),
        (Op::Softmax { heads, mask }, [s]) => softmax(*heads, *mask, s),
        (Op::Mix { heads, kv_heads, mask }, [p, v]) => mix(engine, [*heads, *kv_heads], *mask, p, v),
        (Op::Silu, [x]) => silu(x),
        _ => AnyOrder::of(crate::declared::ops::evaluate(op, inputs)),
    }
}

/// A value with an error relative to it: root of squares, root of squares that convicts, and sum of roundings.
fn relative(value: f64, squares: f64, sure: f64, roundings: f64, small: f64) -> Element {
    let size = UNIT * value.abs();
    Element {
        value,
        spread: size * squares.sqrt() + small,
        sure: size * sure.sqrt() + small,
        bound: size * roundings * SECOND_ORDER + small,
    }
}

/// Evaluates every element, positions side by side.
fn fill(rows: usize, cols: usize, one: impl Fn(usize, usize) -> Element + Sync) -> AnyOrder {
    let row = |t: usize| (0..cols).map(|i| one(t, i)).collect::<Vec<Element>>();
    let elements: Vec<Vec<Element>> = (0..rows).into_par_iter().map(row).collect();
    let mut made = AnyOrder::zeros(rows, cols);
    for (i, element) in elements.into_iter().flatten().enumerate() {
        made.set(i, element);
    }
    made
}

/// RMSNorm: the sum of squares in any order, which counts by one half, with the division, eps and its addition; the root or
/// its reciprocal within 2 units, and two multiplications in either order.
fn norm(weight: &[f32], eps: f64, x: &T32) -> AnyOrder {
    let n = weight.len();
    let mut made = AnyOrder::zeros(x.rows(), x.cols());
    for (g, group) in x.data().chunks_exact(n).enumerate() {
        let sum = Sum::of(group.iter().map(|x| f64::from(*x) * f64::from(*x)));
        let mean = sum.value / n as f64 + eps;
        let factor = 1.0 / mean.sqrt();
        let share = 1.0 / (n as f64 * mean);
        let of_sum = (sum.additions() + 2.0 * sum.squares + n as f64 * TINY * TINY) * share * share;
        let squares = 0.25 * (of_sum + 3.0) + 4.0 * 4.0 + 2.0;
        let sure = 0.25 * (n as f64 + 5.0) + 4.0 * 4.0 + 2.0;
        let roundings = 0.5 * (n as f64 + 5.0) + 4.0 + 2.0;
        for (i, (x, w)) in group.iter().zip(weight).enumerate() {
            let value = f64::from(*x) * factor * f64::from(*w);
            let small = UNIT * TINY * (1.0 + f64::from(*w).abs());
            made.set(g * n + i, relative(value, squares, sure, roundings, small));
        }
    }
    made
}

/// RoPE with angles of f32. An engine makes the frequency of pair `i` as a power of the base, whose exponent rounds and errs
/// by `|ln frequency| u`, or by `i` multiplications with one factor that is wrong by up to 2 u: together up to
/// `2 i + |ln frequency|` in one direction, and `i + 4` roundings besides. They turn the pair by that share of its angle.
/// Cosine and sine are right to 2 units; the factor on them, products and sum round.
fn rotate(rope: &Rope, heads: usize, start: usize, x: &T32) -> AnyOrder {
    let (dim, pairs) = (x.cols() / heads, rope.frequencies.len());
    let mut made = AnyOrder::zeros(x.rows(), x.cols());
    for (value, x) in made.declared.value.iter_mut().zip(x.data()) {
        *value = f64::from(*x);
    }
    for t in 0..x.rows() {
        for (i, frequency) in rope.frequencies.iter().enumerate() {
            let angle = (start + t) as f64 * frequency;
            let (c, s) = (libm::cos(angle) * rope.magnitude, libm::sin(angle) * rope.magnitude);
            let (turns, angle) = (i as f64 + 4.0, angle.abs());
            let coherent = if i == 0 { 0.0 } else { 2.0 * i as f64 + frequency.ln().abs() };
            for head in 0..heads {
                let at = t * x.cols() + head * dim;
                let (a, b) = match rope.pairing {
                    Pairing::Adjacent => (at + 2 * i, at + 2 * i + 1),
                    Pairing::HalfSplit => (at + i, at + i + pairs),
                };
                let (xa, xb) = (f64::from(x.data()[a]), f64::from(x.data()[b]));
                for (place, p, q, across) in
                    [(a, xa * c, -xb * s, -xa * s - xb * c), (b, xa * s, xb * c, xa * c - xb * s)]
                {
                    let (value, turned) = (p + q, across * angle);
                    // Cosine and sine to 2 units, the factor, the product: 4 + 1 + 1 roundings of each term.
                    let squares = (16.0 + 2.0) * (p * p + q * q)
                        + value * value
                        + (turns + coherent * coherent) * turned * turned;
                    let roundings = gamma(6.0) * (p.abs() + q.abs()) + gamma(1.0) * value.abs();
                    let bound = roundings + gamma(turns + coherent) * turned.abs() * SECOND_ORDER + 3.0 * UNIT * TINY;
                    let spread = spread(squares, 3.0);
                    made.set(place, Element { value, spread, sure: spread, bound });
                }
            }
        }
    }
    made
}

/// `scale q.k`: products in any order, of queries that may have met the scale, or its root, before.
fn scores(kv: Kv, group: usize, heads: usize, scale: f64, q: &T32, k: &T32) -> AnyOrder {
    let (dim, keys) = (q.cols() / heads, k.rows());
    let one = |t: usize, i: usize| {
        let (h, s) = (i / keys, i % keys);
        let (q, k) = (&q.row(t)[h * dim..][..dim], &k.row(s)[h / group * dim..][..dim]);
        let sum = Sum::of(q.iter().zip(k).map(|(q, k)| stored(kv, *q) * stored(kv, *k) * scale));
        of_sum(&sum, 5.0)
    };
    fill(q.rows(), heads * keys, one)
}

/// A sum of products of which each term has `each` roundings of its own.
fn of_sum(sum: &Sum, each: f64) -> Element {
    let roundings = sum.terms + each + 2.0;
    let small = roundings * UNIT * TINY;
    Element {
        value: sum.value,
        spread: spread(sum.additions() + each * sum.squares + 2.0 * sum.value * sum.value, roundings),
        sure: UNIT * roundings.sqrt() * sum.magnitude + small,
        bound: gamma(roundings) * sum.magnitude + small,
    }
}

/// Softmax of the admitted keys. The exponent rounds twice by its own size (the difference, and a factor of `log₂ e` where
/// exp is a power of two), exp errs by [`EXP`], the sum of positive terms in any order, the quotient as one or two.
fn softmax(heads: usize, mask: Mask, s: &T32) -> AnyOrder {
    let keys = s.cols() / heads;
    let row = |t: usize| {
        let admitted = mask.keys(t);
        let of = |h: usize| softmax_row(&s.row(t)[h * keys..][admitted.clone()]);
        (0..heads).map(of).collect::<Vec<Vec<Element>>>()
    };
    let rows: Vec<Vec<Vec<Element>>> = (0..s.rows()).into_par_iter().map(row).collect();
    let mut made = AnyOrder::zeros(s.rows(), s.cols());
    for (t, heads) in rows.into_iter().enumerate() {
        for (h, elements) in heads.into_iter().enumerate() {
            let at = t * s.cols() + h * keys + mask.keys(t).start;
            elements.into_iter().enumerate().for_each(|(i, e)| made.set(at + i, e));
        }
    }
    made
}

fn softmax_row(s: &[f32]) -> Vec<Element> {
    let max = s.iter().map(|s| f64::from(*s)).fold(f64::NEG_INFINITY, f64::max);
    let below: Vec<f64> = s.iter().map(|s| f64::from(*s) - max).collect();
    let sum = Sum::of(below.iter().map(|d| libm::exp(*d)));
    let z = sum.value;
    // Of key i, as a multiple of u, squared and plain.
    let own = |d: f64| (2.0 * d * d + EXP * EXP, 2.0 * d.abs() + EXP);
    let (mut shared, mut plain) = (0.0, sum.terms + 2.0);
    for d in &below {
        let share = libm::exp(*d) / z;
        shared += share * share * own(*d).0;
        plain += share * own(*d).1;
    }
    let (squares, sure) = (shared + sum.additions() / (z * z) + 2.0, shared + sum.terms + 2.0);
    let small = 2.0 * UNIT * TINY * (1.0 + 1.0 / z);
    let one = |d: &f64| {
        let (square, linear) = own(*d);
        relative(libm::exp(*d) / z, square + squares, square + sure, linear + plain, small)
    };
    below.iter().map(one).collect()
}

/// `Σ p v` over the admitted keys, in any order. Flash attention takes probabilities as they are. ggml's over values of f16
/// keeps its sum in f16 and scales it at each new maximum: two roundings of 2⁻¹¹ a key, each of a partial sum.
fn mix(engine: Engine, [heads, kv_heads]: [usize; 2], mask: Mask, p: &T32, v: &T32) -> AnyOrder {
    let (keys, dim) = (p.cols() / heads, v.cols() / kv_heads);
    let of_p = if engine.flash { Kv::F32 } else { engine.kv };
    let half = engine.flash && engine.kv == Kv::F16;
    let one = |t: usize, i: usize| {
        let (h, channel) = (i / dim, i % dim);
        let at = h / (heads / kv_heads) * dim + channel;
        let term = |s: usize| stored(of_p, p.row(t)[h * keys + s]) * stored(engine.kv, v.row(s)[at]);
        let sum = Sum::of(mask.keys(t).map(term));
        let mut element = of_sum(&sum, 1.0);
        if half {
            let (unit, roundings) = (f64::exp2(13.0) * UNIT, 2.0 * sum.terms + 1.0);
            element.spread = element.spread.hypot(unit * (2.0 * sum.additions() + sum.value * sum.value).sqrt());
            element.sure = element.sure.hypot(unit * roundings.sqrt() * sum.magnitude);
            element.bound += unit * roundings / (1.0 - unit * roundings) * sum.magnitude;
        }
        element
    };
    fill(p.rows(), heads * dim, one)
}

/// `x / (1 + e^-x)`, or `x` times the quotient: exp enters with the share `e / (1 + e)`; sum, quotient and product round.
/// Where `e` overflows f32 either answer, 0 or a tiny one, is faithful.
fn silu(x: &T32) -> AnyOrder {
    let limit = f64::from(f32::MAX);
    let one = |t: usize, i: usize| {
        let x = f64::from(x.row(t)[i]);
        let e = libm::exp(-x);
        let value = x / (1.0 + e);
        let small = UNIT * TINY * (1.0 + x.abs()) + if e > 0.99 * limit { (x / e).abs() + TINY } else { 0.0 };
        let share = EXP * e / (1.0 + e);
        let share = if share.is_finite() { share } else { EXP };
        relative(value, share * share + 4.0, share * share + 4.0, share + 4.0, small)
    };
    fill(x.rows(), x.cols(), one)
}
