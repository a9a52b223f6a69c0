//! GGUF: keys under `general.` and the architecture's name (ggml, docs/gguf.md; llama.cpp for the RoPE keys).

use std::path::Path;

use twinpath_formats::Container;
use twinpath_formats::gguf::{Array, FromValue, Gguf, Metadata};

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
    let keys = Keys { path, metadata: gguf.metadata() };
    let window = window(keys, name, &mut warnings)?;
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
        scaling: scaling(keys, factors(gguf, path)?, name)?,
        pairing: arch.gguf_pairing(),
        window,
    };
    Ok((described, warnings))
}

/// GGUF metadata, of a GGUF file or kept in an `.apr` file.
#[derive(Clone, Copy)]
pub(super) struct Keys<'f> {
    pub(super) path: &'f Path,
    pub(super) metadata: &'f Metadata,
}

impl<'f> Keys<'f> {
    fn find<T: FromValue<'f>>(&self, key: &str) -> Result<Option<T>, EngineError> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        let wrong = || bad(self.path, key, format!("holds {}, not {}", value.type_name(), T::WANTED));
        T::from_value(value).map(Some).ok_or_else(wrong)
    }

    fn number(&self, key: &str) -> Result<Option<f64>, EngineError> {
        Ok(self.find::<f32>(key)?.map(f64::from))
    }
}

/// Llama-family files (Mistral) mean every layer by `attention.sliding_window`; others name the layers by a pattern.
pub(super) fn window(keys: Keys<'_>, arch: &str, warnings: &mut Vec<String>) -> Result<Window, EngineError> {
    let key = format!("{arch}.attention.sliding_window");
    let Some(size) = keys.find::<u64>(&key)?.filter(|size| *size > 0) else { return Ok(Window::Full) };
    if let Some(Array::Bool(pattern)) = keys.find::<&Array>(&format!("{key}_pattern"))? {
        return Ok(Window::Listed(pattern.iter().map(|windowed| windowed.then_some(size)).collect()));
    }
    if arch == "llama" {
        return Ok(Window::From { first: 0, size });
    }
    warnings.push(format!("`{key}` = {size} does not say which layers it is for; full attention is used"));
    Ok(Window::Full)
}

/// The factors of `rope_freqs.weight` (Llama-3's scaling, as llama.cpp's converter writes it).
pub(super) fn factors(container: &dyn Container, path: &Path) -> Result<Option<Vec<f64>>, EngineError> {
    const NAME: &str = "rope_freqs.weight";
    if container.tensor(NAME).is_none() {
        return Ok(None);
    }
    let stored = container.matrix(NAME)?;
    if stored.rows() != 1 || stored.format().block_len() != 1 {
        return Err(bad(path, NAME, "is not a plain vector of factors"));
    }
    let mut values = vec![0.0; stored.cols()];
    stored.decode_row(0, &mut values);
    Ok(Some(values))
}

pub(super) fn scaling(keys: Keys<'_>, factors: Option<Vec<f64>>, arch: &str) -> Result<Scaling, EngineError> {
    if let Some(factors) = factors {
        return Ok(Scaling::Factors(factors));
    }
    let key = |suffix: &str| format!("{arch}.rope.scaling.{suffix}");
    let missing = |key: String| EngineError::MissingKey { file: keys.path.to_owned(), key };
    let factor = || keys.number(&key("factor"))?.ok_or_else(|| missing(key("factor")));
    match keys.find::<&str>(&key("type"))? {
        None | Some("none") => Ok(Scaling::None),
        Some("linear") => Ok(Scaling::Linear { factor: factor()? }),
        Some("yarn") => {
            let factor = factor()?;
            let original_key = key("original_context_length");
            let original: u64 = keys.find(&original_key)?.ok_or_else(|| missing(original_key))?;
            // llama.cpp multiplies the factor of the file with YaRN's own.
            let own = 0.1 * libm::log(factor) + 1.0;
            let attention_factor = keys.number(&key("attn_factor"))?.map(|f| f * own);
            Ok(Scaling::Yarn {
                factor,
                original: original as f64,
                beta_fast: keys.number(&key("yarn_beta_fast"))?.unwrap_or(32.0),
                beta_slow: keys.number(&key("yarn_beta_slow"))?.unwrap_or(1.0),
                attention_factor,
                truncate: true,
            })
        }
        Some(other) => Err(bad(keys.path, &key("type"), format!("is `{other}`; linear and yarn are supported"))),
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
