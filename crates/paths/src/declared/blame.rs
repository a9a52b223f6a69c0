//! What a residual of a linear op points at: activations coded the other way, one group of one packed row, or one byte.

use rayon::prelude::*;
use twinpath_formats::Matrix;

use super::linear::{code, read};
use super::{Reading, SIGMA, anatomy};

/// How near the edge between two codes an activation must be for either to be believed, in steps. A faithful product
/// errs by `127 u`, 8e-6 steps; the rest is room for inputs that were themselves rounded.
const EDGE: f64 = 1e-4;
/// Activations of one position that are tried.
const MOST_FLIPS: usize = 32;
/// The largest error of a scale that is looked for: every scale of six bits or fewer.
const MOST_UNITS: f64 = 63.0;

/// An activation that may have been coded the other way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flip {
    /// Its column.
    pub column: usize,
    /// What that adds to it.
    pub step: f64,
}

/// Activations of `x` so near the edge between two codes that either is faithful, nearest first.
pub fn borderline(reading: Reading, x: &[f32]) -> Vec<Flip> {
    let Some(block) = reading.block() else { return Vec::new() };
    let mut found: Vec<(f64, Flip)> = Vec::new();
    for (b, x) in x.chunks(block).enumerate() {
        let coded = code::<1>(reading, x.as_chunks().0);
        for (i, (x, [q])) in x.iter().zip(&coded.q).enumerate() {
            let exact = f64::from(*x) * f64::from(coded.inverse[0]);
            let from_edge = 0.5 - (exact - f64::from(*q)).abs();
            let other = f64::from(*q) + (exact - f64::from(*q)).signum();
            if from_edge.abs() < EDGE && other.abs() <= 127.0 {
                let step = f64::from(coded.d[0]) * (other - f64::from(*q));
                found.push((from_edge.abs(), Flip { column: b * block + i, step }));
            }
        }
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found.truncate(MOST_FLIPS);
    found.into_iter().map(|(_, flip)| flip).collect()
}

/// Which of the borderline activations of one position went the other way, by least squares on the residuals of all rows
/// rounded to 0 or 1; beside each row, what they add to it.
pub fn flips(weight: Matrix<'_>, reading: Reading, x: &[f32], residual: &[f64]) -> (Vec<Flip>, Vec<f64>) {
    let candidates = borderline(reading, x);
    let (rows, k) = (weight.rows(), candidates.len());
    if k == 0 || residual.iter().any(|r| !r.is_finite()) {
        return (Vec::new(), vec![0.0; rows]);
    }
    let mut columns = vec![0.0; rows * k];
    columns.par_chunks_mut(k).enumerate().for_each_init(
        || vec![0.0; weight.cols()],
        |w, (row, out)| {
            weight.decode_row(row, w);
            out.iter_mut().zip(&candidates).for_each(|(out, flip)| *out = flip.step * w[flip.column]);
        },
    );
    let taken = robust(&columns, residual, k);
    let add = |row: &[f64]| row.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(c, _)| c).sum();
    let added = columns.chunks_exact(k).map(add).collect();
    let chosen = candidates.into_iter().zip(taken).filter(|(_, taken)| *taken).map(|(flip, _)| flip).collect();
    (chosen, added)
}

/// Which coefficients are 1, by least squares; then again without the tenth of the rows that fit worst, so that a row that
/// is wrong for another reason has no say.
fn robust(columns: &[f64], residual: &[f64], k: usize) -> Vec<bool> {
    let first = least_squares(columns, residual, k);
    let fitted = |row: &[f64]| row.iter().zip(&first).map(|(x, c)| x * c).sum::<f64>();
    let mut misfit: Vec<(f64, usize)> =
        columns.chunks_exact(k).zip(residual).map(|(row, y)| (y - fitted(row)).abs()).zip(0..).collect();
    misfit.sort_by(|a, b| a.0.total_cmp(&b.0));
    misfit.truncate((residual.len() - residual.len() / 10).max(k.min(residual.len())));
    let kept = || misfit.iter().map(|(_, row)| *row);
    let rows: Vec<f64> = kept().flat_map(|row| columns[row * k..(row + 1) * k].iter().copied()).collect();
    let values: Vec<f64> = kept().map(|row| residual[row]).collect();
    least_squares(&rows, &values, k).iter().map(|c| (c - 1.0).abs() < 0.5).collect()
}

/// `min ‖A c − y‖` for row-major `A` of `k` columns, by the normal equations; columns that depend on others get 0.
fn least_squares(a: &[f64], y: &[f64], k: usize) -> Vec<f64> {
    let mut m = vec![vec![0.0; k + 1]; k];
    for (row, y) in a.chunks_exact(k).zip(y) {
        for i in 0..k {
            for j in 0..k {
                m[i][j] += row[i] * row[j];
            }
            m[i][k] += row[i] * y;
        }
    }
    let smallest: Vec<f64> = (0..k).map(|i| 1e-9 * m[i][i]).collect();
    let mut solved = vec![false; k];
    for p in 0..k {
        if m[p][p] <= smallest[p] {
            continue;
        }
        solved[p] = true;
        let pivot = m[p].clone();
        for (_, row) in m.iter_mut().enumerate().filter(|(i, _)| *i != p) {
            let factor = row[p] / pivot[p];
            row.iter_mut().zip(&pivot).for_each(|(x, p)| *x -= factor * p);
        }
    }
    (0..k).map(|i| if solved[i] { m[i][k] / m[i][i] } else { 0.0 }).collect()
}

/// One position's activations, the residual of a row there, and its spread.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// `[in]`.
    pub x: &'a [f32],
    /// Recorded minus declared.
    pub residual: f64,
    /// See [`super`].
    pub spread: f64,
}

