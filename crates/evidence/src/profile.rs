//! The size of each token's residual stream on both sides, and what is massive in it.
//!
//! A statistic pooled over tokens is that of the largest ones: where a few tokens carry nearly all of the norm (Sun et al.
//! 2024, massive activations), a ratio of pooled numbers says which tokens were pooled, not how arithmetic drifts.

use serde::{Deserialize, Serialize};

use crate::drift::Squares;
use crate::lanes::Value;
use crate::massive::median_size;

/// Magnitude that an activation exceeds to be massive (Sun et al. 2024).
pub const MASSIVE: f64 = 100.0;
/// Times the median magnitude of its row that it exceeds, too.
pub const TIMES_MEDIAN: f64 = 1000.0;
/// Ratio of norms, against the median ratio of the site, above which a token stands out.
pub const UNEVEN: f64 = 2.0;
/// Times the median norm above which a token is large: seven positions of which one is that much larger have, pooled, four
/// times the root mean square of any other.
pub const LARGE: f64 = 10.0;
/// Massive activations that are listed for a site; the others are counted.
const MOST_LISTED: usize = 8;

/// Norms of each token at one site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Text form of the site.
    pub site: String,
    /// Norm of A's row at each position.
    pub a: Vec<f64>,
    /// Of B's.
    pub b: Vec<f64>,
    /// Of their difference.
    pub drift: Vec<f64>,
    /// The largest massive activations.
    pub massive: Vec<Massive>,
    /// All of them.
    pub massive_count: usize,
}

/// One massive activation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Massive {
    /// Token position.
    pub position: usize,
    /// Channel.
    pub channel: usize,
    /// A's value.
    pub a: f64,
    /// B's value.
    pub b: f64,
    /// Whether it is massive in one side only.
    pub one_sided: bool,
}

impl Profile {
    /// Adds one position of both sides, whose squares are those of B's drift from A; `channels` maps an index of the rows to
    /// the channel to report.
    #[inline(always)]
    pub fn add<T: Value>(
        &mut self,
        position: usize,
        squares: Squares,
        [a, b]: [&[T]; 2],
        channels: impl Fn(usize) -> usize,
    ) {
        self.a.push(squares.reference.sqrt());
        self.b.push(squares.value.sqrt());
        self.drift.push(squares.difference.sqrt());
        if has_large(a) || has_large(b) {
            self.note_massive(position, a, b, channels);
        }
    }

    fn note_massive<T: Value>(&mut self, position: usize, a: &[T], b: &[T], channels: impl Fn(usize) -> usize) {
        let (least_a, least_b) = (threshold(a), threshold(b));
        for (i, (x, y)) in a.iter().zip(b).enumerate() {
            let (x, y): (f64, f64) = ((*x).into(), (*y).into());
            let massive = (x.abs() > least_a, y.abs() > least_b);
            if massive.0 || massive.1 {
                self.massive_count += 1;
                let one_sided = massive.0 != massive.1;
                self.massive.push(Massive { position, channel: channels(i), a: x, b: y, one_sided });
            }
        }
        self.keep_largest();
    }

    fn keep_largest(&mut self) {
        self.massive.sort_by(|p, q| q.a.abs().total_cmp(&p.a.abs()));
        self.massive.truncate(MOST_LISTED);
    }

    /// Joins later positions of the same site.
    pub fn merge(&mut self, later: Profile) {
        self.a.extend(later.a);
        self.b.extend(later.b);
        self.drift.extend(later.drift);
        self.massive.extend(later.massive);
        self.massive_count += later.massive_count;
        self.keep_largest();
    }

    /// An empty one.
    pub fn new(site: String) -> Profile {
        Profile { site, a: Vec::new(), b: Vec::new(), drift: Vec::new(), massive: Vec::new(), massive_count: 0 }
    }

    /// Root mean square over all positions over that of the last one, for A and B: what a comparison of unequal positions
    /// would show. Absent where the last row is all zero on one side.
    pub fn all_over_last(&self) -> Option<[f64; 2]> {
        let of = |norms: &[f64]| {
            let last = norms.last().filter(|n| **n > 0.0)?;
            Some((norms.iter().map(|n| n * n).sum::<f64>() / norms.len() as f64).sqrt() / last)
        };
        Some([of(&self.a)?, of(&self.b)?])
    }

    /// The largest position of A with its norm over the median one, if it stands out.
    pub fn large(&self) -> Option<(usize, f64)> {
        let mut sorted = self.a.clone();
        sorted.sort_by(f64::total_cmp);
        let median = *sorted.get(sorted.len() / 2)?;
        let at = (0..self.a.len()).max_by(|i, j| self.a[*i].total_cmp(&self.a[*j]))?;
        let times = self.a[at] / median;
        (times.is_finite() && times >= LARGE).then_some((at, times))
    }

