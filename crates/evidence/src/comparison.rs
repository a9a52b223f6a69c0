//! Two paths side by side.

use serde::{Deserialize, Serialize};

use crate::drift::Drift;
use crate::logits::LogitDrift;
use crate::provenance::Provenance;
use crate::stats::Stats;

/// Version of the JSON layout.
pub const SCHEMA: u32 = 1;

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideInfo {
    /// As given on the command line, `model.gguf@fused-q8k`.
    pub label: String,
    /// The arithmetic.
    pub path: String,
    /// Kernels chosen.
    pub kernels: String,
}

/// Everything measured at one site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteRecord {
    /// Text form of the site, `blk.3.ffn_swiglu`.
    pub site: String,
    /// The layer, if any.
    pub layer: Option<usize>,
    /// The point, `ffn_swiglu`.
    pub point: String,
    /// Block type of the weights that made it (`Q4_K`), if any.
    pub weights: Option<String>,
    /// A's own values.
    pub a: Stats,
    /// B's own values.
    pub b: Stats,
    /// B against A.
    pub drift: Drift,
    /// A against the oracle.
    pub a_oracle: Option<Drift>,
    /// B against the oracle.
    pub b_oracle: Option<Drift>,
}

/// Two paths over the same tokens, site by site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Version of this layout.
    pub schema: u32,
    /// What made it.
    pub provenance: Provenance,
    /// The reference side.
    pub a: SideInfo,
    /// The other side.
    pub b: SideInfo,
    /// Whose weights the oracle used, if it ran.
    pub oracle: Option<String>,
    /// Token ids, the same on both sides.
    pub tokens: Vec<u32>,
    /// In execution order.
    pub sites: Vec<SiteRecord>,
    /// B's next-token distributions against A's.
    pub logits: Option<LogitDrift>,
    /// A's against the oracle's.
    pub a_oracle_logits: Option<LogitDrift>,
    /// B's against the oracle's.
    pub b_oracle_logits: Option<LogitDrift>,
    /// Doubts.
    pub warnings: Vec<Warning>,
    /// What may be concluded.
    pub outcome: Outcome,
}

/// What may be concluded from a comparison. There is no verdict on *why* the sides part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// Every expected element of every site was compared and is equal.
    Identical,
    /// Every expected element of every site was compared; the drift is what the table says.
    Measured,
    /// Something that should have been compared was not.
    Inconclusive {
        /// What.
        reasons: Vec<String>,
    },
    /// The sides are not of the same thing.
    Incomparable {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// What a full set of site records allows to conclude.
    pub fn of(sites: &[SiteRecord]) -> Outcome {
        if sites.is_empty() {
            return Outcome::Inconclusive { reasons: vec!["no site was compared".to_owned()] };
        }
        let drifts = |s: &SiteRecord| [Some(&s.drift), s.a_oracle.as_ref(), s.b_oracle.as_ref()].map(|d| d.cloned());
        let reasons: Vec<String> = sites
            .iter()
            .filter_map(|s| {
                let d = drifts(s).into_iter().flatten().find(|d| !d.is_complete())?;
                let (bad, reference) = (d.non_finite, d.reference_non_finite);
                Some(format!(
                    "{}: {} of {} elements compared ({bad} non-finite, {reference} non-finite in the reference)",
                    s.site, d.compared, d.expected
                ))
            })
            .collect();
        if !reasons.is_empty() {
            return Outcome::Inconclusive { reasons };
        }
        if sites.iter().all(|s| s.drift.is_identical()) { Outcome::Identical } else { Outcome::Measured }
    }

    /// The outcome, given that some things also could not be compared.
    pub fn and(self, unpaired: Vec<String>) -> Outcome {
        match self {
            _ if unpaired.is_empty() => self,
            Outcome::Inconclusive { mut reasons } => {
                reasons.extend(unpaired);
                Outcome::Inconclusive { reasons }
            }
            Outcome::Incomparable { .. } => self,
            Outcome::Identical | Outcome::Measured => Outcome::Inconclusive { reasons: unpaired },
        }
    }

    /// Exit code: 0 compared, 3 inconclusive or incomparable.
    pub fn exit_code(&self) -> u8 {
        match self {
            Outcome::Identical | Outcome::Measured => 0,
            Outcome::Inconclusive { .. } | Outcome::Incomparable { .. } => 3,
        }
    }
}

/// A doubt about a measurement, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Warning {
    /// One position only.
    SinglePosition,
    /// The sides hold different weights.
    DifferentWeights {
        /// Tensors whose values differ.
        tensors: Vec<String>,
    },
    /// The oracle did not run.
    OracleSkipped {
        /// Estimated cost in seconds.
        seconds: u64,
    },
    /// A doubt about a file.
    File {
        /// The file.
        file: String,
        /// The doubt.
        doubt: String,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Warning::SinglePosition => f.write_str(
                "one token only: RoPE is the identity at position 0 and the mask has nothing to hide, so neither is \
                 exercised; use a longer prompt",
            ),
            Warning::DifferentWeights { tensors } => write!(
                f,
                "the sides hold different weights ({}{}): the drift is of weights and arithmetic together; compare one \
                 file along two paths to see the arithmetic alone",
                tensors.first().map_or("", String::as_str),
                if tensors.len() > 1 { format!(" and {} more", tensors.len() - 1) } else { String::new() }
            ),
            Warning::OracleSkipped { seconds } => write!(
                f,
                "the f64 oracle would take about {seconds} s and was not run: `--oracle on` runs it, a shorter prompt \
                 makes it cheaper"
            ),
            Warning::File { file, doubt } => write!(f, "{file}: {doubt}"),
        }
    }
}
