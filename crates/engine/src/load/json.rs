//! Typed access to JSON metadata, and the Hugging Face spelling of RoPE scalings.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::bad;
use crate::error::EngineError;
use crate::rope::Scaling;

/// A JSON object of a file.
#[derive(Clone, Copy)]
pub(super) struct Json<'f> {
    pub(super) path: &'f Path,
    pub(super) map: &'f Map<String, Value>,
}

impl<'f> Json<'f> {
    /// The first of several spellings that is there and not null.
    fn any(&self, keys: &[&'f str]) -> Option<(&'f str, &'f Value)> {
        keys.iter().find_map(|k| self.map.get(*k).filter(|v| !v.is_null()).map(|v| (*k, v)))
    }

    pub(super) fn u64(&self, keys: &[&'f str]) -> Result<Option<u64>, EngineError> {
        let Some((key, value)) = self.any(keys) else { return Ok(None) };
        let found = value
            .as_u64()
            .ok_or_else(|| bad(self.path, key, format!("is {value}, not a whole number of at least 0")))?;
        Ok(Some(found))
    }

    pub(super) fn f64(&self, keys: &[&'f str]) -> Result<Option<f64>, EngineError> {
        let Some((key, value)) = self.any(keys) else { return Ok(None) };
        let found = value.as_f64().ok_or_else(|| bad(self.path, key, format!("is {value}, not a number")))?;
        Ok(Some(found))
    }

    pub(super) fn str(&self, keys: &[&'f str]) -> Result<Option<&'f str>, EngineError> {
        let Some((key, value)) = self.any(keys) else { return Ok(None) };
        let found = value.as_str().ok_or_else(|| bad(self.path, key, format!("is {value}, not a string")))?;
        Ok(Some(found))
    }

    pub(super) fn bool(&self, key: &'f str) -> Result<Option<bool>, EngineError> {
        let Some((key, value)) = self.any(&[key]) else { return Ok(None) };
        let found = value.as_bool().ok_or_else(|| bad(self.path, key, format!("is {value}, not true or false")))?;
        Ok(Some(found))
    }

    pub(super) fn object(&self, key: &'f str) -> Result<Option<Json<'f>>, EngineError> {
        let Some((key, value)) = self.any(&[key]) else { return Ok(None) };
        let map = value.as_object().ok_or_else(|| bad(self.path, key, "is not an object"))?;
        Ok(Some(Json { path: self.path, map }))
    }

    pub(super) fn array(&self, keys: &[&'f str]) -> Result<Option<&'f [Value]>, EngineError> {
        let Some((key, value)) = self.any(keys) else { return Ok(None) };
        let found = value.as_array().ok_or_else(|| bad(self.path, key, "is not an array"))?;
        Ok(Some(found))
    }

    pub(super) fn missing(&self, key: &str) -> EngineError {
        EngineError::MissingKey { file: PathBuf::from(self.path), key: key.to_owned() }
    }
}

/// RoPE scaling as transformers writes it: `rope_parameters` (version 5), `rope_scaling` (before), or absent.
pub(super) fn scaling(rope: Option<Json<'_>>, context: u64) -> Result<Scaling, EngineError> {
    let Some(rope) = rope else { return Ok(Scaling::None) };
    if let Some(part) = rope.f64(&["partial_rotary_factor"])?
        && part != 1.0
    {
        return Err(bad(rope.path, "partial_rotary_factor", format!("is {part}: partial rotation is not supported")));
    }
    let need = |key: &'static str| rope.f64(&[key])?.ok_or_else(|| rope.missing(key));
    let original =
        || Ok::<f64, EngineError>(rope.f64(&["original_max_position_embeddings"])?.unwrap_or(context as f64));
    match rope.str(&["rope_type", "type"])?.unwrap_or("default") {
        "default" => Ok(Scaling::None),
        "linear" => Ok(Scaling::Linear { factor: need("factor")? }),
        "llama3" => Ok(Scaling::Llama3 {
            factor: need("factor")?,
            low: need("low_freq_factor")?,
            high: need("high_freq_factor")?,
            original: original()?,
        }),
        "yarn" => {
            let factor = need("factor")?;
            // transformers' rule: an explicit factor, or the ratio of two magnitudes, or YaRN's own.
            let attention_factor =
                match (rope.f64(&["attention_factor"])?, rope.f64(&["mscale"])?, rope.f64(&["mscale_all_dim"])?) {
                    (Some(f), _, _) => Some(f),
                    (None, Some(m), Some(all)) if m != 0.0 && all != 0.0 => {
                        let magnitude = |m: f64| if factor <= 1.0 { 1.0 } else { 0.1 * m * libm::log(factor) + 1.0 };
                        Some(magnitude(m) / magnitude(all))
                    }
                    _ => None,
                };
            Ok(Scaling::Yarn {
                factor,
                original: original()?,
                beta_fast: rope.f64(&["beta_fast"])?.unwrap_or(32.0),
                beta_slow: rope.f64(&["beta_slow"])?.unwrap_or(1.0),
                attention_factor,
                truncate: rope.bool("truncate")?.unwrap_or(true),
            })
        }
        other => {
            Err(bad(rope.path, "rope_type", format!("is `{other}`; default, linear, llama3 and yarn are supported")))
        }
    }
}
