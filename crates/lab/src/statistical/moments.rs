//! What rounding of the activations may do to each output, and to sums of them.

use std::ops::Range;

use rayon::prelude::*;
use twinpath_engine::rng::SplitMix64;
use twinpath_formats::Matrix;

/// Row ranges whose sums are made apart and added in order, so that nothing depends on the number of threads.
const PARTS: usize = 16;
/// Draws for `tr Q²`, over all positions: its relative error is about `√(2 / (draws · ν))`.
const DRAWS: usize = 32;

/// Activations before rounding, what rounding is believed to add, and the exact products of what was not rounded.
pub(super) struct Inputs<'a> {
    pub(super) weight: Matrix<'a>,
    pub(super) positions: usize,
    /// `[T, in]`.
    pub(super) error: Vec<f64>,
    /// `[T, in / block]`: steps of the codes.
    pub(super) steps: Vec<f64>,
    /// Values that share a step.
    pub(super) block: usize,
    /// `[T, out]`.
    pub(super) exact: &'a [f64],
    /// Of the random signs.
    pub(super) seed: u64,
}

/// Per output `[T, out]`, and sums.
pub(super) struct Moments {
    /// Variance by tier E.
    pub(super) variance: Vec<f64>,
    /// By tier U.
    pub(super) uniform: Vec<f64>,
    /// The worst case.
    pub(super) worst: Vec<f64>,
    /// `W e`: what the rounding at hand does.
    pub(super) rounding: Vec<f64>,
    /// `Σ_i e_i² (Wᵀ y)_i²` over all positions: the variance of `Σ d · y`.
    pub(super) along: f64,
    /// `tr Q²`, estimated.
    pub(super) squares: f64,
    /// `Var ‖d‖²`.
    pub(super) spread: f64,
}

/// The same of a range of rows.
struct Part {
    rows: Range<usize>,
    per_output: [Vec<f64>; 4],
    gradient: Vec<f64>,
    drawn: Vec<f64>,
    columns: Vec<f64>,
}

