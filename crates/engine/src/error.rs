//! Ways in which a model or a request can be unusable.

use std::path::PathBuf;

use twinpath_formats::FormatError;

/// Ways in which a model or a request can be unusable.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The container itself is bad.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A family that we do not know.
    #[error("{}: architecture `{name}` is not supported; `twinpath list archs` prints those that are ({known})", file.display())]
    UnknownArchitecture {
        /// The model.
        file: PathBuf,
        /// What it says.
        name: String,
        /// What we know.
        known: String,
    },
    /// Metadata that every model needs is absent.
    #[error("{}: metadata key `{key}` is missing; without it the model's shape is not known", file.display())]
    MissingKey {
        /// The model.
        file: PathBuf,
        /// The key.
        key: String,
    },
    /// Metadata with a value that cannot be right, or that we do not support.
    #[error("{}: {key} {why}", file.display())]
    BadValue {
        /// The model.
        file: PathBuf,
        /// The key or quantity.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// A tensor that the family needs is absent.
    #[error("{}: tensor `{tensor}` is missing; the file is incomplete or of another architecture", file.display())]
    MissingTensor {
        /// The model.
        file: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A tensor disagrees with the metadata.
    #[error("{}: tensor `{tensor}` has shape {found:?}, the metadata asks for {expected:?} (rows, columns)", file.display())]
    Shape {
        /// The model.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// What the metadata asks for.
        expected: Vec<usize>,
        /// What is there.
        found: Vec<usize>,
    },
    /// A vector is stored in a quantised type.
    #[error("{}: tensor `{tensor}` is a vector of type {found}; F32, F16 or BF16 is needed", file.display())]
    QuantisedVector {
        /// The model.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: &'static str,
    },
    /// No token to run.
    #[error("the prompt is empty: give at least one token")]
    EmptyPrompt,
    /// A token id outside the vocabulary.
    #[error("token id {token} at position {position} is outside the vocabulary; give ids below {vocab}")]
    TokenOutOfRange {
        /// The id.
        token: u32,
        /// Where it stands in the prompt.
        position: usize,
        /// Ids known.
        vocab: usize,
    },
    /// More positions than the model was made for.
    #[error("{needed} positions do not fit into the model's context of {context}; shorten the prompt")]
    ContextExceeded {
        /// Positions asked for.
        needed: usize,
        /// Positions there are.
        context: usize,
    },
    /// A tokenizer that cannot be built or used.
    #[error(transparent)]
    Tokenizer(#[from] crate::tokenizer::TokenizerError),
}
