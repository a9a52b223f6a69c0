//! Statistics of one side's values at one site.

use serde::{Deserialize, Serialize};

use crate::lanes::{self, LANES, Lanes, Step};
use crate::scope::Scope;

/// Pooled statistics of the finite values in `scope`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// What the numbers speak of.
    pub scope: Scope,
    /// Values seen, non-finite ones included.
    pub count: u64,
    /// Values that are NaN or infinite; they enter no other number.
    pub non_finite: u64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation about the mean, divisor `n`.
    pub std: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
}

/// Accumulates [`Stats`] row by row.
#[derive(Debug, Clone, Default)]
pub struct StatsSum {
    finite: u64,
    non_finite: u64,
    mean: f64,
    /// Sum of squared deviations from `mean`.
    m2: f64,
    range: Option<(f64, f64)>,
}

impl StatsSum {
    /// Adds a row.
    #[inline(always)]
    pub fn add(&mut self, row: &[f64]) {
        self.merge(&StatsSum::of(row));
    }

    /// Of one row, in two passes over it.
    #[inline(always)]
    pub fn of(row: &[f64]) -> StatsSum {
        let mut sums = Sums::ZERO;
        lanes::chunks([row], &mut sums);
        let n = lanes::count(&sums.n);
        let non_finite = row.len() as u64 - n;
        if n == 0 {
            return StatsSum { non_finite, ..StatsSum::default() };
        }
        let mut deviations = Deviations { mean: lanes::total(&sums.sum) / n as f64, squares: [0.0; LANES] };
        lanes::chunks([row], &mut deviations);
        let least = sums.least.iter().copied().fold(f64::INFINITY, f64::min);
        let most = sums.most.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mean, m2) = (deviations.mean, lanes::total(&deviations.squares));
        StatsSum { finite: n, non_finite, mean, m2, range: Some((least, most)) }
    }

    /// Joins what was added to another: Chan's merge.
    pub fn merge(&mut self, other: &StatsSum) {
        self.non_finite += other.non_finite;
        let n = other.finite;
        let Some((least, most)) = other.range else { return };
        let total = self.finite + n;
        let shift = other.mean - self.mean;
        self.mean += shift * n as f64 / total as f64;
        self.m2 += other.m2 + shift * shift * (self.finite as f64 * n as f64 / total as f64);
        self.finite = total;
        let (min, max) = self.range.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
        self.range = Some((min.min(least), max.max(most)));
    }

    /// The statistics so far. Without a finite value, the numbers are 0 and `count == non_finite` says so.
    pub fn finish(&self, scope: Scope) -> Stats {
        let (min, max) = self.range.unwrap_or((0.0, 0.0));
        let variance = if self.finite == 0 { 0.0 } else { self.m2 / self.finite as f64 };
        Stats {
            scope,
            count: self.finite + self.non_finite,
            non_finite: self.non_finite,
            mean: self.mean,
            std: variance.sqrt(),
            min,
            max,
        }
    }
}

/// Of the finite values of a row.
struct Sums {
    n: [u64; LANES],
    sum: Lanes,
    least: Lanes,
    most: Lanes,
}

impl Sums {
    const ZERO: Sums =
        Sums { n: [0; LANES], sum: [0.0; LANES], least: [f64::INFINITY; LANES], most: [f64::NEG_INFINITY; LANES] };
}

impl Step<1> for Sums {
    #[inline(always)]
    fn step(&mut self, [x]: [&Lanes; 1]) {
        let finite = lanes::finite(x);
        let (low, high) = (lanes::select(x, &finite, f64::INFINITY), lanes::select(x, &finite, f64::NEG_INFINITY));
        let x = lanes::select(x, &finite, 0.0);
        for l in 0..LANES {
            self.n[l] = self.n[l].wrapping_add(finite[l]);
            self.sum[l] += x[l];
            self.least[l] = if low[l] < self.least[l] { low[l] } else { self.least[l] };
            self.most[l] = if high[l] > self.most[l] { high[l] } else { self.most[l] };
        }
    }
}

/// Squared deviations from a mean.
struct Deviations {
    mean: f64,
    squares: Lanes,
}

impl Step<1> for Deviations {
    #[inline(always)]
    fn step(&mut self, [x]: [&Lanes; 1]) {
        let x = lanes::select(x, &lanes::finite(x), self.mean);
        for l in 0..LANES {
            self.squares[l] += (x[l] - self.mean) * (x[l] - self.mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::{Positions, Values};

    #[test]
    fn rows_pool_to_the_statistics_of_all_values() {
        let mut sum = StatsSum::default();
        sum.add(&[1.0, 2.0]);
        sum.add(&[f64::NAN]);
        sum.add(&[3.0, 6.0, f64::INFINITY]);
        let scope = Scope { site: "embed".into(), positions: Positions::new(0, 3), values: Values::All };
        let s = sum.finish(scope);
        assert_eq!((s.count, s.non_finite, s.mean, s.min, s.max), (6, 2, 3.0, 1.0, 6.0));
        // Deviations -2, -1, 0, 3: variance 14/4; exact in binary up to the square root.
        assert_eq!(s.std, 3.5f64.sqrt());
    }
}
