//! Plain records of what was measured, and their judging. Nothing here runs a model: any report can be rebuilt from these
//! records alone.

pub mod comparison;
pub mod contract;
pub mod drift;
pub mod experiment;
pub mod inspection;
pub mod ledger;
pub mod logits;
pub mod provenance;
pub mod published;
pub mod scope;
pub mod stats;

pub use comparison::{Comparison, Outcome, SideInfo, SiteRecord, Warning};
pub use drift::{Drift, DriftSum, Peak};
pub use inspection::{Inspection, ModelFacts, TensorFacts, TypeCount};
pub use logits::{Flip, LogitDrift, LogitSum};
pub use provenance::{FileId, Provenance};
pub use scope::{Positions, Scope, Values};
pub use stats::{Stats, StatsSum};

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
