//! safetensors: ours, those of `tools/capture_*.py`, and any other.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use twinpath_formats::map::Bytes;

use super::{Import, ends};
use crate::trace::raw::{Array, Element, Raw};

/// The kind.
pub(super) struct Safetensors;

impl Import for Safetensors {
    fn name(&self) -> &'static str {
        "safetensors"
    }

    fn describe(&self) -> &'static str {
        "recordings of `twinpath trace` and tools/capture_*.py, and dumps under Hugging Face, ggml or mapped names"
    }

    fn recognises(&self, path: &Path, _: &[u8]) -> bool {
        ends(path, "safetensors")
    }

    fn read(&self, _: &Path, bytes: &Bytes) -> Result<Raw, String> {
        let (header, metadata) =
            SafeTensors::read_metadata(bytes).map_err(|e| format!("is no sound safetensors file: {e}"))?;
        let body = header + 8;
        let mut raw = Raw::default();
        for (key, value) in metadata.metadata().iter().flatten().collect::<std::collections::BTreeMap<_, _>>() {
            raw.metadata.insert(key.clone(), value.clone());
        }
        // In the order of the file, so that the same fault is told of a file every time.
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            let element = element(info.dtype).ok_or_else(|| {
                format!("tensor `{name}` is of {:?}: dump F32, or integers for token ids", info.dtype)
            })?;
            let (from, to) = info.data_offsets;
            let array = Array::new(name, info.shape.clone(), element, bytes.clone(), body + from..body + to)?;
            raw.arrays.push(array);
        }
        Ok(raw)
    }
}

fn element(dtype: Dtype) -> Option<Element> {
    Some(match dtype {
        Dtype::F64 => Element::F64,
        Dtype::F32 => Element::F32,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::BF16,
        Dtype::I64 => Element::I64,
        Dtype::I32 => Element::I32,
        Dtype::U16 => Element::U16,
        _ => return None,
    })
}
