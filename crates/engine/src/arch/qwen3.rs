//! Qwen3 (Yang et al. 2025): as Llama, with an RMSNorm on each head of q and k before RoPE.

use super::{Architecture, Block, TensorSpec, spec};
use crate::config::Config;
use crate::op::Pairing;
use crate::run::{Cx, Value};
use crate::site::Point as P;

/// The family.
pub(super) struct Qwen3;

impl Architecture for Qwen3 {
    fn name(&self) -> &'static str {
        "qwen3"
    }

    fn hf_classes(&self) -> &'static [&'static str] {
        &["Qwen3ForCausalLM"]
    }

    fn describe(&self) -> &'static str {
        "Qwen3: RMSNorm on each head of q and k, explicit head dimension"
    }

    fn gguf_pairing(&self) -> Pairing {
        Pairing::HalfSplit
    }

    fn tensors(&self, c: &Config) -> Vec<TensorSpec> {
        let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
        vec![
            spec("attn_norm.weight", &[c.hidden]),
            spec("attn_q.weight", &[q, c.hidden]),
            spec("attn_k.weight", &[kv, c.hidden]),
            spec("attn_v.weight", &[kv, c.hidden]),
            spec("attn_q_norm.weight", &[c.head_dim]),
            spec("attn_k_norm.weight", &[c.head_dim]),
            spec("attn_output.weight", &[c.hidden, q]),
            spec("ffn_norm.weight", &[c.hidden]),
            spec("ffn_gate.weight", &[c.ffn, c.hidden]),
            spec("ffn_up.weight", &[c.ffn, c.hidden]),
            spec("ffn_down.weight", &[c.hidden, c.ffn]),
        ]
    }

    fn block(&self, c: &Config, w: &Block<'_>, cx: &mut Cx<'_>, x: Value) -> Value {
        let h = cx.norm(P::AttnNorm, w.vector("attn_norm"), x);
        let q = cx.linear(P::Q, w.linear("attn_q"), h);
        let k = cx.linear(P::K, w.linear("attn_k"), h);
        let v = cx.linear(P::V, w.linear("attn_v"), h);
        let q = cx.norm(P::QNorm, w.vector("attn_q_norm"), q);
        let k = cx.norm(P::KNorm, w.vector("attn_k_norm"), k);
        let q = cx.rope(P::QRope, c.heads, q);
        let k = cx.rope(P::KRope, c.kv_heads, k);
        let (keys, values) = cx.cache(k, v);
        let scores = cx.scores(q, keys);
        let probs = cx.softmax(scores);
        let a = cx.mix(probs, values);
        let a = cx.linear(P::AttnOut, w.linear("attn_output"), a);
        let x = cx.add(P::AttnResidual, x, a);

        let h = cx.norm(P::FfnNorm, w.vector("ffn_norm"), x);
        let gate = cx.linear(P::FfnGate, w.linear("ffn_gate"), h);
        let up = cx.linear(P::FfnUp, w.linear("ffn_up"), h);
        let gate = cx.silu(gate);
        let h = cx.multiply(P::FfnSwiglu, gate, up);
        let h = cx.linear(P::FfnDown, w.linear("ffn_down"), h);
        cx.add(P::Output, x, h)
    }
}
