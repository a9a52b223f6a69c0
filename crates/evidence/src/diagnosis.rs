//! Which known mistakes explain what arithmetic does not.

use serde::{Deserialize, Serialize};

use crate::comparison::{Outcome, SideInfo, Warning};
use crate::provenance::Provenance;
use crate::verdict::Verdict;

/// Version of the JSON layout.
pub const SCHEMA: u32 = 1;

/// B's values, each judged by A's model on the inputs that B recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Version of this layout.
    pub schema: u32,
    /// What made it.
    pub provenance: Provenance,
    /// The side whose model is believed.
    pub a: SideInfo,
    /// The side that is judged.
    pub b: SideInfo,
    /// The path whose declared arithmetic B was judged by.
    pub path: String,
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Sites judged, and what was said of them, best first.
    pub counts: Vec<(String, usize)>,
    /// The first site in execution order that is unexplained.
    pub first_unexplained: Option<String>,
    /// Mistakes that explain one site or more, most sites first.
    pub named: Vec<Named>,
    /// Unexplained sites that no known mistake explains, in execution order.
    pub unnamed: Vec<String>,
    /// Every site that was judged, in execution order.
    pub sites: Vec<SiteDiagnosis>,
    /// Chance of a false alarm in a run of faithful arithmetic.
    pub alpha: f64,
    /// Doubts.
    pub warnings: Vec<Warning>,
    /// Whether the sides can be compared at all.
    pub outcome: Outcome,
}

/// A mistake with the sites that it explains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// The suspect.
    pub suspect: String,
    /// What was changed to what.
    pub parameter: String,
    /// Where.
    pub sites: Vec<String>,
    /// Largest local residual of those sites without it, relative to their size.
    pub before: Option<f64>,
    /// With it.
    pub after: Option<f64>,
    /// Other suspects that explain all of these sites, too.
    pub or: Vec<String>,
    /// Why it is no mistake after all: it is only another way of saying the same model.
    pub equivalent: Option<String>,
}

/// One site, as judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteDiagnosis {
    /// The site.
    pub site: String,
    /// What replay says of it.
    pub verdict: Verdict,
    /// Local residual relative to the value; absent where nothing finite was judged.
    pub residual: Option<f64>,
    /// The smallest change of one element, relative to the root mean square of all, that would have been convicted.
    pub limit: Option<f64>,
    /// What was tried, best first: only where the site is unexplained.
    pub tried: Vec<Tried>,
}

/// One way of making one mistake, tried at one site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// The suspect.
    pub suspect: String,
    /// What was changed to what.
    pub parameter: String,
    /// Whether the site is explained with it.
    pub explains: bool,
    /// Local residual relative to the value, with it.
    pub residual: Option<f64>,
    /// Largest residual in standard deviations, with it.
    pub sigmas: f64,
}

impl Diagnosis {
    /// Whether anything is unexplained that is not merely another layout.
    pub fn is_clean(&self) -> bool {
        self.unnamed.is_empty() && self.named.iter().all(|n| n.equivalent.is_some())
    }

    /// Exit code: 0 nothing unexplained, 1 something is, 3 inconclusive or incomparable.
    pub fn exit_code(&self) -> u8 {
        match &self.outcome {
            Outcome::Incomparable { .. } => 3,
            _ if !self.is_clean() => 1,
            outcome => outcome.exit_code(),
        }
    }
}
