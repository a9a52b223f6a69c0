//! The rules that other tools judge by, written anew from their documents and sources.
//!
//! Each is told more than its users can tell it: the reference, the exact values, and a run without the fault.

use twinpath_engine::Site;
use twinpath_evidence::within;

/// What a rule may look at, at one site.
pub(super) struct Legs<'l> {
    /// Where.
    pub(super) site: Site,
    /// Layers of the model.
    pub(super) layers: usize,
    /// Unit roundoff of the coarsest thing that the target does on purpose.
    pub(super) epsilon: f64,
    /// The values under test.
    pub(super) target: &'l [f64],
    /// Those of another right arithmetic.
    pub(super) reference: &'l [f64],
    /// Exact ones.
    pub(super) exact: &'l [f64],
    /// Those of a right run of the target's own arithmetic.
    pub(super) noise: &'l [f64],
}

/// A rule.
pub(super) struct Baseline {
    /// Its name.
    pub(super) name: &'static str,
    /// What it flags.
    pub(super) rule: &'static str,
    /// Which sites it flags, of all in execution order.
    pub(super) flags: fn(&[Legs<'_>]) -> Vec<bool>,
}

/// Every rule.
pub(super) const BASELINES: &[Baseline] = &[
    Baseline {
        name: "allclose",
        rule: "any |a - e| > 1e-5 + 1.3e-6 |e| (torch.testing, f32)",
        flags: |all| each(all, |l| pairs(l).any(|(a, e)| over((a - e).abs(), 1e-5 + 1.3e-6 * e.abs()))),
    },
    Baseline {
        name: "absolute and relative",
        rule: "any |a - e| > 1e-5 with |a - e| / |e| > 1e-5 (Polygraphy)",
        flags: |all| {
            each(all, |l| pairs(l).any(|(a, e)| over((a - e).abs(), 1e-5) && over((a - e).abs(), 1e-5 * e.abs())))
        },
    },
    Baseline {
        name: "NMSE",
        rule: "sum (a - e)^2 / sum e^2 > 5e-4 (test-backend-ops, matrix products)",
        flags: |all| each(all, |l| over(squares(l.target, l.reference) / norm(l.reference), 5e-4)),
    },
    Baseline { name: "cosine", rule: "cosine < 0.99", flags: |all| each(all, |l| over(0.99, cosine(l))) },
    Baseline {
        name: "cosine and largest error",
        rule: "cosine < 0.99 with max |a - e| > 1e-3, or cosine < 0.9, or max |a - e| > 1 (msprobe)",
        flags: |all| {
            each(all, |l| {
                let (cosine, most) = (cosine(l), largest(l));
                (over(0.99, cosine) && over(most, 1e-3)) || over(0.9, cosine) || over(most, 1.0)
            })
        },
    },
    Baseline {
        name: "1 - 2<x,y>/(x² + y²)",
        rule: "above 1e-3 (SGLang, DeepGEMM)",
        flags: |all| {
            each(all, |l| {
                let dot: f64 = pairs(l).map(|(a, e)| a * e).sum();
                over(1.0 - 2.0 * dot / (norm(l.target) + norm(l.reference)), 1e-3)
            })
        },
    },
    Baseline {
        name: "ratio of deviations",
        rule: "std(a) / std(e) outside 0.5 .. 2 (the published rule)",
        flags: |all| each(all, |l| !(0.5..=2.0).contains(&(deviation(l.target) / deviation(l.reference)))),
    },
    Baseline {
        name: "k C^(L+1-l) eps",
        rule: "relative L2 > 4 · 1.03^(L+1-l) · eps, eps = 2^-24, or 1/254 for 8-bit activations (TTrace's form)",
        flags: |all| {
            each(all, |l| {
                let depth = l.site.layer.map_or(l.layers, |layer| layer + 1);
                let bound = 4.0 * libm::pow(1.03, (l.layers + 1 - depth) as f64) * l.epsilon;
                over((squares(l.target, l.reference) / norm(l.reference)).sqrt(), bound)
            })
        },
    },
    Baseline {
        name: "f64 leg, twice",
        rule: "RMSE(a, f64) > 2 RMSE(right run, f64) + 1e-5 (PyTorch's minifier)",
        flags: |all| {
            each(all, |l| {
                let n = l.exact.len() as f64;
                let rmse = |x: &[f64]| (squares(x, l.exact) / n).sqrt();
                over(rmse(l.target), 2.0 * rmse(l.noise) + 1e-5)
            })
        },
    },
    Baseline {
        name: "noise leg, 1.5 times",
        rule: "relative L2 to f64 at least 1.5 times that of a right run (vLLM-Neuron)",
        flags: |all| {
            each(all, |l| {
                let error = |x: &[f64]| (squares(x, l.exact) / norm(l.exact)).sqrt();
                over(error(l.target), 1.5 * error(l.noise))
            })
        },
    },
    Baseline {
        name: "growth",
        rule: "relative L2 at least 10 times that of the site before (CRADLE's localiser)",
        flags: |all| {
            let drift: Vec<f64> =
                all.iter().map(|l| (squares(l.target, l.reference) / norm(l.reference)).sqrt()).collect();
            let before = |i: usize| if i == 0 { 0.0 } else { drift[i - 1] };
            (0..drift.len()).map(|i| over(drift[i], 10.0 * before(i).max(1e-7))).collect()
        },
    },
];

/// Whether a number is beyond a bound; one that is none is.
fn over(x: f64, bound: f64) -> bool {
    !within(x, bound)
}

fn each(all: &[Legs<'_>], flagged: impl Fn(&Legs<'_>) -> bool) -> Vec<bool> {
    all.iter().map(flagged).collect()
}

fn pairs<'l>(l: &'l Legs<'_>) -> impl Iterator<Item = (f64, f64)> + 'l {
    l.target.iter().copied().zip(l.reference.iter().copied())
}

fn squares(a: &[f64], e: &[f64]) -> f64 {
    a.iter().zip(e).map(|(a, e)| (a - e) * (a - e)).sum()
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum()
}

fn cosine(l: &Legs<'_>) -> f64 {
    pairs(l).map(|(a, e)| a * e).sum::<f64>() / (norm(l.target) * norm(l.reference)).sqrt()
}

fn largest(l: &Legs<'_>) -> f64 {
    // NaN must win.
    pairs(l).map(|(a, e)| (a - e).abs()).fold(0.0, |m, d| if within(d, m) { m } else { d })
}

fn deviation(x: &[f64]) -> f64 {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    (x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt()
}
