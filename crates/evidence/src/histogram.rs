//! How residuals are distributed, in standard deviations.

use serde::{Deserialize, Serialize};

use crate::verdict::{CALIBRATED, SIGMA};

/// Bins of one standard deviation.
const PER_SIGMA: f64 = 2.0;
/// Bins within the calibrated tolerance, both signs.
const BINS: usize = 2 * (CALIBRATED * PER_SIGMA) as usize;

/// Counts of residuals by size and sign, in bins of half a standard deviation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Lower edge of the first bin, in standard deviations.
    pub from: f64,
    /// Width of a bin, in standard deviations.
    pub width: f64,
    /// Residuals in each bin, lower edge included; empty bins at both ends are left out.
    pub counts: Vec<u64>,
    /// Residuals of which the standard deviation is zero and which are zero, too: exact values.
    pub exact: u64,
    /// Residuals at or beyond the calibrated tolerance, and those that are no number.
    pub beyond: u64,
}

/// Where residuals beyond all bins are counted.
const BEYOND: usize = BINS;
/// Where exact values are counted.
const EXACT: usize = BINS + 1;
/// At least as many as there are places, a power of two.
const PLACES: usize = (BINS + 2).next_power_of_two();

/// Accumulates a [`Histogram`].
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSum {
    /// Of each bin, then those beyond, then exact ones.
    counts: [u64; BINS + 2],
}

impl Default for HistogramSum {
    fn default() -> Self {
        HistogramSum { counts: [0; BINS + 2] }
    }
}

/// Where a residual is counted.
pub(crate) type Place = u8;

/// Of a residual of as many spreads, where one is `spread`.
#[inline(always)]
pub(crate) fn place(spreads: f64, spread: f64) -> Place {
    let bin = spreads * (PER_SIGMA / SIGMA) + CALIBRATED * PER_SIGMA;
    // A cast that saturates would be made one by one.
    let whole = (bin + WHOLE).to_bits() >> 40 & 0xff;
    let place = if bin >= 0.0 && bin < BINS as f64 { whole } else { BEYOND as u64 };
    (if spreads == 0.0 && spread == 0.0 { EXACT as u64 } else { place }) as Place
}

/// Added to a number below 2¹¹, it leaves 40 bits of it behind the point.
const WHOLE: f64 = 1.5 * (1u64 << 12) as f64;

impl HistogramSum {
    /// Counts residuals where they belong: four neighbours in tables of their own, as equal ones would wait for each other.
    #[inline(always)]
    pub(crate) fn count(&mut self, places: &[Place]) {
        let mut counts = [[0u32; PLACES]; 4];
        for four in places.chunks(4) {
            for (counts, place) in counts.iter_mut().zip(four) {
                let count = &mut counts[usize::from(*place) % PLACES];
                *count = count.wrapping_add(1);
            }
        }
        for counts in counts {
            self.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += u64::from(count));
        }
    }

    /// Adds a residual, where one spread is `spread`.
    #[inline(always)]
    pub fn add(&mut self, residual: f64, spread: f64) {
        let spreads = if residual == 0.0 { 0.0 } else { residual / spread };
        self.counts[usize::from(place(spreads, spread))] += 1;
    }

    /// Joins what was counted elsewhere.
    pub fn merge(&mut self, other: &HistogramSum) {
        self.counts.iter_mut().zip(other.counts).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// The counts so far.
    pub fn finish(&self) -> Histogram {
        let bins = &self.counts[..BINS];
        let first = bins.iter().position(|n| *n > 0).unwrap_or(0);
        let end = bins.iter().rposition(|n| *n > 0).map_or(first, |last| last + 1);
        Histogram {
            from: first as f64 / PER_SIGMA - CALIBRATED,
            width: 1.0 / PER_SIGMA,
            counts: bins[first..end].to_vec(),
            exact: self.counts[EXACT],
            beyond: self.counts[BEYOND],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_residual_is_counted_once_where_it_belongs() {
        let mut sum = HistogramSum::default();
        for z in [-7.99, -0.25, 0.0, 0.25, 0.49, 0.51, 7.99] {
            sum.add(2.0 * SIGMA * z, 2.0);
        }
        sum.add(0.0, 0.0);
        for (residual, spread) in [(8.01, 1.0), (-8.01, 1.0), (f64::NAN, 1.0), (f64::INFINITY, 1.0), (1.0, 0.0)] {
            sum.add(SIGMA * residual, spread);
        }
        let whole = sum.finish();
        assert_eq!((whole.exact, whole.beyond, whole.counts.iter().sum::<u64>()), (1, 5, 7));
        assert_eq!((whole.from, whole.counts.len(), whole.counts[0], whole.counts[31]), (-8.0, 32, 1, 1));
        assert_eq!(whole.counts[15..18], [1, 3, 1]);
        let mut twice = sum.clone();
        twice.merge(&sum);
        assert_eq!((twice.finish().counts[16], twice.finish().beyond), (6, 10));
        let mut counted = HistogramSum::default();
        counted.count(&[0, 16, 16, 16, 16, 17, EXACT as u8]);
        assert_eq!((counted.finish().counts[..18].iter().sum::<u64>(), counted.finish().counts[16]), (6, 4));
        assert_eq!(counted.finish().exact, 1);
        let mut one = HistogramSum::default();
        one.add(0.6 * SIGMA, 1.0);
        assert_eq!((one.finish().from, one.finish().counts), (0.5, vec![1]));
        assert_eq!(HistogramSum::default().finish().counts, Vec::<u64>::new());
    }
}
