//! Statistics of one side's values at one site.

use serde::{Deserialize, Serialize};

use crate::lanes::{self, Value};
use crate::scope::Scope;

/// Values that are taken in together: with two vectors of eight, a sum need not wait for the one before.
const WIDE: usize = 16;

type Wide = [f64; WIDE];

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
    pub fn add<T: Value>(&mut self, row: &[T]) {
        self.merge(&StatsSum::of(row));
    }

    /// Of one row, in two passes over it: the least value and the sum, then the most and the deviations, because LLVM makes
    /// one long chain of two comparisons that stand beside each other.
    #[inline(always)]
    pub fn of<T: Value>(row: &[T]) -> StatsSum {
        let (whole, rest) = row.as_chunks();
        let last = lanes::filled(rest, f64::NAN);
        let mut sums = Sums::ZERO;
        for x in whole {
            sums.finite(&lanes::widened(x));
        }
        // A sum that is not finite says that some values are not, or that they are too large to be added up.
        let finite = lanes::total(&sums.sum).is_finite();
        if finite {
            sums.n[0] = (WIDE * whole.len()) as u64;
        } else {
            sums = Sums::ZERO;
            for x in whole {
                sums.any(&lanes::widened(x));
            }
        }
        sums.any(&last);
        let n = lanes::count(&sums.n);
        let non_finite = row.len() as u64 - n;
        if n == 0 {
            return StatsSum { non_finite, ..StatsSum::default() };
        }
        let mean = lanes::total(&sums.sum) / n as f64;
        let mut deviations = Deviations { mean, squares: [0.0; WIDE], most: [f64::NEG_INFINITY; WIDE] };
        for x in whole {
            match finite {
                true => deviations.finite(&lanes::widened(x)),
                false => deviations.any(&lanes::widened(x)),
            }
        }
        deviations.any(&last);
        let least = sums.least.iter().copied().fold(f64::INFINITY, f64::min);
        let most = deviations.most.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        StatsSum { finite: n, non_finite, mean, m2: lanes::total(&deviations.squares), range: Some((least, most)) }
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
    n: [u64; WIDE],
    sum: Wide,
    least: Wide,
}

impl Sums {
    const ZERO: Sums = Sums { n: [0; WIDE], sum: [0.0; WIDE], least: [f64::INFINITY; WIDE] };

    /// Takes in values that are finite, but for their number.
    #[inline(always)]
    fn finite(&mut self, x: &Wide) {
        for l in 0..WIDE {
            self.sum[l] += x[l];
            self.least[l] = if x[l] < self.least[l] { x[l] } else { self.least[l] };
        }
    }

    /// Takes in those values that are finite.
    #[inline(always)]
    fn any(&mut self, x: &Wide) {
        let finite = lanes::finite(x);
        let (low, x) = (lanes::select(x, &finite, f64::INFINITY), lanes::select(x, &finite, 0.0));
        for l in 0..WIDE {
            self.n[l] = self.n[l].wrapping_add(finite[l]);
            self.sum[l] += x[l];
            self.least[l] = if low[l] < self.least[l] { low[l] } else { self.least[l] };
        }
    }
}

/// Of the finite values of a row, once their mean is known.
struct Deviations {
    mean: f64,
    squares: Wide,
    most: Wide,
}

impl Deviations {
    /// Takes in values that are finite.
    #[inline(always)]
    fn finite(&mut self, x: &Wide) {
        for l in 0..WIDE {
            self.squares[l] += (x[l] - self.mean) * (x[l] - self.mean);
            self.most[l] = if x[l] > self.most[l] { x[l] } else { self.most[l] };
        }
    }

    /// Takes in those values that are finite.
    #[inline(always)]
    fn any(&mut self, x: &Wide) {
        let finite = lanes::finite(x);
        let (high, x) = (lanes::select(x, &finite, f64::NEG_INFINITY), lanes::select(x, &finite, self.mean));
        for l in 0..WIDE {
            self.squares[l] += (x[l] - self.mean) * (x[l] - self.mean);
            self.most[l] = if high[l] > self.most[l] { high[l] } else { self.most[l] };
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

    #[test]
    fn a_value_that_is_not_finite_costs_the_others_nothing_wherever_it_is() {
        let finite = [1.0, -7.0, 2.5, 0.25, 3.0, 64.0, -0.5, 8.0, 5.0, 6.0, 4.0, -3.0, 12.0, 0.75, 1.5, 9.0, 7.0, -2.0];
        let (sum, count) = (finite.iter().sum::<f64>(), finite.len() as f64);
        let m2: f64 = finite.iter().map(|x| (x - sum / count) * (x - sum / count)).sum();
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for at in 0..=finite.len() {
                let mut row = finite.map(|x| x as f32).to_vec();
                row.insert(at, bad as f32);
                let found = StatsSum::of(&row);
                assert_eq!((found.finite, found.non_finite, found.range), (18, 1, Some((-7.0, 64.0))), "{bad} at {at}");
                // Their sum is exact. A square rounds thrice, the sum of 18 positive ones 18 times, on either side: 42 halves.
                assert!(
                    (found.m2 - m2).abs() <= 21.0 * f64::EPSILON * m2 && found.mean == sum / count,
                    "{bad} at {at}"
                );
            }
        }
        let huge = StatsSum::of(&[f64::MAX; 17]);
        assert_eq!((huge.finite, huge.non_finite, huge.range), (17, 0, Some((f64::MAX, f64::MAX))));
    }
}