    /// The position whose ratio of norms is farthest from the median one, with that relative ratio, if it stands out.
    pub fn uneven(&self) -> Option<(usize, f64)> {
        let ratios: Vec<f64> = self.a.iter().zip(&self.b).map(|(a, b)| b / a).collect();
        let mut sorted: Vec<f64> = ratios.iter().copied().filter(|r| r.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let median = *sorted.get(sorted.len() / 2)?;
        let far = |r: f64| (r / median).ln().abs();
        let at = (0..ratios.len()).max_by(|i, j| far(ratios[*i]).total_cmp(&far(ratios[*j])))?;
        let ratio = ratios[at] / median;
        (!(1.0 / UNEVEN..=UNEVEN).contains(&ratio)).then_some((at, ratio))
    }
}

/// Whether a value of the row is larger than [`MASSIVE`], or not a number.
#[inline(always)]
fn has_large<T: Value>(row: &[T]) -> bool {
    let large = |x: f64| x.is_nan() | (x.abs() > MASSIVE);
    row.iter().fold(false, |any, x| any | large((*x).into()))
}

/// The magnitude above which a value of `row` is massive.
fn threshold<T: Value>(row: &[T]) -> f64 {
    // The median is only worth finding where something is large.
    if row.iter().all(|x| (*x).into().abs() <= MASSIVE) {
        return MASSIVE;
    }
    MASSIVE.max(TIMES_MEDIAN * median_size(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::DriftSum;

    fn add(p: &mut Profile, position: usize, [a, b]: [&[f64]; 2], channels: impl Fn(usize) -> usize) {
        let squares = DriftSum::default().add(position, b, a, |i| i);
        p.add(position, squares, [a, b], channels);
    }

    #[test]
    fn norms_are_of_whole_rows() {
        for n in [1, 8, 11, 40] {
            let (a, b): (Vec<f64>, Vec<f64>) = (0..n).map(|i| (f64::from(i) + 1.0, 2.0 - f64::from(i))).unzip();
            let mut profile = Profile::new("q".into());
            add(&mut profile, 0, [&a, &b], |i| i);
            let norm = |f: &dyn Fn(usize) -> f64| (0..a.len()).map(|i| f(i) * f(i)).sum::<f64>().sqrt();
            for (found, expected) in [
                (profile.a[0], norm(&|i| a[i])),
                (profile.b[0], norm(&|i| b[i])),
                (profile.drift[0], norm(&|i| b[i] - a[i])),
            ] {
                // Sums of few whole numbers are exact.
                assert_eq!(found, expected, "norms_are_of_whole_rows: {n}");
            }
        }
    }

    #[test]
    fn massive_activations_and_uneven_norms_are_named() {
        let mut p = Profile::new("blk.0.output".into());
        let mut row = vec![0.1; 64];
        let same = |i| i;
        add(&mut p, 0, [&row, &row], same);
        add(&mut p, 1, [&row, &row], same);
        assert_eq!((p.massive_count, p.uneven()), (0, None));
        let plain = row.clone();
        row[5] = 120.0;
        add(&mut p, 2, [&row, &plain], |i| i + 3);
        assert_eq!((p.massive_count, p.massive[0].channel, p.massive[0].one_sided), (1, 8, true));
        let (position, ratio) = p.uneven().unwrap();
        assert_eq!(position, 2);
        assert!(ratio < 0.01, "{ratio}");
    }

    #[test]
    fn large_but_not_a_thousand_times_the_median_is_not_massive() {
        let mut p = Profile::new("embed".into());
        let row: Vec<f64> = (0..64).map(|i| 1.0 + f64::from(i) * 10.0).collect();
        add(&mut p, 0, [&row, &row], |i| i);
        assert_eq!(p.massive_count, 0);
    }

    #[test]
    fn a_large_token_is_named_with_the_ratio_that_unequal_positions_would_show() {
        let mut p = Profile::new("blk.3.ffn_swiglu".into());
        let row = vec![0.5; 64];
        let large: Vec<f64> = row.iter().map(|x| x * 48.0).collect();
        add(&mut p, 0, [&large, &large], |i| i);
        (1..7).for_each(|t| add(&mut p, t, [&row, &row], |i| i));
        assert_eq!(p.large(), Some((0, 48.0)));
        let [a, b] = p.all_over_last().unwrap();
        // sqrt((48² + 6) / 7): the published 18.23 is this, but for what the other six tokens are.
        assert!((a - f64::sqrt(2310.0 / 7.0)).abs() < 1e-12 && a == b, "{a}");
        assert_eq!((p.drift.as_slice(), p.uneven()), ([0.0; 7].as_slice(), None));
        p.a[0] = p.a[1] * 9.9;
        assert_eq!(p.large(), None);
    }
}
