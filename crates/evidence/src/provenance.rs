//! Where a record came from. The only place where the machine reaches a record.

use serde::{Deserialize, Serialize};

/// What made a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// twinpath's version.
    pub version: String,
    /// Instruction set of the machine and the one that was used.
    pub cpu: String,
    /// The files that were read.
    pub files: Vec<FileId>,
}

/// A file and its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileId {
    /// Path as given.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of the content; absent when hashing was not asked for.
    pub blake3: Option<String>,
}

/// The machine that a measurement of speed was made on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name for itself.
    pub processor: String,
    /// Threads that it runs at once.
    pub threads: usize,
    /// Bytes of the second-level cache of one core and of the last-level cache; absent where the system does not tell.
    pub caches: Option<(u64, u64)>,
    /// Bytes of memory; absent where the system does not tell.
    pub memory: Option<u64>,
    /// When anonymous memory gets huge pages, `madvise`; absent where the system does not tell.
    pub huge_pages: Option<String>,
    /// Load of the last minute when the run began; absent where the system does not tell.
    pub load: Option<f64>,
}
