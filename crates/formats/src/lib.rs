//! Bytes to validated, borrowed views.
//!
//! A container ([`Gguf`](gguf::Gguf), [`Apr`](apr::Apr), [`HfFolder`](hf::HfFolder)) maps its file, checks
//! every length and offset before it trusts one, and hands out [`Matrix`] views. A [`QuantFormat`]
//! says exactly which real numbers the bytes of one block stand for. Nothing here does arithmetic beyond decoding a block.

pub mod apr;
pub mod atomic;
pub mod container;
pub mod convert;
mod cursor;
pub mod error;
pub mod gguf;
pub mod hf;
pub mod map;
pub mod matrix;
pub mod quant;
mod sink;

pub use container::{Container, Fill, ModelFile, TensorEntry, TensorPlan, Verify};
pub use error::{Fault, FormatError};
pub use matrix::{Matrix, MatrixError};
pub use quant::{QuantFormat, TensorType};
