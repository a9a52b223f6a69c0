//! Modules of Hugging Face transformers: `model.layers.3.mlp.gate_proj`, with `.in` or `.out` for what goes in or comes out.
//!
//! What no module makes has a name of `tools/capture_hf.py`: `self_attn.q_rope`, `self_attn.attn_scores` (scaled, before the
//! mask), `self_attn.attn_probs`, `resid_mid`.

use twinpath_engine::{Config, Point as P, Site};

use super::{Layout, Meaning, Names, block};

/// The vocabulary.
pub(super) struct HuggingFace;

impl Names for HuggingFace {
    fn name(&self) -> &'static str {
        "Hugging Face"
    }

    fn describe(&self) -> &'static str {
        "modules of transformers, `model.layers.3.mlp.gate_proj`, as forward hooks see them"
    }

    fn meaning(&self, name: &str, _: &Config) -> Option<Meaning> {
        let (name, input) = match name.strip_suffix(".in") {
            Some(name) => (name, true),
            None => (name.strip_suffix(".out").unwrap_or(name), false),
        };
        if let Some(rest) = name.strip_prefix("model.layers.") {
            let (layer, module) = rest.split_once('.').unwrap_or((rest, ""));
            return of_layer(layer, module, input);
        }
        let point = match (name, input) {
            ("model.embed_tokens", false) => P::Embed,
            ("model.norm", false) => P::FinalNorm,
            ("lm_head" | "logits", false) => P::Logits,
            _ => return None,
        };
        Some(Meaning::of(Site::outer(point)))
    }

    fn half_split(&self) -> bool {
        true
    }
}

fn of_layer(layer: &str, module: &str, input: bool) -> Option<Meaning> {
    let point = match (module, input) {
        ("input_layernorm", false) => P::AttnNorm,
        ("self_attn.q_proj", false) => P::Q,
        ("self_attn.k_proj", false) => P::K,
        ("self_attn.v_proj", false) => P::V,
        ("self_attn.q_norm", false) => P::QNorm,
        ("self_attn.k_norm", false) => P::KNorm,
        ("self_attn.q_rope", false) => P::QRope,
        ("self_attn.k_rope", false) => P::KRope,
        ("self_attn.attn_scores", false) => P::AttnScores,
        ("self_attn.attn_probs", false) => P::AttnProbs,
        ("self_attn.o_proj", true) => P::AttnCtx,
        ("self_attn.o_proj" | "self_attn", false) => P::AttnOut,
        ("resid_mid", false) | ("post_attention_layernorm", true) => P::AttnResidual,
        ("post_attention_layernorm", false) => P::FfnNorm,
        ("mlp.gate_proj", false) => P::FfnGate,
        ("mlp.up_proj", false) => P::FfnUp,
        ("mlp.act_fn", false) => P::FfnSilu,
        ("mlp.down_proj", true) => P::FfnSwiglu,
        ("mlp.down_proj" | "mlp", false) => P::FfnDown,
        ("", false) => P::Output,
        ("self_attn.qkv_proj", false) => return fused(layer, &[P::Q, P::K, P::V]),
        ("mlp.gate_up_proj", false) => return fused(layer, &[P::FfnGate, P::FfnUp]),
        _ => return None,
    };
    let heads = matches!(point, P::AttnScores | P::AttnProbs).then_some(Layout::Heads);
    Some(Meaning { layout: heads, ..Meaning::of(block(layer, point)?) })
}

fn fused(layer: &str, points: &[P]) -> Option<Meaning> {
    let sites = points.iter().map(|point| block(layer, *point)).collect::<Option<Vec<Site>>>()?;
    Some(Meaning { layout: Some(Layout::Rows), unscaled: false, rank: 0, sites })
}
