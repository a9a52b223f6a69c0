//! Nodes of llama.cpp's graphs: `ffn_gate-3`. Some names are given to several nodes in a row; `tools/capture_llamacpp.py`
//! therefore writes `Qcur-3@ROPE`, the name with the operation.

use twinpath_engine::{Config, Point as P, Site};

use super::{Layout, Meaning, Names, block};

/// The vocabulary.
pub(super) struct Ggml;

impl Names for Ggml {
    fn name(&self) -> &'static str {
        "ggml"
    }

    fn describe(&self) -> &'static str {
        "nodes of llama.cpp's graphs, `ffn_gate-3`, or `Qcur-3@ROPE` with the operation"
    }

    fn meaning(&self, name: &str, _: &Config) -> Option<Meaning> {
        let (name, op) = name.split_once('@').unwrap_or((name, ""));
        let Some((node, layer)) = name.rsplit_once('-') else {
            let point = match name {
                "inp_embd" | "embd" => P::Embed,
                "result_norm" => P::FinalNorm,
                "result_output" => P::Logits,
                _ => return None,
            };
            return Some(Meaning::of(Site::outer(point)));
        };
        let rope = op == "ROPE";
        let point = match node {
            "attn_norm" => P::AttnNorm,
            "Qcur" if rope => P::QRope,
            "Kcur" if rope => P::KRope,
            "Qcur" => P::Q,
            "Kcur" => P::K,
            "Vcur" => P::V,
            "Qcur_normed" => P::QNorm,
            "Kcur_normed" => P::KNorm,
            "Qcur_rope" => P::QRope,
            "Kcur_rope" => P::KRope,
            "kq" => P::AttnScores,
            "kq_soft_max" | "kq_soft_max_ext" => P::AttnProbs,
            "kqv_out" | "__fattn__" => P::AttnCtx,
            "attn_out" => P::AttnOut,
            "ffn_inp" => P::AttnResidual,
            "ffn_norm" => P::FfnNorm,
            "ffn_gate" => P::FfnGate,
            "ffn_up" => P::FfnUp,
            "ffn_silu" => P::FfnSilu,
            "ffn_swiglu" | "ffn_gate_par" => P::FfnSwiglu,
            "ffn_out" => P::FfnDown,
            "l_out" => P::Output,
            _ => return None,
        };
        let attention = matches!(point, P::AttnScores | P::AttnProbs);
        let layout = if attention { Layout::Heads } else { Layout::Rows };
        // A bias is added by a node of its own, under the same name.
        let rank = u8::from(op == "ADD");
        let unscaled = point == P::AttnScores;
        Some(Meaning { layout: Some(layout), unscaled, rank, ..Meaning::of(block(layer, point)?) })
    }
}
