//! Ways in which a request to run or compare can be unusable.

use std::path::PathBuf;

use twinpath_engine::EngineError;
use twinpath_formats::FormatError;

/// Ways in which a request to run or compare can be unusable.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The model or the tokens are bad.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A container is bad.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// No such path.
    #[error("`{given}`: no path `{name}`; there are {known} (`twinpath list paths` describes them)")]
    UnknownPath {
        /// The whole argument.
        given: String,
        /// What stands after the `@`.
        name: String,
        /// What there is.
        known: String,
    },
    /// A trace that is no trace.
    #[error("{}: {why}", file.display())]
    BadTrace {
        /// The file.
        file: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// A model that is not the one a contract speaks of.
    #[error("{}: this is not the model `{name}` of the contract: {why}", file.display())]
    WrongModel {
        /// The file.
        file: PathBuf,
        /// The model's name in the contract.
        name: String,
        /// What differs.
        why: String,
    },
    /// A name that a contract uses and nothing has; validation names its place.
    #[error("there is no {what} `{name}`: run `twinpath contract validate`")]
    UnknownName {
        /// What it should name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Sides that differ in two ways at once.
    #[error(
        "{a} and {b} hold different weights and run along different paths: name one path for both, to attribute the \
             weights, or one file, to attribute the arithmetic"
    )]
    TwoCauses {
        /// A's label.
        a: String,
        /// B's label.
        b: String,
    },
    /// A checkpoint that cannot be gone on from.
    #[error("{}: no checkpoint to go on from: {why}; remove it to begin anew", file.display())]
    BadCheckpoint {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A policy that cannot be used.
    #[error("{file}: {why}; `twinpath list policies` shows the built-in ones")]
    BadPolicy {
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// Nothing to try a fix on.
    #[error("there are no {kind} prompts: a fix is made on some and tried on others")]
    NoPrompts {
        /// `seen` or `held-out`.
        kind: &'static str,
    },
    /// A side that must be a model is none.
    #[error("`{label}` is a recording: the side that is believed must be a model; exchange A and B")]
    NoModel {
        /// As given.
        label: String,
    },
    /// No such suspect.
    #[error("there is no suspect `{name}`; there are {known} (`twinpath list suspects` describes them)")]
    UnknownSuspect {
        /// As given.
        name: String,
        /// What there is.
        known: String,
    },
    /// A mistake that cannot be made.
    #[error("`{suspect}` cannot be planted there{}", if known.is_empty() { ": the model has no such op at that site".to_owned() } else { format!(" with that parameter; there are: {}", known.join("; ")) })]
    NothingToPlant {
        /// The suspect.
        suspect: &'static str,
        /// Parameters that it has in this model.
        known: Vec<String>,
    },
    /// No threads can be started.
    #[error("cannot start threads: {why}")]
    Threads {
        /// Why.
        why: String,
    },
    /// Memory for measuring is short.
    #[error("no memory for {bytes} bytes: {source}; free some, or measure with --quick")]
    Memory {
        /// How much.
        bytes: u64,
        /// Why.
        source: std::io::Error,
    },
    /// Memory for copies of weights is short.
    #[error(
        "no memory for a copy of {bytes} bytes of weights: {source}; read them where the file is mapped: --load map"
    )]
    NoRoomForCopy {
        /// How much.
        bytes: u64,
        /// Why.
        source: std::io::Error,
    },
    /// Another engine refuses a product.
    #[error("{name}: {why}")]
    Peer {
        /// The engine.
        name: &'static str,
        /// Why.
        why: String,
    },
    /// A file cannot be written or read.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The null test knows one pair of paths.
    #[error("the null test is for A along standalone and B along fused-q8k on the same weights, not {a} and {b}")]
    NullPair {
        /// A's label.
        a: String,
        /// B's label.
        b: String,
    },
    /// Sampling failed.
    #[error(transparent)]
    Sampling(#[from] twinpath_engine::sampling::SamplingError),
}
