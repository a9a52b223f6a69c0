//! Outputs alone: whether their drift from the exact product is as large as rounding of the activations would make it.
//!
//! Where it is not known how a side rounded its activations (or not to the last unit), the rounding `e` of each is still
//! known in size, and its sign is taken as random. For the difference `d = y_B − W x` of one output that gives
//! `var d_j = Σ W_ji² e_i²` (**tier E**), or from the scales alone `Σ_b s_b²/12 ‖w_jb‖²` (**tier U**, for errors uniform
//! within a step). Any linear form of independent signs is strictly sub-Gaussian, so that with no central limit theorem
//!
//! ```text
//! P(|z| > t) <= 2 exp(−t²/2),   t(α, m) = √(2 ln(2m/α)) over m of them
//! ```
//!
//! and for their quadratic forms `S = ‖d‖²` with matrix `Q` (Hsu, Kakade, Zhang 2012, "A tail inequality for quadratic forms
//! of subgaussian random vectors")
//!
//! ```text
//! P(S > tr Q + 2 √(tr Q² x) + 2 ‖Q‖ x) <= e^−x
//! ```
//!
//! Errors that are not random at all (activations far below half a step, all of one sign, against weights of one sign) defy
//! both tiers. Whether they do is tested, on the rounding of the activations at hand; where they do, only the bound
//! `|d_j| <= Σ_b s_b/2 ‖w_jb‖₁` judges, and a large difference is [`Verdict::Possible`], not unexplained.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::verdict::{Contrast, Evidence, Finding, Verdict};
use crate::within;

/// Degrees of freedom below which Satterthwaite's approximation is too liberal in the tail (measured: 4 to 6 times at
/// 0.1 %), and random signs are drawn instead.
pub const FEW_FREEDOMS: f64 = 20.0;
/// What the aggregate's p-value is multiplied by before it convicts: twice the worst that was measured above.
pub const SLACK: f64 = 10.0;
/// Standard normal quantile of the power (80 %) that a minimal detectable effect is stated for.
pub const POWER: f64 = 0.8416;
/// Families of tests at one site, which share its chance of a false alarm: elements, rows, offsets, gain, groups, aggregate.
pub const FAMILIES: f64 = 6.0;

/// `t(α, m)`: what the largest of `tests` sub-Gaussian variables of unit variance exceeds with a chance of at most `alpha`.
pub fn threshold(alpha: f64, tests: usize) -> f64 {
    (2.0 * (2.0 * tests.max(1) as f64 / alpha).ln()).sqrt()
}

/// What the largest of `tests` sums of `terms` squares of such variables exceeds with a chance of at most `alpha`
/// (`Q` the identity).
pub fn threshold_of_squares(alpha: f64, tests: usize, terms: usize) -> f64 {
    let (n, x) = (terms as f64, (tests.max(1) as f64 / alpha).ln());
    n + 2.0 * (n * x).sqrt() + 2.0 * x
}

/// `‖d‖²` and what is known of its distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// `S`.
    pub size: f64,
    /// `tr Q`, its mean.
    pub mean: f64,
    /// `tr Q²`.
    pub squares: f64,
    /// `Var S`.
    pub variance: f64,
}

impl Aggregate {
    /// Satterthwaite's degrees of freedom, `2 mean² / variance`.
    pub fn freedoms(&self) -> f64 {
        2.0 * self.mean * self.mean / self.variance
    }

    /// `P(χ²_ν > ν S / mean)`.
    pub fn satterthwaite(&self) -> f64 {
        let nu = self.freedoms();
        match ChiSquared::new(nu) {
            Ok(chi) => chi.sf(nu * self.size / self.mean),
            // Without variance the sum is its mean.
            Err(_) => f64::from(u8::from(within(self.size, self.mean))),
        }
    }

    /// The bound on the tail for sub-Gaussian variables, with `‖Q‖ <= √(tr Q²)`.
    pub fn bound(&self) -> f64 {
        let (over, f) = (self.size - self.mean, self.squares.sqrt());
        if within(over, 0.0) {
            return 1.0;
        }
        let root = ((1.0 + 2.0 * over / f).sqrt() - 1.0) / 2.0;
        (-root * root).exp()
    }

    /// The rank among `drawn` sums with random signs; where none of them is as large, the bound.
    pub fn ranked(&self, drawn: &[f64]) -> f64 {
        let beyond = drawn.iter().filter(|s| **s >= self.size).count();
        let rank = (1 + beyond) as f64 / (drawn.len() + 1) as f64;
        if beyond > 0 { rank } else { rank.min(self.bound()) }
    }
}

/// How a p-value was found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Method {
    /// A χ² distribution with the first two moments.
    Satterthwaite,
    /// Rank among sums with random signs.
    RandomSigns {
        /// How many were drawn.
        replicates: usize,
    },
}

/// One family of tests at a site: its largest statistic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Largest {
    /// Over its threshold; above 1 it convicts.
    pub over: f64,
    /// Position of the largest, where it is that of one position.
    pub position: Option<usize>,
    /// Row, where it is that of one row.
    pub row: Option<usize>,
}

impl Largest {
    fn convicts(&self) -> bool {
        !within(self.over, 1.0)
    }
}

