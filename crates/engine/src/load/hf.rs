//! Hugging Face folders: `config.json` as transformers writes it, versions 4 and 5.

use std::path::Path;

use serde_json::Value;
use twinpath_formats::hf::HfFolder;
use twinpath_formats::map::Bytes;

use super::json::{Json, scaling};
use super::{bad, family};
use crate::config::{Described, Window};
use crate::error::EngineError;
use crate::op::Pairing;
use crate::tokenizer::Tokenizer;

pub(super) fn describe(folder: &HfFolder, path: &Path) -> Result<(Described, Vec<String>), EngineError> {
    let c = Json { path, map: folder.config() };
    let classes = c.array(&["architectures"])?.ok_or_else(|| c.missing("architectures"))?;
    let class = classes.first().and_then(Value::as_str).ok_or_else(|| c.missing("architectures[0]"))?;
    let arch = family(path, class)?;
    if let Some(act) = c.str(&["hidden_act"])?
        && act != "silu"
    {
        return Err(bad(path, "hidden_act", format!("is `{act}`; only silu is supported")));
    }
    for key in ["attention_bias", "mlp_bias"] {
        if c.bool(key)? == Some(true) {
            return Err(bad(path, key, "is true, which this family does not support"));
        }
    }
    let need = |key: &'static str| c.u64(&[key])?.ok_or_else(|| c.missing(key));
    let context = need("max_position_embeddings")?;
    let rope = match c.object("rope_parameters")? {
        Some(rope) => Some(rope),
        None => c.object("rope_scaling")?,
    };
    let theta = match rope.map(|r| r.f64(&["rope_theta"])).transpose()?.flatten() {
        Some(theta) => theta,
        None => c.f64(&["rope_theta"])?.unwrap_or(10_000.0),
    };
    let described = Described {
        arch,
        hidden: need("hidden_size")?,
        layers: need("num_hidden_layers")?,
        heads: need("num_attention_heads")?,
        kv_heads: c.u64(&["num_key_value_heads"])?,
        head_dim: c.u64(&["head_dim"])?,
        ffn: need("intermediate_size")?,
        context,
        eps: c.f64(&["rms_norm_eps"])?.ok_or_else(|| c.missing("rms_norm_eps"))?,
        theta,
        scaling: scaling(rope, context)?,
        pairing: Pairing::HalfSplit,
        window: window(c, arch.name())?,
    };
    Ok((described, Vec::new()))
}

/// Windowed layers: by name where `layer_types` lists them, else Mistral windows all layers and Qwen those from
/// `max_window_layers` on, if `use_sliding_window` says so.
fn window(c: Json<'_>, arch: &str) -> Result<Window, EngineError> {
    let Some(size) = c.u64(&["sliding_window"])? else { return Ok(Window::Full) };
    if let Some(types) = c.array(&["layer_types"])? {
        let listed = types.iter().map(|t| match t.as_str() {
            Some("full_attention") => Ok(None),
            Some("sliding_attention") => Ok(Some(size)),
            _ => Err(bad(
                c.path,
                "layer_types",
                format!("holds {t}; full_attention and sliding_attention are supported"),
            )),
        });
        return Ok(Window::Listed(listed.collect::<Result<_, _>>()?));
    }
    if arch == "llama" {
        return Ok(Window::From { first: 0, size });
    }
    match c.bool("use_sliding_window")? {
        Some(true) => Ok(Window::From { first: c.u64(&["max_window_layers"])?.unwrap_or(0), size }),
        _ => Ok(Window::Full),
    }
}

pub(super) fn tokenizer(folder: &HfFolder, path: &Path) -> Result<Option<Tokenizer>, EngineError> {
    let Some(json) = folder.tokenizer_json() else { return Ok(None) };
    let config = path.join("tokenizer_config.json");
    let config = if config.exists() { Some(Bytes::map(&config)?) } else { None };
    Ok(Some(Tokenizer::from_hf(json, config.as_deref())?))
}
