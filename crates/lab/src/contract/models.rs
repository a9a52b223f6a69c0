//! The models of a check: opened once, held to what the contracts say of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use twinpath_engine::Model;
use twinpath_evidence::contract::claim::ModelRef;
use twinpath_formats::Verify;

use crate::error::LabError;

/// An opened model and its content.
pub(super) struct Opened {
    pub(super) model: Model,
    pub(super) blake3: String,
    pub(super) bytes: u64,
    pub(super) file_name: String,
}

/// Opens `path` as the model `name`.
pub(super) fn open(name: &str, said: &ModelRef, path: &Path) -> Result<Opened, LabError> {
    let io = |source| LabError::Io { file: path.to_owned(), source };
    let wrong = |why: String| LabError::WrongModel { file: path.to_owned(), name: name.to_owned(), why };
    let bytes = std::fs::metadata(path).map_err(io)?.len();
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap_rayon(path).map_err(io)?;
    let blake3 = hasher.finalize().to_hex().to_string();
    if let Some(pinned) = said.blake3.as_ref().filter(|pinned| **pinned != blake3) {
        return Err(wrong(format!("its BLAKE3 is {blake3}, not {pinned}")));
    }
    let model = Model::open(path, Verify::All)?;
    let facts = dimensions(&model);
    for (dimension, expected) in &said.dimensions {
        match facts.get(dimension.as_str()) {
            Some(found) if found == expected => {}
            Some(found) => return Err(wrong(format!("its {dimension} is {found}, not {expected}"))),
            None => return Err(wrong(format!("`{dimension}` is no dimension; there are {:?}", facts.keys()))),
        }
    }
    let file_name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Opened { model, blake3, bytes, file_name })
}

fn dimensions(model: &Model) -> BTreeMap<&'static str, u64> {
    let c = model.config();
    [
        ("hidden size", c.hidden),
        ("layers", c.layers),
        ("heads", c.heads),
        ("kv heads", c.kv_heads),
        ("vocabulary", c.vocab),
    ]
    .map(|(name, value)| (name, value as u64))
    .into_iter()
    .collect()
}

/// Where the file of a model is: as given on the command line, or bundled.
pub(super) fn locate(
    name: &str,
    said: &ModelRef,
    given: &BTreeMap<String, PathBuf>,
    bundled: &dyn Fn(&str) -> Option<PathBuf>,
) -> Option<PathBuf> {
    given.get(name).cloned().or_else(|| bundled(said.file.as_deref()?))
}
