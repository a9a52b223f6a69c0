//! Plain records of what was measured, and their judging. Nothing here runs a model: any report can be rebuilt from these
//! records alone.

pub mod attribution;
pub mod bench;
pub mod budget;
pub mod comparison;
pub mod contract;
pub mod diagnosis;
pub mod drift;
pub mod experiment;
pub mod fault_bench;
pub mod fix;
pub mod histogram;
pub mod inspection;
pub mod lanes;
pub mod layers;
pub mod ledger;
pub mod local;
pub mod logits;
pub mod massive;
pub mod null;
pub mod policy;
pub mod profile;
pub mod provenance;
pub mod published;
pub mod residuals;
pub mod scope;
pub mod split;
pub mod statistical;
pub mod stats;
pub mod verdict;

pub use attribution::{Attribution, GroupShare, Interaction, Interval};
pub use bench::Bench;
pub use budget::{Budget, SideBudget};
pub use comparison::{Comparison, Coverage, Judgement, Outcome, SideInfo, SiteRecord, Warning};
pub use diagnosis::{Diagnosis, Named, SiteDiagnosis};
pub use drift::{Drift, DriftSum, Peak, Squares};
pub use fix::{Fix, FixVerdict, Gap, GapSum, Tried};
pub use histogram::{Histogram, HistogramSum};
pub use inspection::{Inspection, ModelFacts, TensorFacts, TypeCount};
pub use layers::{LayerDrift, LayerSplit};
pub use local::{Local, LocalSum, Residual};
pub use logits::{Flip, LogitDrift, LogitSum};
pub use null::{NullTest, SiteNull};
pub use policy::Policy;
pub use profile::{Massive, Profile};
pub use provenance::{FileId, Machine, Provenance};
pub use residuals::Residuals;
pub use scope::{Positions, Scope, Values};
pub use split::{Split, SplitRow, SplitSum};
pub use statistical::Statistical;
pub use stats::{Stats, StatsSum};
pub use verdict::{Evidence, Finding, Verdict};

/// The one comparison with a bound in this project: NaN is never within.
pub fn within(x: f64, bound: f64) -> bool {
    x <= bound
}

#[cfg(test)]
mod tests {
    #[test]
    fn nan_is_never_within() {
        assert!(super::within(1.0, 1.0));
        assert!(!super::within(f64::NAN, f64::INFINITY));
        assert!(!super::within(0.0, f64::NAN));
    }
}
