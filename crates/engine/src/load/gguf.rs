//! GGUF: keys under `general.` and the architecture's name (ggml, docs/gguf.md; llama.cpp for the RoPE keys).

use std::path::Path;

use twinpath_formats::Container;
use twinpath_formats::gguf::{Array, Gguf};

use super::{bad, family};
use crate::config::{Described, Window};
use crate::error::EngineError;
use crate::rope::Scaling;
use crate::tokenizer::{Tokenizer, TokenizerKind, TokenizerSpec};

pub(super) fn describe(gguf: &Gguf, path: &Path) -> Result<(Described, Vec<String>), EngineError> {
    let name: &str = gguf.require("general.architecture")?;
    let arch = family(path, name)?;
    let key = |suffix: &str| format!("{name}.{suffix}");
    let mut warnings = Vec::new();
    let window = window(gguf, name, &mut warnings)?;
    let hidden: u64 = gguf.require(&key("embedding_length"))?;
    let heads: u64 = gguf.require(&key("attention.head_count"))?;
    let head_dim = gguf.u64(&key("attention.key_length"))?;
    if let (Some(k), Some(v)) = (head_dim, gguf.u64(&key("attention.value_length"))?)
        && k != v
    {
        return Err(bad(
            path,
            &key("attention.value_length"),
            format!("is {v}, but keys have {k}; they must be equal"),
        ));
    }
    if let Some(rotated) = gguf.u64(&key("rope.dimension_count"))?
        && heads > 0
        && rotated != head_dim.unwrap_or(hidden / heads)
    {
        return Err(bad(
            path,
            &key("rope.dimension_count"),
            format!("is {rotated}: partial rotation is not supported"),
        ));
    }
    let described = Described {
        arch,
        hidden,
        layers: gguf.require(&key("block_count"))?,
        heads,
        kv_heads: gguf.u64(&key("attention.head_count_kv"))?,
        head_dim,
        ffn: gguf.require(&key("feed_forward_length"))?,
        context: gguf.require(&key("context_length"))?,
        eps: f64::from(gguf.require::<f32>(&key("attention.layer_norm_rms_epsilon"))?),
        theta: f64::from(gguf.f32(&key("rope.freq_base"))?.unwrap_or(10_000.0)),
        scaling: scaling(gguf, path, name)?,
        pairing: arch.gguf_pairing(),
        window,
    };
    Ok((described, warnings))
}

/// Llama-family files (Mistral) mean every layer by `attention.sliding_window`; others name the layers by a pattern.
fn window(gguf: &Gguf, arch: &str, warnings: &mut Vec<String>) -> Result<Window, EngineError> {
    let key = format!("{arch}.attention.sliding_window");
    let Some(size) = gguf.u64(&key)?.filter(|size| *size > 0) else { return Ok(Window::Full) };
    if let Some(Array::Bool(pattern)) = gguf.array(&format!("{key}_pattern"))? {
        return Ok(Window::Listed(pattern.iter().map(|windowed| windowed.then_some(size)).collect()));
    }
    if arch == "llama" {
        return Ok(Window::From { first: 0, size });
    }
    warnings.push(format!("`{key}` = {size} does not say which layers it is for; full attention is used"));
    Ok(Window::Full)
}

fn scaling(gguf: &Gguf, path: &Path, arch: &str) -> Result<Scaling, EngineError> {
    let key = |suffix: &str| format!("{arch}.rope.scaling.{suffix}");
    if gguf.tensor("rope_freqs.weight").is_some() {
        let factors = gguf.matrix("rope_freqs.weight")?;
        if factors.rows() != 1 || factors.format().block_len() != 1 {
            return Err(bad(path, "rope_freqs.weight", "is not a plain vector of factors"));
        }
        let mut values = vec![0.0; factors.cols()];
        factors.decode_row(0, &mut values);
        return Ok(Scaling::Factors(values));
    }
    let require = |suffix: &str| -> Result<f64, EngineError> { Ok(f64::from(gguf.require::<f32>(&key(suffix))?)) };
    match gguf.str(&key("type"))? {
        None | Some("none") => Ok(Scaling::None),
        Some("linear") => Ok(Scaling::Linear { factor: require("factor")? }),
        Some("yarn") => {
            let factor = require("factor")?;
            let original: u64 = gguf.require(&key("original_context_length"))?;
            // llama.cpp multiplies the factor of the file with YaRN's own.
            let own = 0.1 * libm::log(factor) + 1.0;
            let attention_factor = gguf.f32(&key("attn_factor"))?.map(|f| f64::from(f) * own);
            Ok(Scaling::Yarn {
                factor,
                original: original as f64,
                beta_fast: f64::from(gguf.f32(&key("yarn_beta_fast"))?.unwrap_or(32.0)),
                beta_slow: f64::from(gguf.f32(&key("yarn_beta_slow"))?.unwrap_or(1.0)),
                attention_factor,
                truncate: true,
            })
        }
        Some(other) => Err(bad(path, &key("type"), format!("is `{other}`; linear and yarn are supported"))),
    }
}

pub(super) fn tokenizer(gguf: &Gguf, path: &Path) -> Result<Option<Tokenizer>, EngineError> {
    let key = |suffix: &str| format!("tokenizer.ggml.{suffix}");
    let Some(model) = gguf.str(&key("model"))? else { return Ok(None) };
    let kind = TokenizerKind::from_ggml(model)
        .ok_or_else(|| bad(path, &key("model"), format!("is `{model}`; gpt2 and llama are supported")))?;
    let strings = |suffix: &str| -> Result<Vec<String>, EngineError> {
        let Some(array) = gguf.array(&key(suffix))? else { return Ok(Vec::new()) };
        array.strings().map(<[String]>::to_vec).ok_or_else(|| bad(path, &key(suffix), "is not an array of strings"))
    };
    let scores = match gguf.array(&key("scores"))? {
        None => Vec::new(),
        Some(a) => a.f32s().ok_or_else(|| bad(path, &key("scores"), "is not an array of f32"))?.to_vec(),
    };
    let token_types = match gguf.array(&key("token_type"))? {
        None => Vec::new(),
        Some(a) => a.i32s().ok_or_else(|| bad(path, &key("token_type"), "is not an array of i32"))?.to_vec(),
    };
    let spec = TokenizerSpec {
        kind,
        pre: gguf.str(&key("pre"))?.unwrap_or("default").to_owned(),
        tokens: strings("tokens")?,
        merges: strings("merges")?,
        scores,
        token_types,
        bos: gguf.u32(&key("bos_token_id"))?,
        eos: gguf.u32(&key("eos_token_id"))?,
        eot: gguf.u32(&key("eot_token_id"))?,
        eom: gguf.u32(&key("eom_token_id"))?,
        unk: gguf.u32(&key("unknown_token_id"))?,
        add_bos: gguf.bool(&key("add_bos_token"))?,
        add_eos: gguf.bool(&key("add_eos_token"))?,
        add_space_prefix: gguf.bool(&key("add_space_prefix"))?,
        chat_template: gguf.str("tokenizer.chat_template")?.map(str::to_owned),
    };
    Ok(Some(Tokenizer::from_spec(&spec)?))
}