/// A group of a packed row whose scale or minimum explains the residuals of the row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// Block of the row.
    pub block: usize,
    /// Group within the block.
    pub group: usize,
    /// Whether it is the minimum, not the scale.
    pub minimum: bool,
    /// By how many units.
    pub units: i32,
    /// Largest residual left, in standard deviations.
    pub left: f64,
}

/// The group of `row` whose scale or minimum, read wrongly by a whole number of units, explains the residuals at all
/// positions to within eight standard deviations: a matched filter over all groups. Of several, the one that leaves least,
/// small errors preferred (`left²/2 + 2 ln |units|`, as if errors of `k` units were `k²` times rarer).
pub fn group(weight: Matrix<'_>, reading: Reading, row: usize, seen: &[Seen<'_>]) -> Option<Group> {
    let format = weight.format();
    let mut best: Option<(f64, Group)> = None;
    let mut read_x = vec![vec![0.0; weight.cols()]; seen.len()];
    for (out, seen) in read_x.iter_mut().zip(seen) {
        read(reading, seen.x, out);
    }
    for (block, bytes) in weight.row(row).chunks_exact(format.block_bytes()).enumerate() {
        let parts = anatomy::of(weight.tensor_type(), bytes)?;
        for (group, codes) in parts.codes.chunks(parts.group).enumerate() {
            let at = block * format.block_len() + group * parts.group;
            for minimum in [false, true] {
                let unit = |x: &Vec<f64>| -> f64 {
                    let x = &x[at..at + parts.group];
                    match minimum {
                        false => parts.d * codes.iter().zip(x).map(|(c, x)| f64::from(*c) * x).sum::<f64>(),
                        true => parts.dmin * x.iter().sum::<f64>(),
                    }
                };
                let units: Vec<f64> = read_x.iter().map(unit).collect();
                let Some((units, left)) = fit(&units, seen) else { continue };
                let score = left * left / 2.0 + 2.0 * f64::from(units.abs()).ln();
                if left <= 8.0 && best.is_none_or(|(least, _)| score < least) {
                    best = Some((score, Group { block, group, minimum, units, left }));
                }
            }
        }
    }
    best.map(|(_, group)| group)
}

/// The whole multiple of `unit` that fits the residuals, and the largest residual left in standard deviations.
fn fit(unit: &[f64], seen: &[Seen<'_>]) -> Option<(i32, f64)> {
    let weighed = |f: fn(f64, f64) -> f64| -> f64 {
        unit.iter().zip(seen).map(|(u, s)| f(*u, s.residual) / (s.spread * s.spread)).sum()
    };
    let (along, energy) = (weighed(|u, r| u * r), weighed(|u, _| u * u));
    let units = (along / energy).round();
    if !(units.abs() >= 1.0 && units.abs() <= MOST_UNITS) {
        return None;
    }
    let left = |(u, s): (&f64, &Seen<'_>)| (s.residual - units * u).abs() / (SIGMA * s.spread);
    Some((units as i32, unit.iter().zip(seen).map(left).fold(0.0, f64::max)))
}

/// A stored byte of a row of weights that is another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Byte {
    /// Its place in the row.
    pub at: usize,
    /// What it is.
    pub value: u8,
    /// Largest residual left, in standard deviations.
    pub left: f64,
}

/// The byte of `row` which, were it another, would explain the residuals at all positions to within eight standard
/// deviations: every value of every byte is tried. Of several, the one that leaves least; `None` for fewer than two
/// positions, where too many would do.
pub fn byte(weight: Matrix<'_>, reading: Reading, row: usize, seen: &[Seen<'_>]) -> Option<Byte> {
    let (length, size) = (weight.format().block_len(), weight.format().block_bytes());
    if seen.len() < 2 {
        return None;
    }
    let mut read_x = vec![vec![0.0; weight.cols()]; seen.len()];
    for (out, seen) in read_x.iter_mut().zip(seen) {
        read(reading, seen.x, out);
    }
    let mut by_size: Vec<usize> = (0..seen.len()).collect();
    by_size.sort_by(|a, b| {
        (seen[*b].residual / seen[*b].spread).abs().total_cmp(&(seen[*a].residual / seen[*a].spread).abs())
    });
    let bytes = weight.row(row);
    let try_at = |at: usize| {
        let from = at / size * length;
        let mut block = bytes[at / size * size..][..size].to_vec();
        let decode = |block: &[u8]| {
            let mut out = vec![0.0; length];
            let one = Matrix::new(weight.tensor_type(), 1, length, block);
            one.unwrap_or_else(|e| unreachable!("a block is a row of one: {e}")).decode_row(0, &mut out);
            out
        };
        let (stored, right) = (bytes[at], decode(&block));
        let mut best: Option<Byte> = None;
        for value in (0..=u8::MAX).filter(|value| *value != stored) {
            block[at % size] = value;
            let wrong = decode(&block);
            let mut left = 0.0f64;
            for t in &by_size {
                let pairs = wrong.iter().zip(&right).zip(&read_x[*t][from..from + length]);
                let moved: f64 = pairs.map(|((wrong, right), x)| (wrong - right) * x).sum();
                let residual = (seen[*t].residual - moved).abs() / (SIGMA * seen[*t].spread);
                // What is no number is beyond all.
                left = if residual.is_nan() { f64::INFINITY } else { left.max(residual) };
                if left > best.map_or(8.0, |b| b.left) {
                    break;
                }
            }
            if left <= 8.0 && best.is_none_or(|b| left < b.left) {
                best = Some(Byte { at, value, left });
            }
        }
        best
    };
    let found = (0..bytes.len()).into_par_iter().filter_map(try_at);
    found.min_by(|a, b| a.left.total_cmp(&b.left).then(a.at.cmp(&b.at)))
}
