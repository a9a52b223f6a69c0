//! What is in a model file, and whether it is sound.

use serde::{Deserialize, Serialize};

/// A model file, looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// `"gguf"`, `"apr"` or `"hf"`.
    pub container: String,
    /// The files it is made of, and their sizes in bytes.
    pub files: Vec<(String, u64)>,
    /// The model, where its family is known; otherwise why it cannot be run.
    pub model: Result<ModelFacts, String>,
    /// Number of tensors and of bytes by block type, in type order.
    pub types: Vec<TypeCount>,
    /// All tensors, in the order of the file.
    pub tensors: Vec<TensorFacts>,
    /// What was verified.
    pub verified: Vec<String>,
    /// Doubts.
    pub warnings: Vec<String>,
}

/// A model that can be run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// The family.
    pub architecture: String,
    /// Name and value of each dimension.
    pub dimensions: Vec<(String, u64)>,
    /// RoPE, in words.
    pub rope: String,
    /// Attention, in words.
    pub attention: String,
    /// Whether the head is the embedding.
    pub tied: bool,
    /// Number of weights that a forward pass reads.
    pub parameters: u64,
    /// The tokenizer, in words.
    pub tokenizer: String,
}

/// Tensors of one block type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeCount {
    /// `"Q4_K"`.
    pub name: String,
    /// Tensors.
    pub tensors: usize,
    /// Bytes.
    pub bytes: u64,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorFacts {
    /// Its name in the file.
    pub name: String,
    /// `"Q4_K"`.
    pub tensor_type: String,
    /// `[out, in]`.
    pub shape: Vec<usize>,
    /// Bytes.
    pub bytes: u64,
    /// Where it begins in its file.
    pub offset: u64,
}