/// All tests of one set of differences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tests {
    /// Single elements.
    pub element: Largest,
    /// Rows, over all positions.
    pub row: Largest,
    /// Offsets of rows, the same at all positions.
    pub offset: Largest,
    /// The gain common to all.
    pub gain: Largest,
    /// Scales and minimums of groups of packed weights.
    pub group: Largest,
    /// The aggregate.
    pub aggregate: Aggregate,
    /// Its p-value.
    pub p: f64,
    /// How that was found.
    pub method: Method,
}

impl Tests {
    /// Whether any family convicts, if the site's chance of a false alarm is `alpha`.
    pub fn convicts(&self, alpha: f64) -> bool {
        let families = [&self.element, &self.row, &self.offset, &self.gain, &self.group];
        families.iter().any(|f| f.convicts()) || !within(alpha / FAMILIES, self.p * SLACK)
    }
}

/// Outputs of one linear op, judged by the statistics of rounding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statistical {
    /// Elements judged; those of positions that repeat the activations of another are no evidence and not counted.
    pub judged: u64,
    /// Elements that could not be judged.
    pub not_judged: u64,
    /// The site's share of the run's chance of a false alarm.
    pub alpha: f64,
    /// Standard deviation of the differences over that of tier E.
    pub ratio_e: f64,
    /// Over that of tier U.
    pub ratio_u: f64,
    /// The tests.
    pub tests: Tests,
    /// Whether the rounding of these activations itself passes them: else its signs are not random.
    pub random: bool,
    /// The largest difference in units of its worst-case bound.
    pub worst_case: f64,
    /// The smallest gain, as a share of all values, that is found with a power of 80 %.
    pub least_gain: f64,
    /// The smallest offset of one row, over the root mean square of the values, that is.
    pub least_offset: f64,
    /// What names a bug, if there is one.
    pub finding: Option<Box<Finding>>,
}

impl Statistical {
    /// What follows.
    pub fn verdict(&self) -> Verdict {
        if self.not_judged > 0 || self.judged == 0 {
            let reason = format!("{} of the values or their predictions are not finite", self.not_judged);
            return Verdict::Inconclusive { reason };
        }
        if let (false, Some(finding)) = (within(self.worst_case, 1.0), &self.finding) {
            return Verdict::Unexplained { finding: finding.clone() };
        }
        match (self.tests.convicts(self.alpha), self.random, &self.finding) {
            (true, true, Some(finding)) => Verdict::Unexplained { finding: finding.clone() },
            (true, ..) => {
                let sigmas = self.finding.as_ref().map_or(0.0, |f| f.sigmas);
                Verdict::Possible { flagged: self.finding.as_ref().map_or(0, |f| f.convicted), sigmas }
            }
            (false, false, _) => Verdict::Inconclusive {
                reason: "the rounding of these activations has no random signs: record the op's input".to_owned(),
            },
            (false, true, _) => Verdict::Explained {
                evidence: Evidence::Statistical { least_gain: self.least_gain, least_offset: self.least_offset },
            },
        }
    }

    /// Two pieces of one site as one: the worse one, with the elements of both.
    pub fn worse(self, other: Statistical) -> Statistical {
        let (judged, not_judged) = (self.judged + other.judged, self.not_judged + other.not_judged);
        let key = |s: &Statistical| (s.verdict().rank(), -s.tests.p);
        let worst = if key(&other) > key(&self) { other } else { self };
        Statistical { judged, not_judged, ..worst }
    }

    /// The contrast that names the bug.
    pub fn contrast(&self) -> Option<&Contrast> {
        self.finding.as_ref().and_then(|f| f.contrast.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_the_published_ones() {
        // Thousandth for 1024, 4096 and 18944 rows.
        for (rows, expected) in [(1024, 5.39), (4096, 5.64), (18_944, 5.91)] {
            assert!((threshold(1e-3, rows) - expected).abs() < 0.005, "{rows}: {}", threshold(1e-3, rows));
        }
        // One square: (1 + √(2x))² is below n + 2√(nx) + 2x only where the cross terms say so; here x = ln 1000.
        assert!((threshold_of_squares(1e-3, 1, 1) - (1.0 + 2.0 * 6.907_755f64.sqrt() + 2.0 * 6.907_755)).abs() < 1e-5);
    }

    #[test]
    fn the_aggregates_tail_is_that_of_chi_squared_where_it_is_one() {
        // 100 independent unit normals: mean 100, Q the identity.
        let of = |size| Aggregate { size, mean: 100.0, squares: 100.0, variance: 200.0 };
        assert_eq!(of(100.0).freedoms(), 100.0);
        // Quantiles of χ²_100: 124.34 at 5 %, 149.45 at 0.1 %.
        assert!((of(124.342).satterthwaite() - 0.05).abs() < 1e-4);
        assert!((of(149.449).satterthwaite() - 0.001).abs() < 1e-5);
        assert!(of(149.449).bound() > 0.001 && of(90.0).bound() == 1.0);
        let drawn: Vec<f64> = (0..99).map(f64::from).collect();
        assert_eq!(of(98.0).ranked(&drawn), 0.02);
        assert!(of(500.0).ranked(&drawn) < 1e-6 && of(99.0).ranked(&drawn) == 0.01);
    }
}
