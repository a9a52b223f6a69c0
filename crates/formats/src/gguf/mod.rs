//! GGUF, versions 2 and 3, one file or split: reader and writer.
//!
//! Source: the GGUF specification (ggml, docs/gguf.md) and the naming of split files by llama.cpp's gguf-split.
//!
//! ```
//! use twinpath_formats::gguf::{self, Gguf, Metadata, Value};
//! let mut metadata = Metadata::default();
//! metadata.set("general.architecture", Value::String("qwen2".into()));
//! let bytes = gguf::to_bytes(&metadata, &[], &mut |_, _| Ok(()))?;
//! let read = Gguf::from_bytes("tiny.gguf", bytes)?;
//! assert_eq!(read.str("general.architecture")?, Some("qwen2"));
//! # Ok::<(), twinpath_formats::FormatError>(())
//! ```

mod read;
mod split;
mod value;
mod write;

use std::path::{Path, PathBuf};

pub use value::{Array, FromValue, Metadata, Value};
pub use write::{to_bytes, write};

pub(crate) use split::SPLIT_KEYS;
pub(crate) use value::TYPE_NAMES;

use crate::container::{Container, Table, TensorEntry};
use crate::error::{Fault, FormatError};
use crate::map::Bytes;

/// One file of a model.
type Shard = (PathBuf, Bytes);

/// A GGUF model: validated directory over mapped bytes.
pub struct Gguf {
    shards: Vec<Shard>,
    version: u32,
    alignment: u64,
    metadata: Metadata,
    table: Table,
}

impl Gguf {
    /// Opens a file, or all files of a split model by its first one.
    ///
    /// # Errors
    /// When a file cannot be mapped or is not sound, or a shard is missing or not the first.
    pub fn open(path: &Path) -> Result<Gguf, FormatError> {
        Gguf::open_mapped(path, Bytes::map(path)?)
    }

    /// Reads one whole (not split) file from memory; `name` stands for its path in messages.
    ///
    /// # Errors
    /// When it is not sound.
    pub fn from_bytes(name: impl AsRef<Path>, bytes: impl Into<Bytes>) -> Result<Gguf, FormatError> {
        let (path, bytes) = (name.as_ref(), bytes.into());
        let first = read::parse(path, &bytes, 0)?;
        if split::Split::of(path, &first.metadata)?.is_some() {
            let problem = "is one of several files, which cannot be read from memory".to_owned();
            return Err(Fault::BadShard { problem }.at(path));
        }
        Gguf::assemble(vec![(path.to_owned(), bytes)], first, Vec::new())
    }

    pub(crate) fn open_mapped(path: &Path, bytes: Bytes) -> Result<Gguf, FormatError> {
        let first = read::parse(path, &bytes, 0)?;
        let mut shards = vec![(path.to_owned(), bytes)];
        let mut more = Vec::new();
        if let Some(split) = split::Split::of(path, &first.metadata)? {
            (shards, more) = split.open_rest(shards, first.tensors.len())?;
        }
        Gguf::assemble(shards, first, more)
    }

    fn assemble(shards: Vec<Shard>, first: read::Parsed, more: Vec<TensorEntry>) -> Result<Gguf, FormatError> {
        let read::Parsed { version, metadata, alignment, mut tensors } = first;
        tensors.extend(more);
        let files: Vec<&Path> = shards.iter().map(|(path, _)| path.as_path()).collect();
        let table = Table::new(tensors, &files)?;
        Ok(Gguf { shards, version, alignment, metadata, table })
    }

    /// The version of the (first) file: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Alignment of the data section in bytes.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// All metadata, in the order of the (first) file.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The metadata value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// The metadata value of a key as a `T`; `None` when the key is absent.
    ///
    /// # Errors
    /// When the key is there and holds something else.
    pub fn find<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>, FormatError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match T::from_value(value) {
            Some(found) => Ok(Some(found)),
            None => {
                let (expected, found) = (T::WANTED, value.type_name());
                Err(Fault::WrongType { key: key.to_owned(), expected, found }.at(&self.shards[0].0))
            }
        }
    }

    /// The metadata value of a key as a `T`.
    ///
    /// # Errors
    /// When the key is absent, or holds something else.
    pub fn require<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T, FormatError> {
        self.find(key)?.ok_or_else(|| Fault::MissingKey { key: key.to_owned() }.at(&self.shards[0].0))
    }

    /// [`find`](Self::find) for any integer type that holds a u32.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, FormatError> {
        self.find(key)
    }

    /// [`find`](Self::find) for any integer type that holds a value of at least 0.
    pub fn u64(&self, key: &str) -> Result<Option<u64>, FormatError> {
        self.find(key)
    }

    /// [`find`](Self::find) for f32.
    pub fn f32(&self, key: &str) -> Result<Option<f32>, FormatError> {
        self.find(key)
    }

    /// [`find`](Self::find) for bool.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, FormatError> {
        self.find(key)
    }

    /// [`find`](Self::find) for strings.
    pub fn str(&self, key: &str) -> Result<Option<&str>, FormatError> {
        self.find(key)
    }

    /// [`find`](Self::find) for arrays.
    pub fn array(&self, key: &str) -> Result<Option<&Array>, FormatError> {
        self.find(key)
    }
}

impl Container for Gguf {
    fn kind(&self) -> &'static str {
        "gguf"
    }

    fn paths(&self) -> Vec<&Path> {
        self.shards.iter().map(|(path, _)| path.as_path()).collect()
    }

    fn tensors(&self) -> &[TensorEntry] {
        &self.table.entries
    }

    fn tensor(&self, name: &str) -> Option<&TensorEntry> {
        self.table.get(name)
    }

    fn bytes(&self, entry: &TensorEntry) -> &[u8] {
        let begin = entry.offset as usize;
        &self.shards[entry.shard].1[begin..begin + entry.len as usize]
    }

    fn files(&self) -> Vec<Bytes> {
        self.shards.iter().map(|(_, bytes)| bytes.clone()).collect()
    }
}
