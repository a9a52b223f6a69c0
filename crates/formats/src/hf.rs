//! A Hugging Face folder: `config.json`, `tokenizer.json` and safetensors, whole or sharded.
//!
//! ```
//! use twinpath_formats::{Container, hf::HfFolder};
//! let header = br#"{"lm_head.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#;
//! let mut file = (header.len() as u64).to_le_bytes().to_vec();
//! file.extend(header);
//! file.extend([0; 8]);
//! let model = HfFolder::from_parts("folder", br#"{"model_type":"qwen2"}"#, file)?;
//! assert_eq!(model.matrix("lm_head.weight")?.cols(), 2);
//! # Ok::<(), twinpath_formats::FormatError>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value};

use crate::container::{Container, Table, TensorEntry, byte_len, place};
use crate::error::{Fault, FormatError};
use crate::map::Bytes;
use crate::quant::TensorType;

/// Longest `config.json` or index, in bytes.
const MAX_JSON: u64 = 1 << 26;
/// Most shards.
const MAX_SHARDS: usize = 512;
/// The whole model in one file.
const SINGLE: &str = "model.safetensors";
/// Which shard holds which tensor.
const INDEX: &str = "model.safetensors.index.json";

/// A Hugging Face model folder.
pub struct HfFolder {
    folder: PathBuf,
    config: Map<String, Value>,
    tokenizer: Option<Bytes>,
    shards: Vec<(PathBuf, Bytes)>,
    table: Table,
}

impl HfFolder {
    /// Opens a folder.
    ///
    /// # Errors
    /// When `config.json` or the weights are missing or not sound, or the index and the shards disagree.
    pub fn open(folder: &Path) -> Result<HfFolder, FormatError> {
        let config_path = folder.join("config.json");
        if !config_path.exists() {
            return Err(Fault::NotAModelFolder.at(folder));
        }
        let config = read_object(&config_path)?;
        let tokenizer_path = folder.join("tokenizer.json");
        let tokenizer = if tokenizer_path.exists() { Some(Bytes::map(&tokenizer_path)?) } else { None };
        let index_path = folder.join(INDEX);
        if !index_path.exists() {
            let path = folder.join(SINGLE);
            let bytes = Bytes::map(&path)?;
            return HfFolder::assemble(folder, config, tokenizer, vec![(path, bytes)]);
        }
        let weight_map = read_weight_map(&index_path)?;
        let names: BTreeSet<&str> = weight_map.values().map(String::as_str).collect();
        if names.len() > MAX_SHARDS {
            let (what, count, cap) = ("the number of shards", names.len() as u64, MAX_SHARDS as u64);
            return Err(Fault::TooLarge { what, offset: 0, count, cap }.at(&index_path));
        }
        let mut shards = Vec::with_capacity(names.len());
        for name in names {
            let path = folder.join(name);
            let bytes = Bytes::map(&path)?;
            shards.push((path, bytes));
        }
        let model = HfFolder::assemble(folder, config, tokenizer, shards)?;
        model.check_weight_map(&weight_map)?;
        Ok(model)
    }

    /// Reads a model of one safetensors file from memory; `name` stands for the folder in messages.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn from_parts(
        name: impl AsRef<Path>,
        config: &[u8],
        weights: impl Into<Bytes>,
    ) -> Result<HfFolder, FormatError> {
        let folder = name.as_ref();
        let config = parse_object(&folder.join("config.json"), config)?;
        HfFolder::assemble(folder, config, None, vec![(folder.join(SINGLE), weights.into())])
    }

    fn assemble(
        folder: &Path,
        config: Map<String, Value>,
        tokenizer: Option<Bytes>,
        shards: Vec<(PathBuf, Bytes)>,
    ) -> Result<HfFolder, FormatError> {
        let mut entries = Vec::new();
        for (i, (path, bytes)) in shards.iter().enumerate() {
            entries.extend(read_header(path, bytes, i)?);
        }
        let files: Vec<&Path> = shards.iter().map(|(path, _)| path.as_path()).collect();
        let table = Table::new(entries, &files)?;
        Ok(HfFolder { folder: folder.to_owned(), config, tokenizer, shards, table })
    }

    fn check_weight_map(&self, weight_map: &BTreeMap<String, String>) -> Result<(), FormatError> {
        for (tensor, shard) in weight_map {
            let holds = self.table.get(tensor).map(|e| self.shards[e.shard].0.as_path());
            if holds != Some(self.folder.join(shard).as_path()) {
                let problem = format!("does not hold tensor {tensor:?}, which {INDEX} puts there");
                return Err(Fault::BadShard { problem }.at(&self.folder.join(shard)));
            }
        }
        for entry in &self.table.entries {
            if !weight_map.contains_key(&entry.name) {
                let problem = format!("holds tensor {:?}, which {INDEX} does not list", entry.name);
                return Err(Fault::BadShard { problem }.at(&self.shards[entry.shard].0));
            }
        }
        Ok(())
    }

    /// The object of `config.json`.
    pub fn config(&self) -> &Map<String, Value> {
        &self.config
    }

    /// The bytes of `tokenizer.json`, if the folder has one.
    pub fn tokenizer_json(&self) -> Option<&[u8]> {
        self.tokenizer.as_deref()
    }
}

