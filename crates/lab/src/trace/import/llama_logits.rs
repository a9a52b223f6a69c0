//! What `llama-debug --save-logits` writes: `NAME.bin`, raw f32 logits of the last position or of all, beside
//! `NAME-tokens.bin`, raw 32-bit token ids.

use std::path::Path;

use twinpath_formats::map::Bytes;

use super::{Import, ends};
use crate::trace::raw::{Array, Element, Raw};

/// The kind.
pub(super) struct LlamaLogits;

impl Import for LlamaLogits {
    fn name(&self) -> &'static str {
        "llama-logits"
    }

    fn describe(&self) -> &'static str {
        "raw logits of llama-debug --save-logits, with their NAME-tokens.bin beside them"
    }

    fn recognises(&self, path: &Path, _: &[u8]) -> bool {
        ends(path, "bin") && tokens_of(path).is_file()
    }

    fn read(&self, path: &Path, bytes: &Bytes) -> Result<Raw, String> {
        let tokens = Bytes::map(&tokens_of(path)).map_err(|e| e.to_string())?;
        let flat = |name: &str, element: Element, bytes: &Bytes| {
            if !bytes.len().is_multiple_of(4) {
                return Err(format!("`{name}` has {} bytes, which are no whole values: it is cut short", bytes.len()));
            }
            Array::new(name.to_owned(), vec![bytes.len() / 4], element, bytes.clone(), 0..bytes.len())
        };
        let arrays = vec![flat("logits", Element::F32, bytes)?, flat("input_ids", Element::I32, &tokens)?];
        Ok(Raw { arrays, ..Raw::default() })
    }
}

fn tokens_of(path: &Path) -> std::path::PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    path.with_file_name(format!("{stem}-tokens.bin"))
}
