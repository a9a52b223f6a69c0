//! Recordings of a run: one safetensors file whose tensor names are sites.
//!
//! The metadata holds what makes two recordings comparable: token ids, positions, the model's shape, and which model,
//! path and kernels made it.

pub mod export;
pub mod foreign;
pub mod import;
mod layout;
pub mod names;
mod raw;
mod read;
mod statistics;
pub(crate) mod tokens;
mod write;

use serde::{Deserialize, Serialize};
use twinpath_engine::Config;
use twinpath_evidence::massive::{Peaks, sole_scales};
use twinpath_evidence::{Positions, Provenance, SideInfo, Stats, Warning};

pub use read::{Trace, TraceSide};
pub use statistics::statistics;
pub use write::{Selection, record};

/// Version of the layout; a reader refuses others.
pub const SCHEMA: u32 = 1;

/// Key of the [`Header`] in the safetensors metadata.
pub const HEADER_KEY: &str = "twinpath";

/// What a recording says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of this layout.
    pub schema: u32,
    /// What made it.
    pub provenance: Provenance,
    /// The model and path.
    pub side: SideInfo,
    /// The model's shape.
    pub config: Config,
    /// All token ids of the run.
    pub tokens: Vec<u32>,
    /// The positions that were recorded.
    pub positions: Positions,
}

/// Statistics of one recorded site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TracedSite {
    /// Text form of the site.
    pub site: String,
    /// Block type of the weights that made it, if any.
    pub weights: Option<String>,
    /// Statistics over the recorded positions.
    pub stats: Stats,
}

/// A recording, as reported: what it says of itself, and the layer table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceRecord {
    /// As in the file.
    pub header: Header,
    /// In execution order.
    pub sites: Vec<TracedSite>,
    /// The largest values of what matrices read, token by token; empty where they were not looked for.
    pub peaks: Vec<Peaks>,
    /// What its reader should know.
    pub warnings: Vec<Warning>,
}

impl TraceRecord {
    fn new(header: Header, sites: Vec<TracedSite>, peaks: Vec<Peaks>) -> TraceRecord {
        let warnings = sole_scales(&peaks).into_iter().collect();
        TraceRecord { header, sites, peaks, warnings }
    }
}
