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
