//! `APRT`: what the `apr` tool saves of one stage of one layer. Magic, u32 layer, u32 count, then that many f32,
//! little-endian.
//!
//! It holds no shape, no tokens and no name: the stage is the file's name, up to the layer (`ffn_swigl`, `layer3_ffn_swigl`,
//! `ffn_swigl_3`), and positions follow from the count. Tokens must come from a map.

use std::path::Path;

use twinpath_formats::map::Bytes;

use super::Import;
use crate::trace::raw::{Array, Element, Raw};

/// The kind.
pub(super) struct Aprt;

/// What every such file begins with.
const MAGIC: &[u8; 4] = b"APRT";
/// Bytes before the values.
const HEADER: usize = 12;

impl Import for Aprt {
    fn name(&self) -> &'static str {
        "aprt"
    }

    fn describe(&self) -> &'static str {
        "one stage of one layer saved by the apr tool, named as its file; tokens must come from a map"
    }

    fn recognises(&self, _: &Path, head: &[u8]) -> bool {
        head.starts_with(MAGIC)
    }

    fn read(&self, path: &Path, bytes: &Bytes) -> Result<Raw, String> {
        let word = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
        let (Some(layer), Some(count)) = (word(4), word(8)) else {
            return Err(format!("is cut short: an APRT header has {HEADER} bytes, this file {}", bytes.len()));
        };
        let name = format!("{}@{layer}", stage(path));
        let (count, body) = (count as usize, HEADER..bytes.len());
        if body.len() != count.saturating_mul(4) {
            return Err(format!("says {count} values and has {} bytes of them: it is cut short or lies", body.len()));
        }
        Ok(Raw { arrays: vec![Array::new(name, vec![count], Element::F32, bytes.clone(), body)?], ..Raw::default() })
    }
}

/// The stage in a file's name: what is left of it without the layer.
fn stage(path: &Path) -> String {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_layer = |part: &&str| {
        let rest = part.strip_prefix("layer").or(part.strip_prefix("blk")).or(part.strip_prefix('l'));
        digits(part) || rest.is_some_and(|rest| rest.is_empty() || digits(rest))
    };
    let parts: Vec<&str> = name.split(['_', '-', '.']).filter(|part| !is_layer(part)).collect();
    parts.join("_")
}
