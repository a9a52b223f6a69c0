//! Verdicts: whether arithmetic explains what a path made of its own inputs.
//!
//! Each element has a residual: the recorded value minus the declared arithmetic on the recorded inputs. Three tolerances
//! judge it (what they rest on: the `declared` module of the paths):
//!
//! | tolerance | size | beyond it |
//! |---|---|---|
//! | calibrated | [`CALIBRATED`] standard deviations | flagged |
//! | probabilistic | `λ` spreads, `P(false alarm of the run) <= α` | convicted |
//! | rigorous | the bound | no faithful implementation is there |
//!
//! `λ` follows from the run's `α` by Bonferroni over sides, sites and elements, and Hoeffding's inequality
//! `P(|error| > λ spread) <= 2 exp(-λ²/2)`: see [`lambda`].

use serde::{Deserialize, Serialize};

/// The calibrated tolerance in standard deviations.
pub const CALIBRATED: f64 = 8.0;
/// Standard deviation of an error in spreads.
pub const SIGMA: f64 = 0.4246;
/// Chance of a false alarm in a whole run, unless another is asked for.
pub const DEFAULT_ALPHA: f64 = 1e-3;

/// The probabilistic tolerance in spreads for one of `sites` sites (both sides counted) with `elements` elements:
/// `√(2 ln(2 · elements · sites / α))`.
pub fn lambda(alpha: f64, sites: usize, elements: usize) -> f64 {
    let tests = 2.0 * elements.max(1) as f64 * sites.max(1) as f64;
    (2.0 * (tests / alpha).ln()).sqrt()
}

/// What may be said of one site, or of a run: the worst of its sites. Ordered from best to worst.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Both sides are equal, and each is what its arithmetic declares.
    Identical,
    /// Arithmetic explains every element.
    Explained {
        /// How.
        evidence: Evidence,
    },
    /// Nothing was wrong, but the input could not have shown it.
    NotExercised {
        /// Why.
        reason: String,
    },
    /// Beyond the calibrated tolerance, within the probabilistic one.
    Possible {
        /// Elements beyond the calibrated tolerance.
        flagged: u64,
        /// The largest residual in standard deviations.
        sigmas: f64,
    },
    /// Nothing can be said.
    Inconclusive {
        /// Why.
        reason: String,
    },
    /// The sides are not of the same thing.
    Incomparable {
        /// Why.
        reason: String,
    },
    /// Arithmetic does not explain it: a bug, with a false alarm once in `1/α` runs.
    Unexplained {
        /// What is wrong and where.
        finding: Box<Finding>,
    },
}

/// What explains a value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Evidence {
    /// Replay on the recorded input, within the calibrated tolerance.
    Exact,
    /// The same, after activations on the edge between two codes were taken to have gone the other way.
    Flips {
        /// How many.
        count: usize,
    },
    /// Outputs alone: their drift is as large as rounding predicts. It comes with what would have been found.
    Statistical {
        /// Smallest gain, as a share of all values.
        least_gain: f64,
        /// Smallest offset of one row, over the root mean square of the values.
        least_offset: f64,
    },
}

/// What names a bug.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// `a` or `b`.
    pub side: String,
    /// Token position of the worst element.
    pub position: usize,
    /// Its row: the output channel, or for attention `head * keys + key`.
    pub row: usize,
    /// The recorded value there.
    pub value: f64,
    /// The declared one.
    pub declared: f64,
    /// The residual in standard deviations.
    pub sigmas: f64,
    /// Whether the residual is beyond the rigorous bound, too.
    pub beyond_bound: bool,
    /// Elements convicted.
    pub convicted: u64,
    /// Elements judged.
    pub judged: u64,
    /// Rows with a convicted element.
    pub rows: u64,
    /// The part of a packed row that explains the worst row, if one does.
    pub part: Option<Part>,
    /// The contrast that explains most of the residual.
    pub contrast: Option<Contrast>,
}

/// A group of a packed row of weights whose scale or minimum explains a residual.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Block of the row.
    pub block: usize,
    /// Group within the block.
    pub group: usize,
    /// `scale` or `minimum`.
    pub what: String,
    /// By how many units it was read wrongly.
    pub units: i32,
    /// What is left of the residual, in standard deviations.
    pub left: f64,
}

/// A pattern fitted to the residuals of a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// Which.
    pub kind: ContrastKind,
    /// Its coefficient: the relative gain, or the offset of the worst row.
    pub size: f64,
    /// The coefficient in its standard deviations.
    pub z: f64,
    /// Share of the residual's energy that it explains.
    pub share: f64,
}

/// Patterns of residuals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContrastKind {
    /// A factor on every value.
    Gain,
    /// An offset of each row, the same at all positions.
    Bias,
    /// One row alone.
    Row,
    /// One position alone.
    Position,
}

impl Verdict {
    /// How bad: a run is as bad as its worst site.
    pub fn rank(&self) -> u8 {
        match self {
            Verdict::Identical => 0,
            Verdict::Explained { .. } => 1,
            Verdict::NotExercised { .. } => 2,
            Verdict::Possible { .. } => 3,
            Verdict::Inconclusive { .. } => 4,
            Verdict::Incomparable { .. } => 5,
            Verdict::Unexplained { .. } => 6,
        }
    }

    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Identical => "identical",
            Verdict::Explained { .. } => "explained",
            Verdict::NotExercised { .. } => "not exercised",
            Verdict::Possible { .. } => "possible",
            Verdict::Inconclusive { .. } => "inconclusive",
            Verdict::Incomparable { .. } => "incomparable",
            Verdict::Unexplained { .. } => "UNEXPLAINED",
        }
    }

    /// The worse of the two.
    pub fn worse(self, other: Verdict) -> Verdict {
        if other.rank() > self.rank() { other } else { self }
    }

    /// Exit code: 0 identical or explained, 1 unexplained, 3 all else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Verdict::Identical | Verdict::Explained { .. } => 0,
            Verdict::Unexplained { .. } => 1,
            _ => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lambda_spends_the_alpha_of_the_run() {
        // 2 exp(-λ²/2) over all elements of all sites is α.
        let l = lambda(1e-3, 100, 1000);
        assert!((2.0 * (-l * l / 2.0).exp() * 1e5 / 1e-3 - 1.0).abs() < 1e-9, "{l}");
    }
}
