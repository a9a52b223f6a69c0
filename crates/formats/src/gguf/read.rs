//! One GGUF file: header, metadata, tensor directory. Facts from the GGUF specification (ggml, docs/gguf.md).

use std::path::Path;

use super::value::{Array, Metadata, Value};
use crate::container::{TensorEntry, align, byte_len, place};
use crate::cursor::Cursor;
use crate::error::{Fault, FormatError};
use crate::quant::TensorType;

/// Alignment of the data section where `general.alignment` is absent.
pub(crate) const DEFAULT_ALIGNMENT: u64 = 32;
/// Largest `general.alignment` accepted.
pub(crate) const MAX_ALIGNMENT: u64 = 1 << 20;
/// Most metadata keys.
pub(crate) const MAX_KEYS: u64 = 1 << 16;
/// Most tensors in one file.
pub(crate) const MAX_TENSORS: u64 = 1 << 17;
/// Longest key, in bytes (the specification's limit).
pub(crate) const MAX_KEY: u64 = 65_535;
/// Longest string value, in bytes.
pub(crate) const MAX_STRING: u64 = 1 << 24;
/// Longest tensor name, in bytes.
pub(crate) const MAX_NAME: u64 = 256;
/// Most elements of one array.
pub(crate) const MAX_ARRAY: u64 = 1 << 24;
/// Deepest nesting of arrays.
pub(crate) const MAX_DEPTH: usize = 4;
/// Most dimensions (`GGML_MAX_DIMS`).
pub(crate) const MAX_DIMS: u64 = 4;

/// What one file says.
pub(crate) struct Parsed {
    pub(crate) version: u32,
    pub(crate) metadata: Metadata,
    pub(crate) alignment: u64,
    pub(crate) tensors: Vec<TensorEntry>,
}

/// Reads the directory of one file; `shard` is noted in its tensors.
pub(crate) fn parse(file: &Path, bytes: &[u8], shard: usize) -> Result<Parsed, FormatError> {
    let mut at = Cursor::new(file, bytes, 0);
    let magic = at.take(4, "the magic")?;
    if magic != b"GGUF" {
        let found = magic.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
        return Err(Fault::UnknownMagic { found }.at(file));
    }
    let version = at.u32("the version")?;
    if !(2..=3).contains(&version) {
        let swapped = version.swap_bytes();
        return Err(match swapped {
            1..=3 => Fault::BigEndian,
            _ => Fault::Version { format: "GGUF", version: version.to_string(), supported: "2 and 3" },
        }
        .at(file));
    }
    let count_at = at.offset();
    let (tensor_count, key_count) = (at.u64("the tensor count")?, at.u64("the metadata count")?);
    // A tensor takes at least name length, dimension count, type and offset; a key its length, type and one byte.
    let tensor_count = at.check_count(tensor_count, "the tensor count", count_at, MAX_TENSORS, 24)?;
    let key_count = at.check_count(key_count, "the metadata count", count_at + 8, MAX_KEYS, 13)?;
    let metadata = read_metadata(&mut at, key_count)?;
    let alignment = read_alignment(file, &metadata)?;
    let directory = read_directory(&mut at, tensor_count)?;
    let data = align(at.offset(), alignment).expect("a file's offset is far from 2^64");
    let tensors = directory
        .into_iter()
        .map(|t| t.place(file, bytes.len() as u64, data, alignment, shard))
        .collect::<Result<_, _>>()?;
    Ok(Parsed { version, metadata, alignment, tensors })
}

fn read_metadata(at: &mut Cursor, count: usize) -> Result<Metadata, FormatError> {
    let mut metadata = Metadata::default();
    for _ in 0..count {
        let n = at.u64("a key's length")?;
        let key = at.text(n, "a metadata key", MAX_KEY)?;
        if metadata.get(key).is_some() {
            return Err(Fault::DuplicateKey { key: key.to_owned() }.at(at.file));
        }
        let code = at.u32("a value type")?;
        let value = read_value(at, key, code)?;
        metadata.set(key, value);
    }
    Ok(metadata)
}

fn read_value(at: &mut Cursor, key: &str, code: u32) -> Result<Value, FormatError> {
    const WHAT: &str = "a metadata value";
    Ok(match code {
        0 => Value::U8(at.u8(WHAT)?),
        1 => Value::I8(at.i8(WHAT)?),
        2 => Value::U16(at.u16(WHAT)?),
        3 => Value::I16(at.i16(WHAT)?),
        4 => Value::U32(at.u32(WHAT)?),
        5 => Value::I32(at.i32(WHAT)?),
        6 => Value::F32(at.f32(WHAT)?),
        7 => Value::Bool(read_bool(at)?),
        8 => Value::String(read_string(at)?),
        9 => Value::Array(read_array(at, key, 1)?),
        10 => Value::U64(at.u64(WHAT)?),
        11 => Value::I64(at.i64(WHAT)?),
        12 => Value::F64(at.f64(WHAT)?),
        _ => return Err(Fault::UnknownValueType { key: key.to_owned(), code }.at(at.file)),
    })
}

