//! `MODEL[@PATH]`: a model file and the arithmetic to run it along.

use std::path::{Path, PathBuf};

use crate::error::LabError;
use crate::policies::POLICIES;
use twinpath_paths::PATHS;

/// The name of the reference arithmetic, which is no member of `PATHS`.
pub const ORACLE: &str = "oracle";

/// A name after the `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathName {
    /// The f64 oracle.
    Oracle,
    /// A member of `PATHS`, by its index.
    Path(usize),
    /// A member of `POLICIES`, by its index.
    Policy(usize),
}

impl PathName {
    /// The path of this name.
    pub fn find(name: &str) -> Option<PathName> {
        if name == ORACLE {
            return Some(PathName::Oracle);
        }
        let policy = || POLICIES.iter().position(|p| p.name == name).map(PathName::Policy);
        PATHS.iter().position(|p| p.name == name).map(PathName::Path).or_else(policy)
    }

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            PathName::Oracle => ORACLE,
            PathName::Path(i) => PATHS[i].name,
            PathName::Policy(i) => POLICIES[i].name,
        }
    }

    /// All names.
    pub fn names() -> Vec<&'static str> {
        PATHS.iter().map(|p| p.name).chain([ORACLE]).chain(POLICIES.iter().map(|p| p.name)).collect()
    }

    /// All names, for messages.
    pub fn all() -> String {
        PathName::names().join(", ")
    }
}

/// A model and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpec {
    /// The model.
    pub model: PathBuf,
    /// The path along which to run it.
    pub path: PathName,
}

impl ModelSpec {
    /// Parses `MODEL[@PATH]`. A name that exists as it stands is a model, whatever it contains. Without `@PATH`, a GGUF
    /// file runs along `fused-q8k` and anything else along `standalone`: the published pair.
    ///
    /// # Errors
    /// When what stands after the last `@` is no path.
    pub fn parse(text: &str) -> Result<ModelSpec, LabError> {
        if let Some((model, name)) = text.rsplit_once('@')
            && !Path::new(text).exists()
        {
            let path = PathName::find(name).ok_or_else(|| LabError::UnknownPath {
                given: text.to_owned(),
                name: name.to_owned(),
                known: PathName::all(),
            })?;
            return Ok(ModelSpec { model: model.into(), path });
        }
        Ok(ModelSpec { model: text.into(), path: default_path(Path::new(text)) })
    }

    /// `model.gguf@fused-q8k`.
    pub fn label(&self) -> String {
        format!("{}@{}", self.model.display(), self.path.name())
    }
}

fn default_path(model: &Path) -> PathName {
    let is_gguf = model.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
    let name = if is_gguf { "fused-q8k" } else { "standalone" };
    PathName::find(name).unwrap_or(PathName::Oracle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_published_pair() {
        assert_eq!(ModelSpec::parse("a.gguf").unwrap().path.name(), "fused-q8k");
        assert_eq!(ModelSpec::parse("a.apr").unwrap().path.name(), "standalone");
        assert_eq!(ModelSpec::parse("hf").unwrap().path.name(), "standalone");
        let spec = ModelSpec::parse("dir@home/a.gguf@oracle").unwrap();
        assert_eq!((spec.model.to_str(), spec.path), (Some("dir@home/a.gguf"), PathName::Oracle));
    }

    #[test]
    fn an_unknown_path_names_the_known_ones() {
        let error = ModelSpec::parse("a.gguf@fast").unwrap_err().to_string();
        assert!(error.contains("`fast`") && error.contains("standalone") && error.contains("oracle"), "{error}");
    }
}