fn read_object(path: &Path) -> Result<Map<String, Value>, FormatError> {
    parse_object(path, &Bytes::map(path)?)
}

fn parse_object(path: &Path, bytes: &[u8]) -> Result<Map<String, Value>, FormatError> {
    let count = bytes.len() as u64;
    if count > MAX_JSON {
        return Err(Fault::TooLarge { what: "the file's length", offset: 0, count, cap: MAX_JSON }.at(path));
    }
    serde_json::from_slice(bytes)
        .map_err(|e| Fault::BadJson { what: "the JSON object", problem: e.to_string() }.at(path))
}

/// Tensor to file name. A name must be a plain one: an index must not reach out of its folder.
fn read_weight_map(path: &Path) -> Result<BTreeMap<String, String>, FormatError> {
    let bad = |problem: String| Fault::BadJson { what: "weight_map", problem }.at(path);
    let index = read_object(path)?;
    let map = index.get("weight_map").and_then(Value::as_object).ok_or_else(|| bad("it is no object".to_owned()))?;
    let mut out = BTreeMap::new();
    for (tensor, file) in map {
        let name = file.as_str().ok_or_else(|| bad(format!("the file of tensor {tensor:?} is no string")))?;
        let plain = Path::new(name).file_name().is_some_and(|f| f == name);
        if !plain || name.contains(['/', '\\']) {
            return Err(bad(format!("tensor {tensor:?} is in {name:?}, which is no plain file name")));
        }
        out.insert(tensor.clone(), name.to_owned());
    }
    Ok(out)
}

/// The tensors of one safetensors file, in the order of their bytes.
fn read_header(path: &Path, bytes: &[u8], shard: usize) -> Result<Vec<TensorEntry>, FormatError> {
    let (header, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|source| Fault::Safetensors { source }.at(path))?;
    let data = (header + 8) as u64;
    let mut entries = Vec::new();
    for name in metadata.offset_keys() {
        let info = metadata.info(&name).expect("offset_keys lists names that info knows");
        let tensor_type = match info.dtype {
            Dtype::F32 => TensorType::F32,
            Dtype::F16 => TensorType::F16,
            Dtype::BF16 => TensorType::BF16,
            other => {
                let known = "of safetensors, F32, F16 and BF16 are";
                return Err(Fault::UnknownTensorType { tensor: name, code: other.to_string(), known }.at(path));
            }
        };
        let dims: Vec<u64> = info.shape.iter().map(|d| *d as u64).collect();
        let expected = byte_len(path, &name, tensor_type, &dims)?;
        let (begin, end) = info.data_offsets;
        let found = end.saturating_sub(begin) as u64;
        if found != expected {
            return Err(Fault::WrongSize { tensor: name, found, expected }.at(path));
        }
        let offset = place(path, &name, data, begin as u64, expected, bytes.len() as u64)?;
        entries.push(TensorEntry { name, tensor_type, shape: info.shape.clone(), shard, offset, len: expected });
    }
    Ok(entries)
}

impl Container for HfFolder {
    fn kind(&self) -> &'static str {
        "hf"
    }

    fn paths(&self) -> Vec<&Path> {
        std::iter::once(self.folder.as_path()).chain(self.shards.iter().map(|(path, _)| path.as_path())).collect()
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