impl Inputs<'_> {
    fn cols(&self) -> usize {
        self.weight.cols()
    }

    fn draws(&self) -> usize {
        DRAWS.div_ceil(self.positions.max(1))
    }

    pub(super) fn moments(&self) -> Moments {
        let (outputs, cols, per) = (self.weight.rows(), self.cols(), self.draws());
        let size = outputs.div_ceil(PARTS).max(1);
        let ranges: Vec<Range<usize>> =
            (0..outputs).step_by(size).map(|from| from..(from + size).min(outputs)).collect();
        let signs = self.signed_errors(per, self.seed);
        let parts: Vec<Part> = ranges.into_par_iter().map(|rows| self.part(rows, &signs)).collect();
        let zeros = || vec![0.0; self.positions * outputs];
        let mut moments = Moments {
            variance: zeros(),
            uniform: zeros(),
            worst: zeros(),
            rounding: zeros(),
            along: 0.0,
            squares: 0.0,
            spread: 0.0,
        };
        let (mut gradient, mut columns) = (vec![0.0; self.positions * cols], vec![0.0; cols]);
        let mut drawn = vec![0.0; self.positions * per * cols];
        for part in parts {
            let all = [&mut moments.variance, &mut moments.uniform, &mut moments.worst, &mut moments.rounding];
            for (all, mine) in all.into_iter().zip(&part.per_output) {
                for (i, row) in part.rows.clone().enumerate() {
                    for t in 0..self.positions {
                        all[t * outputs + row] = mine[i * self.positions + t];
                    }
                }
            }
            add(&mut gradient, &part.gradient);
            add(&mut drawn, &part.drawn);
            add(&mut columns, &part.columns);
        }
        for t in 0..self.positions {
            let error = &self.error[t * cols..(t + 1) * cols];
            let weighed = |values: &[f64]| error.iter().zip(values).map(|(e, v)| (e * v).powi(2)).sum::<f64>();
            moments.along += weighed(&gradient[t * cols..(t + 1) * cols]);
            let draws = &drawn[t * per * cols..(t + 1) * per * cols];
            let squares = draws.chunks_exact(cols).map(weighed).sum::<f64>() / per as f64;
            // Signs have no fourth moment beyond their second: the diagonal does not vary.
            let diagonal: f64 = error.iter().zip(&columns).map(|(e, c)| (e * e * c).powi(2)).sum();
            moments.squares += squares.max(diagonal);
            moments.spread += 2.0 * (squares - diagonal).max(0.0);
        }
        moments
    }

    /// `per` copies of each position's errors, with random signs.
    fn signed_errors(&self, per: usize, seed: u64) -> Vec<f64> {
        let mut random = SplitMix64::new(seed);
        let rows = self.error.chunks_exact(self.cols().max(1)).flat_map(|row| std::iter::repeat_n(row, per));
        rows.flatten().map(|e| if random.next_u64() >> 63 == 0 { *e } else { -*e }).collect()
    }

    fn part(&self, rows: Range<usize>, signs: &[f64]) -> Part {
        let (cols, outputs) = (self.cols(), self.weight.rows());
        let zeros = || vec![0.0; rows.len() * self.positions];
        let mut part = Part {
            rows: rows.clone(),
            per_output: [zeros(), zeros(), zeros(), zeros()],
            gradient: vec![0.0; self.positions * cols],
            drawn: vec![0.0; signs.len()],
            columns: vec![0.0; cols],
        };
        let mut w = vec![0.0; cols];
        for (i, row) in rows.enumerate() {
            self.weight.decode_row(row, &mut w);
            let norms: Vec<(f64, f64)> = w
                .chunks(self.block)
                .map(|w| w.iter().fold((0.0, 0.0), |(one, two), w| (one + w.abs(), two + w * w)))
                .collect();
            part.columns.iter_mut().zip(&w).for_each(|(c, w)| *c += w * w);
            for t in 0..self.positions {
                let error = &self.error[t * cols..(t + 1) * cols];
                let steps = self.steps[t * norms.len()..(t + 1) * norms.len()].iter().zip(&norms);
                let at = i * self.positions + t;
                let products = || error.iter().zip(&w).map(|(e, w)| e * w);
                part.per_output[0][at] = products().map(|p| p * p).sum();
                part.per_output[1][at] = steps.clone().map(|(s, (_, two))| s * s / 12.0 * two).sum();
                part.per_output[2][at] = steps.map(|(s, (one, _))| s / 2.0 * one).sum();
                part.per_output[3][at] = products().sum();
                add_times(&mut part.gradient[t * cols..(t + 1) * cols], self.exact[t * outputs + row], &w);
            }
            for (signs, drawn) in signs.chunks_exact(cols).zip(part.drawn.chunks_exact_mut(cols)) {
                let along: f64 = signs.iter().zip(&w).map(|(s, w)| s * w).sum();
                add_times(drawn, along, &w);
            }
        }
        part
    }

    /// `‖W (e ± signs)‖²` over all positions, `replicates` times.
    pub(super) fn draw(&self, replicates: usize) -> Vec<f64> {
        let cols = self.cols();
        let signs = self.signed_errors(replicates, self.seed.wrapping_add(1));
        let outputs = self.weight.rows();
        let size = outputs.div_ceil(PARTS).max(1);
        let starts: Vec<usize> = (0..outputs).step_by(size).collect();
        let part = |from: usize| {
            let (mut sums, mut w) = (vec![0.0; replicates], vec![0.0; cols]);
            for row in from..(from + size).min(outputs) {
                self.weight.decode_row(row, &mut w);
                for (i, signs) in signs.chunks_exact(cols).enumerate() {
                    let d: f64 = signs.iter().zip(&w).map(|(s, w)| s * w).sum();
                    sums[i % replicates] += d * d;
                }
            }
            sums
        };
        let parts: Vec<Vec<f64>> = starts.into_par_iter().map(part).collect();
        let mut sums = vec![0.0; replicates];
        parts.iter().for_each(|part| add(&mut sums, part));
        sums
    }
}

fn add(sum: &mut [f64], more: &[f64]) {
    sum.iter_mut().zip(more).for_each(|(s, m)| *s += m);
}

fn add_times(sum: &mut [f64], factor: f64, values: &[f64]) {
    sum.iter_mut().zip(values).for_each(|(s, v)| *s += factor * v);
}
