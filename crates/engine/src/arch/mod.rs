//! Model families: one file each, one line in [`ARCHS`].
//!
//! A family says which tensors a layer has and writes its forward pass. It names no number format and no path.

mod llama;
mod qwen2;
mod qwen3;

use crate::config::Config;
use crate::model::{Linear, Model};
use crate::op::Pairing;
use crate::run::{Cx, Value};

/// Every family.
pub const ARCHS: &[&dyn Architecture] = &[&llama::Llama, &qwen2::Qwen2, &qwen3::Qwen3];

/// One model family.
pub trait Architecture: Sync {
    /// `general.architecture` of its GGUF files, `"qwen2"`.
    fn name(&self) -> &'static str;
    /// Classes of its Hugging Face checkpoints.
    fn hf_classes(&self) -> &'static [&'static str];
    /// One line for `twinpath list archs`.
    fn describe(&self) -> &'static str;
    /// RoPE pair layout of the q and k rows in its GGUF files.
    fn gguf_pairing(&self) -> Pairing;
    /// The tensors of one layer, by their names after `blk.N.`.
    fn tensors(&self, c: &Config) -> Vec<TensorSpec>;
    /// One layer, from residual stream to residual stream, `[T, hidden]`.
    fn block(&self, c: &Config, w: &Block<'_>, cx: &mut Cx<'_>, x: Value) -> Value;
}

/// The family with this GGUF name or Hugging Face class.
pub fn find(name: &str) -> Option<&'static dyn Architecture> {
    ARCHS.iter().copied().find(|a| a.name() == name || a.hf_classes().contains(&name))
}

/// A tensor that a layer must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name after `blk.N.`, `"attn_q.weight"`.
    pub name: &'static str,
    /// `[out, in]`, or `[n]`.
    pub shape: Vec<usize>,
}

/// Short form of a [`TensorSpec`].
fn spec(name: &'static str, shape: &[usize]) -> TensorSpec {
    TensorSpec { name, shape: shape.to_vec() }
}

/// The weights of one layer. Every tensor that the family lists was found, with its shape, when the model was loaded.
pub struct Block<'m> {
    model: &'m Model,
    layer: usize,
}

impl<'m> Block<'m> {
    /// The weights of layer `layer`.
    pub fn new(model: &'m Model, layer: usize) -> Self {
        Block { model, layer }
    }

    /// A vector, `"attn_norm"`.
    pub fn vector(&self, name: &str) -> &'m [f32] {
        self.model.vector(&format!("blk.{}.{name}.weight", self.layer))
    }

    /// A matrix, with its bias if the family lists one.
    pub fn linear(&self, name: &str) -> Linear<'m> {
        self.model.linear(&format!("blk.{}.{name}", self.layer))
    }
}
