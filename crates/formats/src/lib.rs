//! Bytes to validated, borrowed views.
//!
//! A container ([`Gguf`](gguf::Gguf), [`Apr`](apr::Apr), [`HfFolder`](safetensors::HfFolder)) maps its file, checks
//! every length and offset before it trusts one, and hands out [`Matrix`] views. A [`QuantFormat`](quant::QuantFormat)
//! says exactly which real numbers the bytes of one block stand for. Nothing here does arithmetic beyond decoding a block.

pub mod matrix;
pub mod quant;

pub use matrix::{Matrix, MatrixError};
pub use quant::{QuantFormat, TensorType};
