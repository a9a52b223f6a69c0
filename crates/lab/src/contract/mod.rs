//! Contracts: reading a folder of them, and measuring what they claim.

mod experiments;
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

use crate::experiments::EXPERIMENTS;
use crate::spec::PathName;

pub use faults::{FAULTS, Fault};
pub use folder::{Folder, evidence_file, read_contract};
pub use measure::{Bench, Outcome};

/// The version that stands in evidence: evidence of another one is stale.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Names that claims may use.
pub fn known() -> Known {
    let experiments: Vec<String> = EXPERIMENTS.iter().map(|e| e.id.to_owned()).collect();
    Known {
        experiments: experiments.clone(),
        published: experiments,
        paths: PathName::names().into_iter().map(str::to_owned).collect(),
        faults: FAULTS.iter().map(|f| f.name.to_owned()).collect(),
        formats: FORMATS.iter().map(|f| f.name().to_owned()).collect(),
        points: POINTS.iter().map(|p| p.name().to_owned()).collect(),
    }
}
