//! Statistics of one side's values at one site.

use serde::{Deserialize, Serialize};

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
    /// Adds a row: two passes over it, then Chan's merge with what came before.
    pub fn add(&mut self, row: &[f64]) {
        let finite = || row.iter().copied().filter(|x| x.is_finite());
        let n = finite().count() as u64;
        self.non_finite += row.len() as u64 - n;
        if n == 0 {
            return;
        }
        let mean = finite().sum::<f64>() / n as f64;
        let m2: f64 = finite().map(|x| (x - mean) * (x - mean)).sum();
        let total = self.finite + n;
        let shift = mean - self.mean;
        self.mean += shift * n as f64 / total as f64;
        self.m2 += m2 + shift * shift * (self.finite as f64 * n as f64 / total as f64);
        self.finite = total;
        let (min, max) = self.range.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
        self.range = Some(finite().fold((min, max), |(min, max), x| (min.min(x), max.max(x))));
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
