//! # What goes wrong
//!
//! RoPE turns with another base than the model's: the default of 10000 where the file says otherwise, or a misread number.
//!
//! # Seen in
//!
//! llama.cpp 2768 and 2773, 3090 and 3401, llama2.c 356, penzai 102.
//!
//! # What it changes
//!
//! Queries and keys after RoPE, all pairs but the first, more at later positions.
//!
//! # When it can not be seen
//!
//! At position 0; hardly in heads of few pairs.
//!
//! # Equivalent to
//!
//! Nothing. Where no usual base fits, the base is fitted to the recorded angles.

use twinpath_engine::{Op, Pairing, Rope, Tensor};

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "rope-theta", source: include_str!("rope_theta.rs"), changes };

/// Bases of published models.
const USUAL: [f64; 9] = [1e4, 5e3, 2.5e4, 1e5, 1.5e5, 5e5, 1e6, 5e6, 1e7];

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Rope { rope, heads, start } = *scene.op else { return Vec::new() };
    let Some((own, _)) = kit::theta(rope) else { return Vec::new() };
    let fitted = scene.found.and_then(|f| fit(rope, heads, start, scene.inputs[0], f.value));
    let mut bases: Vec<f64> = USUAL.to_vec();
    bases.extend(fitted.into_iter().flat_map(near));
    bases.retain(|theta| (theta / own - 1.0).abs() > 1e-9);
    bases.into_iter().map(|theta| kit::rope(format!("theta {}", kit::word(theta)), with(rope, own, theta))).collect()
}

/// Each frequency as if it were scaled alike: `f_i (θ / θ')^(2i/n)`.
fn with(rope: &Rope, own: f64, theta: f64) -> Rope {
    let n = 2.0 * rope.frequencies.len() as f64;
    let f = |(i, f): (usize, &f64)| f * libm::pow(own / theta, 2.0 * i as f64 / n);
    Rope { frequencies: rope.frequencies.iter().enumerate().map(f).collect(), ..rope.clone() }
}

/// A fitted number and the rounder ones beside it.
fn near(theta: f64) -> impl Iterator<Item = f64> {
    let digits = |n: usize| format!("{theta:.n$e}").parse().unwrap_or(theta);
    [digits(0), digits(1), digits(2), digits(4), theta].into_iter()
}

/// The base of the turn of pair 1 between two positions, refined at the last one: `f_1 = θ^(-2/n)` is at most 1 radian per
/// position, so that its turns are counted up from the first.
fn fit(rope: &Rope, heads: usize, start: usize, x: &Tensor<f32>, y: &Tensor<f32>) -> Option<f64> {
    let (dim, pairs) = (x.cols() / heads, rope.frequencies.len());
    let (a, b) = match rope.pairing {
        Pairing::Adjacent => (2, 3),
        Pairing::HalfSplit => (1, 1 + pairs),
    };
    let angle = |t: usize| {
        let (mut dot, mut cross) = (0.0, 0.0);
        for at in (0..heads).map(|h| h * dim) {
            let of = |z: &Tensor<f32>, i: usize| f64::from(z.row(t)[at + i]);
            dot += of(x, a) * of(y, a) + of(x, b) * of(y, b);
            cross += of(x, a) * of(y, b) - of(x, b) * of(y, a);
        }
        libm::atan2(cross, dot)
    };
    let mut frequency: Option<f64> = None;
    for t in (0..x.rows()).filter(|t| start + t > 0) {
        let (position, angle) = ((start + t) as f64, angle(t));
        let turns = match frequency {
            None if position > 1.0 => return None,
            None => 0.0,
            Some(f) => ((f * position - angle) / std::f64::consts::TAU).round(),
        };
        frequency = Some((angle + turns * std::f64::consts::TAU) / position);
    }
    let (scale, n) = (rope.frequencies[0], 2.0 * pairs as f64);
    frequency.map(|f| libm::pow(scale / f, n / 2.0)).filter(|theta| theta.is_finite() && *theta > 1.0)
}
