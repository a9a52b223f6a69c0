//! Stages of the `apr` tool, `ffn_swigl@3` with the layer that an APRT file says.

use twinpath_engine::{Config, Point as P, Site};

use super::{Layout, Meaning, Names};

/// The vocabulary.
pub(super) struct Apr;

impl Names for Apr {
    fn name(&self) -> &'static str {
        "apr"
    }

    fn describe(&self) -> &'static str {
        "stages of the apr tool's APRT files, `ffn_swigl` of a layer"
    }

    fn meaning(&self, name: &str, _: &Config) -> Option<Meaning> {
        let (stage, layer) = name.split_once('@')?;
        let layer: usize = layer.parse().ok()?;
        let points: &[P] = match stage {
            "embedding" => return Some(Meaning::of(Site::outer(P::Embed))),
            "final_norm" => return Some(Meaning::of(Site::outer(P::FinalNorm))),
            "lm_head" | "logits" => return Some(Meaning::of(Site::outer(P::Logits))),
            "attn_norm" => &[P::AttnNorm],
            "qkv" => &[P::Q, P::K, P::V],
            "q" => &[P::Q],
            "k" => &[P::K],
            "v" => &[P::V],
            "q_rope" => &[P::QRope],
            "k_rope" => &[P::KRope],
            "attn_out" => &[P::AttnOut],
            "ffn_norm" => &[P::FfnNorm],
            "ffn_gate" => &[P::FfnGate],
            "ffn_up" => &[P::FfnUp],
            "ffn_silu" => &[P::FfnSilu],
            "ffn_swigl" | "ffn_swiglu" => &[P::FfnSwiglu],
            "ffn_down" | "ffn_out" => &[P::FfnDown],
            "output" => &[P::Output],
            _ => return None,
        };
        let sites = points.iter().map(|point| Site::block(layer, *point)).collect();
        Some(Meaning { sites, layout: Some(Layout::Rows), unscaled: false, rank: 0 })
    }
}
