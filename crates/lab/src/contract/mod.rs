//! Contracts: reading a folder of them, and measuring what they claim.

pub mod faults;
mod folder;
mod measure;
mod models;
mod repeat;
mod sites;
mod weights;

use twinpath_engine::site::POINTS;
use twinpath_evidence::contract::Known;
use twinpath_formats::quant::FORMATS;
use twinpath_paths::PATHS;

pub use faults::{FAULTS, Fault};
pub use folder::{Folder, evidence_file, read_contract};
pub use measure::{Bench, Outcome};

/// The version that stands in evidence: evidence of another one is stale.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Names that claims may use.
pub fn known() -> Known {
    let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    Known {
        experiments: names(EXPERIMENTS),
        published: names(PUBLISHED),
        paths: PATHS.iter().map(|p| p.name.to_owned()).chain([crate::spec::ORACLE.to_owned()]).collect(),
        faults: FAULTS.iter().map(|f| f.name.to_owned()).collect(),
        formats: FORMATS.iter().map(|f| f.name().to_owned()).collect(),
        points: POINTS.iter().map(|p| p.name().to_owned()).collect(),
    }
}

/// Experiments that a claim may rest on.
pub const EXPERIMENTS: &[&str] = &[
    "reproducible",
    "order",
    "decode",
    "mechanism",
    "compounding",
    "A3-block-scale",
    "A2-softmax",
    "A1-rope",
    "A4-batch",
    "A5-real-weights",
    "A6-rmsnorm",
    "cumulative-layers",
    "alarm",
    "decomposition",
];

/// Experiments that have published figures.
pub const PUBLISHED: &[&str] = EXPERIMENTS;
