//! From a container's metadata to a model's description: one file per container.

mod apr;
mod gguf;
mod hf;
mod json;

use std::path::Path;

use twinpath_formats::convert::to_hf;
use twinpath_formats::{ModelFile, TensorEntry};

use crate::arch::{self, ARCHS, Architecture};
use crate::config::Described;
use crate::error::EngineError;
use crate::tokenizer::Tokenizer;

/// What the container says of the model, and doubts about it.
pub(crate) fn describe(file: &ModelFile, path: &Path) -> Result<(Described, Vec<String>), EngineError> {
    match file {
        ModelFile::Gguf(gguf) => gguf::describe(gguf, path),
        ModelFile::Apr(apr) => apr::describe(apr, path),
        ModelFile::HuggingFace(folder) => hf::describe(folder, path),
    }
}

/// The tokenizer that the container carries; `None` when it has none.
///
/// # Errors
/// When it has one that cannot be built.
pub fn tokenizer(file: &ModelFile, path: &Path) -> Result<Option<Tokenizer>, EngineError> {
    match file {
        ModelFile::Gguf(gguf) => gguf::tokenizer(gguf, path),
        ModelFile::Apr(apr) => apr::tokenizer(apr, path),
        ModelFile::HuggingFace(folder) => hf::tokenizer(folder, path),
    }
}

/// A tensor by its GGUF name, under whichever name the container holds it.
pub(crate) fn find<'f>(file: &'f ModelFile, name: &str) -> Option<&'f TensorEntry> {
    file.tensor(name).or_else(|| file.tensor(&to_hf(name)))
}

/// The family called `name` in `path`.
fn family(path: &Path, name: &str) -> Result<&'static dyn Architecture, EngineError> {
    arch::find(name).ok_or_else(|| EngineError::UnknownArchitecture {
        file: path.to_owned(),
        name: name.to_owned(),
        known: ARCHS.iter().map(|a| a.name()).collect::<Vec<_>>().join(", "),
    })
}

fn bad(path: &Path, key: &str, why: impl Into<String>) -> EngineError {
    EngineError::BadValue { file: path.to_owned(), key: key.to_owned(), why: why.into() }
}
