//! Patterns in the residuals of a site that name what is wrong.

use twinpath_engine::Tensor;
use twinpath_evidence::verdict::{Contrast, ContrastKind};
use twinpath_paths::declared::{Declared, SIGMA};

/// Share of the residual's energy above which a pattern is named.
const CLEAR: f64 = 0.9;

/// The first pattern, from the narrowest to the widest, that explains nearly all of the residual; else the one that
/// explains most, if that is at least half.
pub(crate) fn of(value: &Tensor<f32>, own: &Declared) -> Option<Contrast> {
    let residual: Vec<f64> = value.data().iter().zip(&own.value).map(|(v, d)| f64::from(*v) - d).collect();
    let energy: f64 = residual.iter().map(|r| r * r).sum();
    if !(energy > 0.0 && energy.is_finite()) {
        return None;
    }
    let found = [row(&residual, own, energy), gain(&residual, own, energy), bias(&residual, own, energy)];
    let found: Vec<Contrast> = found.into_iter().flatten().chain(position(&residual, own, energy)).collect();
    let clear = found.iter().find(|c| c.share > CLEAR).cloned();
    clear.or_else(|| found.into_iter().filter(|c| c.share >= 0.5).max_by(|a, b| a.share.total_cmp(&b.share)))
}

/// `a = <r, y> / ‖y‖²`.
fn gain(residual: &[f64], own: &Declared, energy: f64) -> Option<Contrast> {
    let along: f64 = residual.iter().zip(&own.value).map(|(r, y)| r * y).sum();
    let norm: f64 = own.value.iter().map(|y| y * y).sum();
    let variance: f64 = own.value.iter().zip(&own.spread).map(|(y, s)| (SIGMA * s * y).powi(2)).sum();
    let size = along / norm;
    (norm > 0.0).then(|| Contrast {
        kind: ContrastKind::Gain,
        size,
        z: along / variance.sqrt(),
        share: size * along / energy,
    })
}

/// Sum over positions of `f` for each row.
fn per_row(own: &Declared, f: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut sums = vec![0.0; own.cols];
    for i in 0..own.value.len() {
        sums[i % own.cols] += f(i);
    }
    sums
}

/// Standard deviations of one residual.
fn z(residual: &[f64], own: &Declared, i: usize) -> f64 {
    if residual[i] == 0.0 { 0.0 } else { residual[i] / (SIGMA * own.spread[i]) }
}

fn largest(sums: &[f64]) -> Option<(usize, f64)> {
    sums.iter().copied().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))
}

/// The mean over positions of each row.
fn bias(residual: &[f64], own: &Declared, energy: f64) -> Option<Contrast> {
    if own.rows < 2 {
        return None;
    }
    let n = own.rows as f64;
    let sums = per_row(own, |i| residual[i]);
    let (row, sum) = largest(&sums)?;
    let z = per_row(own, |i| z(residual, own, i))[row] / n.sqrt();
    let share = sums.iter().map(|s| s * s / n).sum::<f64>() / energy;
    Some(Contrast { kind: ContrastKind::Bias, size: sum / n, z, share })
}

/// The row with the largest residual.
fn row(residual: &[f64], own: &Declared, energy: f64) -> Option<Contrast> {
    let squares = per_row(own, |i| residual[i] * residual[i]);
    let (row, square) = largest(&squares)?;
    let z = per_row(own, |i| z(residual, own, i).powi(2))[row].sqrt();
    let size = (square / own.rows as f64).sqrt();
    Some(Contrast { kind: ContrastKind::Row, size, z, share: square / energy })
}

/// The position with the largest residual.
fn position(residual: &[f64], own: &Declared, energy: f64) -> Option<Contrast> {
    if own.rows < 2 {
        return None;
    }
    let squares: Vec<f64> = residual.chunks(own.cols).map(|r| r.iter().map(|r| r * r).sum()).collect();
    let (t, square) = largest(&squares)?;
    let z: f64 = (t * own.cols..(t + 1) * own.cols).map(|i| z(residual, own, i).powi(2)).sum();
    let size = (square / own.cols as f64).sqrt();
    Some(Contrast { kind: ContrastKind::Position, size, z: z.sqrt(), share: square / energy })
}

/// The mean over groups of `group` values (one RMSNorm each) of the gain `<r, y> / ‖y‖²`, with its spread.
///
/// The errors of one group share the root and the sum; taken as wholly dependent, a group's gain has a spread of at most
/// `Σ |y| s / ‖y‖²`. Those of different groups are of different data, hence independent, and their squares add.
pub(crate) fn common_gain(value: &Tensor<f32>, own: &Declared, group: usize) -> Option<(Contrast, f64)> {
    let (mut sum, mut squares, mut groups) = (0.0, 0.0, 0.0);
    let spreads = own.value.chunks_exact(group).zip(own.spread.chunks_exact(group));
    for (found, (declared, spread)) in value.data().chunks_exact(group).zip(spreads) {
        let norm: f64 = declared.iter().map(|y| y * y).sum();
        if !(norm > 0.0 && norm.is_finite()) {
            continue;
        }
        sum += found.iter().zip(declared).map(|(v, y)| (f64::from(*v) - y) * y).sum::<f64>() / norm;
        squares += (declared.iter().zip(spread).map(|(y, s)| y.abs() * s).sum::<f64>() / norm).powi(2);
        groups += 1.0;
    }
    let (size, spread) = (sum / groups, f64::sqrt(squares) / groups);
    let contrast = Contrast { kind: ContrastKind::Gain, size, z: size / (SIGMA * spread), share: 1.0 };
    (groups > 0.0).then_some((contrast, spread))
}
