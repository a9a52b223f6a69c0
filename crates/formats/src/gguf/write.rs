//! Writes GGUF version 3, keeping the order of keys and tensors.

use std::io::Write;
use std::path::Path;

use super::read::{self, MAX_ARRAY, MAX_DEPTH, MAX_DIMS, MAX_KEY, MAX_NAME, MAX_STRING};
use super::value::{Array, Metadata, Value};
use crate::atomic::{write_atomically, write_error};
use crate::container::{Fill, TensorPlan, align};
use crate::error::{Fault, FormatError};
use crate::sink::{Sink, fill_tensor};

/// Writes a file under `path`, whole or not at all; `fill` is asked for the tensors in order.
///
/// # Errors
/// When the model breaks a limit of the format, `fill` fails or writes another number of bytes, or the disk refuses.
pub fn write(path: &Path, metadata: &Metadata, tensors: &[TensorPlan], fill: &mut Fill) -> Result<(), FormatError> {
    write_atomically(path, |out| write_to(path, out, metadata, tensors, fill))
}

/// The same into memory.
///
/// # Errors
/// As for [`write()`].
pub fn to_bytes(metadata: &Metadata, tensors: &[TensorPlan], fill: &mut Fill) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    write_to(Path::new("(memory)"), &mut bytes, metadata, tensors, fill)?;
    Ok(bytes)
}

fn write_to(
    path: &Path,
    out: &mut dyn Write,
    metadata: &Metadata,
    tensors: &[TensorPlan],
    fill: &mut Fill,
) -> Result<(), FormatError> {
    let alignment = read::read_alignment(path, metadata)?;
    let lens = tensors.iter().map(|t| t.byte_len(path)).collect::<Result<Vec<_>, _>>()?;
    let header = header(path, metadata, tensors, &lens, alignment)?;
    let mut out = Sink::new(out);
    let io = |e| write_error(path, e);
    out.write_all(&header).map_err(io)?;
    out.pad(alignment).map_err(io)?;
    for (i, (tensor, len)) in tensors.iter().zip(&lens).enumerate() {
        fill_tensor(path, &mut out, &tensor.name, *len, |out| fill(i, out))?;
        out.pad(alignment).map_err(io)?;
    }
    Ok(())
}

fn header(
    path: &Path,
    metadata: &Metadata,
    tensors: &[TensorPlan],
    lens: &[u64],
    alignment: u64,
) -> Result<Vec<u8>, FormatError> {
    let cannot = |problem: String| Fault::CannotWrite { problem }.at(path);
    let mut out = Vec::new();
    out.extend(b"GGUF");
    out.extend(3u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata.iter() {
        if key.len() as u64 > MAX_KEY {
            return Err(cannot(format!("a metadata key of {} bytes is longer than {MAX_KEY}", key.len())));
        }
        put_text(&mut out, key);
        out.extend(value.code().to_le_bytes());
        put_value(&mut out, value).map_err(|problem| cannot(format!("metadata key {key:?} {problem}")))?;
    }
    let mut offset = 0u64;
    let mut names = std::collections::HashSet::new();
    for (tensor, len) in tensors.iter().zip(lens) {
        if !names.insert(tensor.name.as_str()) {
            return Err(Fault::DuplicateTensor { tensor: tensor.name.clone() }.at(path));
        }
        if tensor.name.len() as u64 > MAX_NAME || tensor.shape.len() as u64 > MAX_DIMS {
            let problem = format!("tensor {:?} has too long a name or too many dimensions for GGUF", tensor.name);
            return Err(cannot(problem));
        }
        put_text(&mut out, &tensor.name);
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        tensor.shape.iter().rev().for_each(|d| out.extend((*d as u64).to_le_bytes()));
        out.extend((tensor.tensor_type as u32).to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset = align(offset + len, alignment).ok_or_else(|| cannot("the tensors exceed 2^64 bytes".to_owned()))?;
    }
    Ok(out)
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_string(out: &mut Vec<u8>, text: &str) -> Result<(), String> {
    if text.len() as u64 > MAX_STRING {
        return Err(format!("holds a string of {} bytes, longer than {MAX_STRING}", text.len()));
    }
    put_text(out, text);
    Ok(())
}

fn put_value(out: &mut Vec<u8>, value: &Value) -> Result<(), String> {
    match value {
        Value::U8(v) => out.push(*v),
        Value::I8(v) => out.extend(v.to_le_bytes()),
        Value::U16(v) => out.extend(v.to_le_bytes()),
        Value::I16(v) => out.extend(v.to_le_bytes()),
        Value::U32(v) => out.extend(v.to_le_bytes()),
        Value::I32(v) => out.extend(v.to_le_bytes()),
        Value::F32(v) => out.extend(v.to_le_bytes()),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::String(v) => put_string(out, v)?,
        Value::Array(v) => put_array(out, v, 1)?,
        Value::U64(v) => out.extend(v.to_le_bytes()),
        Value::I64(v) => out.extend(v.to_le_bytes()),
        Value::F64(v) => out.extend(v.to_le_bytes()),
    }
    Ok(())
}

fn put_array(out: &mut Vec<u8>, array: &Array, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("nests arrays deeper than {MAX_DEPTH}"));
    }
    if array.len() as u64 > MAX_ARRAY {
        return Err(format!("holds an array of {} elements, more than {MAX_ARRAY}", array.len()));
    }
    out.extend(array.code().to_le_bytes());
    out.extend((array.len() as u64).to_le_bytes());
    match array {
        Array::U8(v) => out.extend(v),
        Array::I8(v) => v.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Array::U16(v) => v.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Array::I16(v) => v.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Array::U32(v) => v.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Array::I32(v) => v.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Array::F32(v) => v.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Array::Bool(v) => out.extend(v.iter().map(|v| u8::from(*v))),
        Array::String(v) => v.iter().try_for_each(|v| put_string(out, v))?,
        Array::Array(v) => v.iter().try_for_each(|v| put_array(out, v, depth + 1))?,
        Array::U64(v) => v.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Array::I64(v) => v.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Array::F64(v) => v.iter().for_each(|v| out.extend(v.to_le_bytes())),
    }
    Ok(())
}
