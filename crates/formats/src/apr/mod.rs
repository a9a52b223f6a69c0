//! The `.apr` container, version 2: reader and writer.
//!
//! Layout: 64-byte header, one JSON object, tensor index sorted by name, data, and a CRC-32 of everything as footer; all
//! sections and tensors at multiples of 64. Source: the files that apr-format 0.72.3 writes.
//!
//! ```
//! use twinpath_formats::{Container, TensorPlan, TensorType, Verify, apr};
//! let metadata = serde_json::json!({ "hidden_dim": 4 });
//! let plan = [TensorPlan::new("model.norm.weight", TensorType::F32, &[4])];
//! let bytes = apr::to_bytes(metadata.as_object().expect("an object"), &plan, &mut |_, out| {
//!     out.write_all(&[0; 16]).map_err(|e| twinpath_formats::atomic::write_error("tiny.apr".as_ref(), e))
//! })?;
//! let model = apr::Apr::from_bytes("tiny.apr", bytes, Verify::All)?;
//! assert_eq!(model.tensors().len(), 1);
//! assert_eq!(model.u64("hidden_size")?, Some(4), "aliases are understood");
//! assert!(model.warnings().iter().any(|w| w.contains("no num_layers")));
//! # Ok::<(), twinpath_formats::FormatError>(())
//! ```

mod header;
mod legacy;
mod metadata;
mod write;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Map, Value};

pub use legacy::Legacy;
pub(crate) use metadata::spellings;
pub use write::{WRITTEN, to_bytes, write};

use crate::container::{Container, Table, TensorEntry, Verify};
use crate::error::{Fault, FormatError};
use crate::map::Bytes;

/// An `.apr` model: validated index over mapped bytes.
pub struct Apr {
    path: PathBuf,
    bytes: Bytes,
    flags: u16,
    metadata: Map<String, Value>,
    warnings: Vec<String>,
    table: Table,
    /// Per tensor, by index: where and how it is stored, if it is in an old code.
    expanded: Vec<Option<Expanded>>,
}

/// A tensor in an old code, expanded to f32 at the first touch.
struct Expanded {
    code: Legacy,
    stored: std::ops::Range<usize>,
    values: OnceLock<Vec<u8>>,
}

impl Apr {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be mapped, a checksum that `verify` asks for is wrong, or it is not sound.
    pub fn open(path: &Path, verify: Verify) -> Result<Apr, FormatError> {
        Apr::from_bytes(path, Bytes::map(path)?, verify)
    }

    /// Reads a file from memory; `name` stands for its path in messages.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn from_bytes(name: impl AsRef<Path>, bytes: impl Into<Bytes>, verify: Verify) -> Result<Apr, FormatError> {
        let (path, bytes) = (name.as_ref().to_owned(), bytes.into());
        let mut warnings = Vec::new();
        let header = header::read_header(&path, &bytes, verify, &mut warnings)?;
        let (begin, len) = header.metadata;
        let json = &bytes[begin as usize..(begin + len) as usize];
        let metadata = metadata::parse(&path, json, &mut warnings)?;
        let (entries, codes): (Vec<_>, Vec<_>) = header::read_index(&path, &bytes, &header)?.into_iter().unzip();
        let data_end = entries.iter().map(|e| e.offset + e.len).fold(header.data, u64::max);
        let mut table = Table::new(entries, &[&path])?;
        check_footer(&path, &bytes, data_end, verify)?;
        let expanded = expand_table(&mut table, &codes, &mut warnings);
        Ok(Apr { path, bytes, flags: header.flags, metadata, warnings, table, expanded })
    }

    /// The header's flags, as stored.
    pub fn flags(&self) -> u16 {
        self.flags
    }

    /// All metadata, in the order of the file.
    pub fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    /// What is odd about the file but does not prevent reading it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The old code of a tensor that is stored in one: its values are read as f32.
    pub fn legacy(&self, entry: &TensorEntry) -> Option<Legacy> {
        self.expanded(entry).map(|e| e.code)
    }

    /// The metadata value of a key, under any of its spellings; `null` counts as absent.
    pub fn get(&self, key: &str) -> Option<&Value> {
        spellings(key).filter_map(|key| self.metadata.get(key)).find(|value| !value.is_null())
    }

    /// The metadata value of a key as an integer of at least 0; `None` when absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn u64(&self, key: &str) -> Result<Option<u64>, FormatError> {
        self.typed(key, "an integer of at least 0", Value::as_u64)
    }

    /// The metadata value of a key as a number; `None` when absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn f64(&self, key: &str) -> Result<Option<f64>, FormatError> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// The metadata value of a key as a bool; `None` when absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, FormatError> {
        self.typed(key, "a bool", Value::as_bool)
    }

    /// The metadata value of a key as a string; `None` when absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn str(&self, key: &str) -> Result<Option<&str>, FormatError> {
        self.typed(key, "a string", Value::as_str)
    }

    /// The metadata value of a key as an array; `None` when absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn array(&self, key: &str) -> Result<Option<&[Value]>, FormatError> {
        self.typed(key, "an array", |value| value.as_array().map(Vec::as_slice))
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        as_type: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, FormatError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let wrong = || Fault::WrongType { key: key.to_owned(), expected, found: json_type(value) }.at(&self.path);
        as_type(value).map(Some).ok_or_else(wrong)
    }

    fn expanded(&self, entry: &TensorEntry) -> Option<&Expanded> {
        let index = self.table.entries.binary_search_by(|e| e.name.as_str().cmp(&entry.name)).ok()?;
        self.expanded[index].as_ref()
    }
}

