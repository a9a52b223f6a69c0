//! # What goes wrong
//!
//! Positions, angles, or the table of cosines and sines are kept in f16 or bf16.
//!
//! # Seen in
//!
//! transformers 29285, 25681 and 29496, candle 3520, sglang-jax 1472 and 1473.
//!
//! # What it changes
//!
//! Queries and keys after RoPE: with a narrow table all alike, with narrow angles more at later positions, with narrow
//! positions from position 257 (bf16) or 2049 (f16) on.
//!
//! # When it can not be seen
//!
//! At position 0; narrow positions on short prompts.
//!
//! # Equivalent to
//!
//! Nothing.

use twinpath_engine::{Op, Pairing, Rope, Tensor};

use super::{Scene, Suspect};
use crate::change::{Change, Narrow, rows};

pub(super) const SUSPECT: Suspect =
    Suspect { name: "rope-precision", source: include_str!("rope_precision.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Rope { .. } = *scene.op else { return Vec::new() };
    let of = |narrow: Narrow| {
        let angles = turned(format!("angles in {}", narrow.name()), move |p, f| narrow.round(p * f), |z| z);
        let table = turned(format!("table in {}", narrow.name()), |p, f| p * f, move |z| narrow.round(z));
        let positions = turned(format!("positions in {}", narrow.name()), move |p, f| narrow.round(p) * f, |z| z);
        [angles, table, positions]
    };
    Narrow::ALL.into_iter().flat_map(of).collect()
}

/// Each pair turned by hand, as two products and a sum: `x cos` and `±y sin` are made first, and added by the right
/// arithmetic.
fn turned(
    parameter: String,
    angle: impl Fn(f64, f64) -> f64 + Send + Sync + 'static,
    round: impl Fn(f64) -> f64 + Send + Sync + 'static,
) -> Change {
    Change::op(parameter, move |op, x, then| {
        let Op::Rope { rope, heads, start } = *op else { return then(0..rows(op, x), op, x) };
        let (mut own, mut other) = (x[0].clone(), Tensor::zeros(x[0].rows(), x[0].cols()));
        for t in 0..x[0].rows() {
            for (i, f) in rope.frequencies.iter().enumerate() {
                let turn = angle((start + t) as f64, *f);
                let (c, s) = (round(libm::cos(turn) * rope.magnitude), round(libm::sin(turn) * rope.magnitude));
                for (a, b) in pairs(rope, heads, x[0].cols(), i) {
                    let (xa, xb) = (f64::from(x[0].row(t)[a]), f64::from(x[0].row(t)[b]));
                    (own.row_mut(t)[a], own.row_mut(t)[b]) = ((xa * c) as f32, (xb * c) as f32);
                    (other.row_mut(t)[a], other.row_mut(t)[b]) = ((-xb * s) as f32, (xa * s) as f32);
                }
            }
        }
        then(0..x[0].rows(), &Op::Add, &[&own, &other]);
    })
}

/// Places of the `i`-th pair of every head.
fn pairs(rope: &Rope, heads: usize, cols: usize, i: usize) -> impl Iterator<Item = (usize, usize)> {
    let (a, b) = match rope.pairing {
        Pairing::Adjacent => (2 * i, 2 * i + 1),
        Pairing::HalfSplit => (i, i + rope.frequencies.len()),
    };
    (0..heads).map(move |h| (h * cols / heads + a, h * cols / heads + b))
}