fn read_bool(at: &mut Cursor) -> Result<bool, FormatError> {
    let offset = at.offset();
    match at.u8("a boolean")? {
        0 => Ok(false),
        1 => Ok(true),
        found => Err(Fault::BadBool { offset, found }.at(at.file)),
    }
}

fn read_string(at: &mut Cursor) -> Result<String, FormatError> {
    let n = at.u64("a string's length")?;
    Ok(at.text(n, "a string", MAX_STRING)?.to_owned())
}

fn read_array(at: &mut Cursor, key: &str, depth: usize) -> Result<Array, FormatError> {
    if depth > MAX_DEPTH {
        return Err(Fault::TooDeep { key: key.to_owned(), cap: MAX_DEPTH }.at(at.file));
    }
    let code = at.u32("an element type")?;
    let offset = at.offset();
    let count = at.u64("an array's length")?;
    // Bytes that the smallest element of each type takes in the file.
    let smallest = match code {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        9 => 12,
        _ => return Err(Fault::UnknownValueType { key: key.to_owned(), code }.at(at.file)),
    };
    let n = at.check_count(count, "an array", offset, MAX_ARRAY, smallest)?;
    const WHAT: &str = "an array element";
    Ok(match code {
        0 => Array::U8(each(n, || at.u8(WHAT))?),
        1 => Array::I8(each(n, || at.i8(WHAT))?),
        2 => Array::U16(each(n, || at.u16(WHAT))?),
        3 => Array::I16(each(n, || at.i16(WHAT))?),
        4 => Array::U32(each(n, || at.u32(WHAT))?),
        5 => Array::I32(each(n, || at.i32(WHAT))?),
        6 => Array::F32(each(n, || at.f32(WHAT))?),
        7 => Array::Bool(each(n, || read_bool(at))?),
        8 => Array::String(each(n, || read_string(at))?),
        9 => Array::Array(each(n, || read_array(at, key, depth + 1))?),
        10 => Array::U64(each(n, || at.u64(WHAT))?),
        11 => Array::I64(each(n, || at.i64(WHAT))?),
        _ => Array::F64(each(n, || at.f64(WHAT))?),
    })
}

fn each<T>(n: usize, mut read: impl FnMut() -> Result<T, FormatError>) -> Result<Vec<T>, FormatError> {
    (0..n).map(|_| read()).collect()
}

pub(crate) fn read_alignment(file: &Path, metadata: &Metadata) -> Result<u64, FormatError> {
    let Some(value) = metadata.get("general.alignment") else { return Ok(DEFAULT_ALIGNMENT) };
    match value.as_u64() {
        Some(n) if n.is_power_of_two() && n <= MAX_ALIGNMENT => Ok(n),
        Some(n) => Err(Fault::BadAlignment { found: n.to_string(), cap: MAX_ALIGNMENT }.at(file)),
        None => Err(Fault::BadAlignment { found: value.type_name().to_owned(), cap: MAX_ALIGNMENT }.at(file)),
    }
}

/// One entry of the directory, before its place in the file is known.
struct Raw {
    name: String,
    /// Outermost first.
    dims: Vec<u64>,
    code: u32,
    offset: u64,
}

fn read_directory(at: &mut Cursor, count: usize) -> Result<Vec<Raw>, FormatError> {
    each(count, || {
        let n = at.u64("a tensor name's length")?;
        let name = at.text(n, "a tensor name", MAX_NAME)?.to_owned();
        let offset = at.offset();
        let rank = u64::from(at.u32("a dimension count")?);
        let rank = at.check_count(rank, "a dimension count", offset, MAX_DIMS, 8)?;
        let mut dims = each(rank, || at.u64("a dimension"))?;
        dims.reverse();
        Ok(Raw { name, dims, code: at.u32("a tensor type")?, offset: at.u64("a tensor offset")? })
    })
}

impl Raw {
    fn place(
        self,
        file: &Path,
        file_len: u64,
        data: u64,
        alignment: u64,
        shard: usize,
    ) -> Result<TensorEntry, FormatError> {
        let Raw { name, dims, code, offset } = self;
        let Some(tensor_type) = TensorType::from_ggml(code) else {
            return Err(
                Fault::UnknownTensorType { tensor: name, code: code.to_string(), known: known_type(code) }.at(file)
            );
        };
        let len = byte_len(file, &name, tensor_type, &dims)?;
        if !offset.is_multiple_of(alignment) {
            return Err(Fault::Misaligned { tensor: name, offset, alignment }.at(file));
        }
        let offset = place(file, &name, data, offset, len, file_len)?;
        // The byte length fits a usize, so each dimension does.
        let shape = dims.iter().map(|d| *d as usize).collect();
        Ok(TensorEntry { name, tensor_type, shape, shard, offset, len })
    }
}

/// What ggml calls a type that we do not decode (ggml.h, `enum ggml_type`).
fn known_type(code: u32) -> &'static str {
    match code {
        4 => "Q4_2, withdrawn",
        5 => "Q4_3, withdrawn",
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        31..=33 => "Q4_0 repacked, withdrawn",
        34 => "TQ1_0",
        35 => "TQ2_0",
        36..=38 => "IQ4_NL repacked, withdrawn",
        39 => "MXFP4",
        40 => "NVFP4",
        _ => "unknown",
    }
}
