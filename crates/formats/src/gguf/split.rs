//! Split models: `NAME-00001-of-0000N.gguf`, metadata in the first file (llama.cpp, gguf-split).

use std::path::{Path, PathBuf};

use super::value::Metadata;
use super::{Shard, read};
use crate::container::TensorEntry;
use crate::error::{Fault, FormatError};
use crate::map::Bytes;

/// Metadata keys that only tell how a model was split.
pub(crate) const SPLIT_KEYS: [&str; 3] = ["split.no", "split.count", "split.tensors.count"];
/// Most shards of one model: what the five digits and the table of mappings leave.
const MAX_SHARDS: u64 = 512;

/// How the model of a first shard is split.
pub(crate) struct Split {
    /// `NAME` of the shards' names, with its folder.
    stem: PathBuf,
    count: u64,
    /// Tensors in all shards together, where the file says it.
    tensors: Option<u64>,
}

impl Split {
    /// `None` for a whole file.
    pub(crate) fn of(path: &Path, metadata: &Metadata) -> Result<Option<Split>, FormatError> {
        let number = |key: &'static str| match metadata.get(key) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| {
                let (expected, found) = ("an integer of at least 0", value.type_name());
                Fault::WrongType { key: key.to_owned(), expected, found }.at(path)
            }),
        };
        let [no, count, tensors] = SPLIT_KEYS.map(number);
        let (no, count) = (no?.unwrap_or(0), count?.unwrap_or(0));
        if count <= 1 {
            return Ok(None);
        }
        if count > MAX_SHARDS {
            return Err(Fault::TooLarge { what: "split.count", offset: 0, count, cap: MAX_SHARDS }.at(path));
        }
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let suffix = format!("-{:05}-of-{count:05}.gguf", no + 1);
        let Some(stem) = name.strip_suffix(&suffix) else {
            let problem = format!("is shard {no} of {count}, so its name should end in {suffix}");
            return Err(Fault::BadShard { problem }.at(path));
        };
        let split = Split { stem: path.with_file_name(stem), count, tensors: tensors? };
        if no != 0 {
            let first = split.path(0).display().to_string();
            return Err(Fault::NotFirstShard { number: no, first }.at(path));
        }
        Ok(Some(split))
    }

    fn path(&self, number: u64) -> PathBuf {
        let mut name = self.stem.as_os_str().to_owned();
        name.push(format!("-{:05}-of-{:05}.gguf", number + 1, self.count));
        name.into()
    }

    /// Opens the other shards and checks that each is the one it should be. `seen` tensors are in the first one.
    pub(crate) fn open_rest(
        &self,
        mut shards: Vec<Shard>,
        seen: usize,
    ) -> Result<(Vec<Shard>, Vec<TensorEntry>), FormatError> {
        let mut tensors = Vec::new();
        for number in 1..self.count {
            let path = self.path(number);
            let bytes = Bytes::map(&path).map_err(|e| match e.fault {
                Fault::Io { source, .. } => {
                    Fault::BadShard { problem: format!("cannot be opened ({source})") }.at(&path)
                }
                fault => FormatError { file: e.file, fault },
            })?;
            let parsed = read::parse(&path, &bytes, number as usize)?;
            for (key, expected) in [(SPLIT_KEYS[0], number), (SPLIT_KEYS[1], self.count)] {
                if parsed.metadata.get(key).and_then(|v| v.as_u64()) != Some(expected) {
                    let problem = format!("does not say {key} = {expected}");
                    return Err(Fault::BadShard { problem }.at(&path));
                }
            }
            tensors.extend(parsed.tensors);
            shards.push((path, bytes));
        }
        let total = (seen + tensors.len()) as u64;
        if let Some(expected) = self.tensors.filter(|n| *n != total) {
            let problem = format!("the shards hold {total} tensors together, split.tensors.count says {expected}");
            return Err(Fault::BadShard { problem }.at(&shards[0].0));
        }
        Ok((shards, tensors))
    }
}