/// The name of a JSON value's type.
pub(crate) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The footer is the last four bytes of the file, after the padding of the last tensor.
fn check_footer(path: &Path, bytes: &[u8], data_end: u64, verify: Verify) -> Result<(), FormatError> {
    if verify == Verify::None {
        return Ok(());
    }
    let begin = data_end.next_multiple_of(header::ALIGNMENT);
    let left = (bytes.len() as u64).saturating_sub(begin);
    if left < header::FOOTER {
        let needed = header::FOOTER;
        return Err(Fault::Truncated { offset: begin, what: "the footer checksum", needed, left }.at(path));
    }
    if verify == Verify::Header {
        return Ok(());
    }
    let (before, footer) = bytes.split_at(bytes.len() - header::FOOTER as usize);
    let found = u32::from_le_bytes([footer[0], footer[1], footer[2], footer[3]]);
    let expected = crc32fast::hash(before);
    if found != expected {
        return Err(Fault::Checksum { what: "footer", found, expected }.at(path));
    }
    Ok(())
}

/// Turns the entries of tensors in old codes into those of their f32 expansions.
fn expand_table(table: &mut Table, codes: &[Option<Legacy>], warnings: &mut Vec<String>) -> Vec<Option<Expanded>> {
    let mut expanded = Vec::with_capacity(codes.len());
    for (entry, code) in table.entries.iter_mut().zip(codes) {
        expanded.push(code.map(|code| {
            warnings.push(format!("tensor {:?} is stored as {} and is read as F32", entry.name, code.name()));
            let begin = entry.offset as usize;
            let stored = begin..begin + entry.len as usize;
            entry.len = entry.values() * 4;
            Expanded { code, stored, values: OnceLock::new() }
        }));
    }
    expanded
}

impl Container for Apr {
    fn kind(&self) -> &'static str {
        "apr"
    }

    fn paths(&self) -> Vec<&Path> {
        vec![&self.path]
    }

    fn tensors(&self) -> &[TensorEntry] {
        &self.table.entries
    }

    fn tensor(&self, name: &str) -> Option<&TensorEntry> {
        self.table.get(name)
    }

    fn bytes(&self, entry: &TensorEntry) -> &[u8] {
        if let Some(e) = self.expanded(entry) {
            return e.values.get_or_init(|| e.code.expand(&self.bytes[e.stored.clone()], entry.values() as usize));
        }
        let begin = entry.offset as usize;
        &self.bytes[begin..begin + entry.len as usize]
    }

    fn files(&self) -> Vec<Bytes> {
        vec![self.bytes.clone()]
    }
}
