//! `.apr` v2: flat keys in Hugging Face spelling, the tokenizer inside the metadata.

use std::path::Path;

use serde_json::Value;
use twinpath_formats::apr::Apr;
use twinpath_formats::convert::kept_gguf_metadata;

use super::gguf::{self, Keys};
use super::json::{self, Json};
use super::{bad, family};
use crate::config::{Described, Window};
use crate::error::EngineError;
use crate::op::Pairing;
use crate::tokenizer::{Tokenizer, TokenizerKind, TokenizerSpec};

/// Upstream's codes of the pair layout, `rope_type`.
const ADJACENT: u64 = 0;
const HALF_SPLIT: u64 = 2;

pub(super) fn describe(apr: &Apr, path: &Path) -> Result<(Described, Vec<String>), EngineError> {
    let missing = |key: &str| EngineError::MissingKey { file: path.to_owned(), key: key.to_owned() };
    let name = apr.str("architecture")?.ok_or_else(|| missing("architecture"))?;
    let arch = family(path, name)?;
    let need = |key: &str| apr.u64(key)?.ok_or_else(|| missing(key));
    let c = Json { path, map: apr.metadata() };
    let context = need("max_position_embeddings")?;
    let pairing = match apr.u64("rope_type")? {
        Some(ADJACENT) => Pairing::Adjacent,
        Some(HALF_SPLIT) => Pairing::HalfSplit,
        Some(other) => {
            return Err(bad(path, "rope_type", format!("is {other}; 0 (adjacent) and 2 (half split) are known")));
        }
        None => arch.gguf_pairing(),
    };
    // Window and scaling: in Hugging Face's spelling, or as the GGUF keys that our conversion keeps.
    let mut warnings = apr.warnings().to_vec();
    let kept = kept_gguf_metadata(apr)?;
    let keys = Keys { path, metadata: &kept };
    let window = match c.u64(&["sliding_window"])? {
        Some(size) if size > 0 && name == "llama" => Window::From { first: 0, size },
        _ => gguf::window(keys, name, &mut warnings)?,
    };
    let scaling = match c.object("rope_scaling")? {
        Some(object) => json::scaling(Some(object), context)?,
        None => gguf::scaling(keys, gguf::factors(apr, path)?, name)?,
    };
    let described = Described {
        arch,
        hidden: need("hidden_size")?,
        layers: need("num_layers")?,
        heads: need("num_heads")?,
        kv_heads: apr.u64("num_kv_heads")?,
        head_dim: apr.u64("head_dim")?,
        ffn: need("intermediate_size")?,
        context,
        eps: apr.f64("rms_norm_eps")?.ok_or_else(|| missing("rms_norm_eps"))?,
        theta: apr.f64("rope_theta")?.ok_or_else(|| missing("rope_theta"))?,
        scaling,
        pairing,
        window,
    };
    Ok((described, warnings))
}

pub(super) fn tokenizer(apr: &Apr, path: &Path) -> Result<Option<Tokenizer>, EngineError> {
    let c = Json { path, map: apr.metadata() };
    let Some(tokens) = c.array(&["tokenizer.vocabulary"])? else { return Ok(None) };
    let strings = |key: &'static str, values: &[Value]| -> Result<Vec<String>, EngineError> {
        let text = |v: &Value| v.as_str().map(str::to_owned);
        values.iter().map(|v| text(v).ok_or_else(|| bad(path, key, format!("holds {v}, not a string")))).collect()
    };
    let model = c.str(&["tokenizer.model", "tokenizer.model_type"])?.unwrap_or("gpt2");
    let kind = if model.eq_ignore_ascii_case("bpe") {
        Some(TokenizerKind::ByteLevelBpe)
    } else {
        TokenizerKind::from_ggml(model)
    };
    let kind =
        kind.ok_or_else(|| bad(path, "tokenizer.model", format!("is `{model}`; gpt2, BPE and llama are supported")))?;
    let scores = c.array(&["tokenizer.scores"])?.unwrap_or_default();
    let types = c.array(&["tokenizer.token_type"])?.unwrap_or_default();
    let score = |v: &Value| v.as_f64().ok_or_else(|| bad(path, "tokenizer.scores", format!("holds {v}, not a number")));
    let token_type = |v: &Value| {
        let code = v.as_i64().and_then(|t| i32::try_from(t).ok());
        code.ok_or_else(|| bad(path, "tokenizer.token_type", format!("holds {v}, not a token type")))
    };
    let id = |keys: &[&'static str]| -> Result<Option<u32>, EngineError> {
        let Some(id) = c.u64(keys)? else { return Ok(None) };
        u32::try_from(id).map(Some).map_err(|_| bad(path, keys[0], format!("is {id}, not a token id")))
    };
    let spec = TokenizerSpec {
        kind,
        pre: c.str(&["tokenizer.pre_type"])?.unwrap_or("default").to_owned(),
        tokens: strings("tokenizer.vocabulary", tokens)?,
        merges: strings("tokenizer.merges", c.array(&["tokenizer.merges"])?.unwrap_or_default())?,
        scores: scores.iter().map(|v| score(v).map(|s| s as f32)).collect::<Result<_, _>>()?,
        token_types: types.iter().map(token_type).collect::<Result<_, _>>()?,
        bos: id(&["tokenizer.bos_token_id"])?,
        eos: id(&["tokenizer.eos_token_id"])?,
        eot: id(&["tokenizer.eot_token_id"])?,
        eom: id(&["tokenizer.eom_token_id"])?,
        unk: id(&["tokenizer.unknown_token_id"])?,
        add_bos: c.bool("tokenizer.add_bos_token")?,
        add_eos: c.bool("tokenizer.add_eos_token")?,
        add_space_prefix: c.bool("tokenizer.add_space_prefix")?,
        chat_template: c.str(&["tokenizer.chat_template", "chat_template"])?.map(str::to_owned),
    };
    Ok(Some(Tokenizer::from_spec(&spec)?))
}
