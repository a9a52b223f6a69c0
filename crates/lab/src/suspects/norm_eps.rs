//! # What goes wrong
//!
//! RMSNorm adds another epsilon than the model's, or adds it in another place: to the root, not to the mean square.
//!
//! # Seen in
//!
//! llama.cpp 2373, 2374 and 2384 (perplexity 5.8986 for 5.8283), candle 271, gpt4all 1946, gpt-neox 1345 (added to the
//! root), lit-llama 339.
//!
//! # What it changes
//!
//! The norm's value, by a factor that is near 1 but for rows of small norm.
//!
//! # When it can not be seen
//!
//! Where every row is large: 1e-5 for 1e-6 on rows of mean square 1 is a factor of 1 - 4.5e-6, which a single element
//! of f32 hardly shows, and all elements of some positions together do.
//!
//! # Equivalent to
//!
//! Nothing. Where no usual number fits, it is fitted to the recorded values.

use twinpath_engine::{Op, Tensor};

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "norm-eps", source: include_str!("norm_eps.rs"), changes };

/// Numbers of published models, and none.
const USUAL: [f64; 9] = [1e-5, 1e-6, 0.0, 1e-8, 1e-7, 1e-12, 1e-4, 1e-3, 1e-2];

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Norm { weight, eps } = *scene.op else { return Vec::new() };
    let differs = |e: &f64| (e - eps).abs() > 1e-3 * eps;
    let mut all: Vec<f64> = USUAL.into_iter().filter(differs).collect();
    let fitted = scene.found.and_then(|f| fit(weight, scene.inputs[0], f.value));
    all.extend(fitted.into_iter().flat_map(|e| [format!("{e:.0e}").parse().unwrap_or(e), e]).filter(differs));
    let mut changes: Vec<Change> = all.into_iter().map(|e| to(format!("eps {}", kit::word(e)), e)).collect();
    changes.push(kit::on("eps added to the root", on_root));
    changes
}

fn to(name: String, eps: f64) -> Change {
    kit::norm(name, move |w, _| (w.to_vec(), eps))
}

/// `x / (√m + e) = x' / √(m' + e)` for `x' = k x` with `k² = e / ((√m + e)² - m)`; then `m' + e = k² (√m + e)²`.
fn on_root(op: &Op<'_>, x: &Tensor<f32>) -> Tensor<f32> {
    let Op::Norm { weight, eps } = *op else { return x.clone() };
    let mut scaled = x.clone();
    for group in scaled.data_mut().chunks_exact_mut(weight.len()) {
        let mean = mean_square(group);
        let k = (eps / ((mean.sqrt() + eps).powi(2) - mean)).sqrt();
        group.iter_mut().for_each(|x| *x = (f64::from(*x) * k) as f32);
    }
    scaled
}

fn mean_square(group: &[f32]) -> f64 {
    group.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / group.len() as f64
}

/// `1 / g² - m` of the group with the smallest mean square `m`, where `g` is the factor that was applied.
fn fit(weight: &[f32], x: &Tensor<f32>, y: &Tensor<f32>) -> Option<f64> {
    let groups = x.data().chunks_exact(weight.len()).zip(y.data().chunks_exact(weight.len()));
    let (x, y) = groups.min_by(|a, b| mean_square(a.0).total_cmp(&mean_square(b.0)))?;
    let wide = |i: usize| (f64::from(x[i]) * f64::from(weight[i]), f64::from(y[i]));
    let (along, norm) = (0..x.len()).map(wide).fold((0.0, 0.0), |(a, n), (u, y)| (a + u * y, n + u * u));
    let factor = along / norm;
    Some(1.0 / (factor * factor) - mean_square(x)).filter(|e| e.is_finite() && *e > 0.0)
}
