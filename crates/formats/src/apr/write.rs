//! Writes `.apr` v2: data in the order given, index sorted by name.

use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value};

use super::header::{ALIGNMENT, FLAG_ROW_MAJOR, HEADER, MAX_DIMS, MAX_METADATA, MAX_NAME, header_crc};
use super::metadata::check_written;
use crate::atomic::{write_atomically, write_error};
use crate::container::{Fill, TensorPlan, align};
use crate::error::{Fault, FormatError};
use crate::quant::TensorType;
use crate::sink::{Sink, fill_tensor};

/// The types that have an `.apr` code with one meaning to all readers.
pub const WRITTEN: [TensorType; 5] =
    [TensorType::F32, TensorType::F16, TensorType::BF16, TensorType::Q4K, TensorType::Q6K];

/// Writes a file under `path`, whole or not at all; `fill` is asked for the tensors in the order of `tensors`.
///
/// # Errors
/// When a type has no `.apr` code, the model breaks a limit of the format, `fill` fails or writes another number of
/// bytes, or the disk refuses.
pub fn write(
    path: &Path,
    metadata: &Map<String, Value>,
    tensors: &[TensorPlan],
    fill: &mut Fill,
) -> Result<(), FormatError> {
    write_atomically(path, |out| write_to(path, out, metadata, tensors, fill))
}

/// The same into memory.
///
/// # Errors
/// As for [`write()`].
pub fn to_bytes(
    metadata: &Map<String, Value>,
    tensors: &[TensorPlan],
    fill: &mut Fill,
) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    write_to(Path::new("(memory)"), &mut bytes, metadata, tensors, fill)?;
    Ok(bytes)
}

fn write_to(
    path: &Path,
    out: &mut dyn Write,
    metadata: &Map<String, Value>,
    tensors: &[TensorPlan],
    fill: &mut Fill,
) -> Result<(), FormatError> {
    let cannot = |problem: String| Fault::CannotWrite { problem }.at(path);
    check_written(metadata).map_err(cannot)?;
    let json = serde_json::to_vec(metadata).map_err(|e| cannot(e.to_string()))?;
    if json.len() as u64 > MAX_METADATA {
        return Err(cannot(format!("{} bytes of metadata are more than {MAX_METADATA}", json.len())));
    }
    let lens = tensors.iter().map(|t| t.byte_len(path)).collect::<Result<Vec<_>, _>>()?;
    let index = index(path, tensors, &lens)?;
    let header = header(json.len() as u64, index.len() as u64, tensors.len() as u32);

    let mut out = Sink::new(out);
    let io = |e| write_error(path, e);
    for section in [&header[..], &json, &index] {
        out.write_all(section).map_err(io)?;
        out.pad(ALIGNMENT).map_err(io)?;
    }
    for (i, (tensor, len)) in tensors.iter().zip(&lens).enumerate() {
        fill_tensor(path, &mut out, &tensor.name, *len, |out| fill(i, out))?;
        out.pad(ALIGNMENT).map_err(io)?;
    }
    let footer = out.crc();
    out.write_all(&footer.to_le_bytes()).map_err(io)
}

fn header(metadata: u64, index: u64, tensors: u32) -> [u8; HEADER as usize] {
    let index_at = HEADER + metadata.next_multiple_of(ALIGNMENT);
    let data_at = index_at + index.next_multiple_of(ALIGNMENT);
    let mut header = [0; HEADER as usize];
    header[..4].copy_from_slice(b"APR\0");
    header[4] = 2;
    header[6..8].copy_from_slice(&FLAG_ROW_MAJOR.to_le_bytes());
    header[8..12].copy_from_slice(&tensors.to_le_bytes());
    header[12..20].copy_from_slice(&HEADER.to_le_bytes());
    header[20..24].copy_from_slice(&(metadata as u32).to_le_bytes());
    header[24..32].copy_from_slice(&index_at.to_le_bytes());
    header[32..40].copy_from_slice(&data_at.to_le_bytes());
    let crc = header_crc(&header);
    header[40..44].copy_from_slice(&crc.to_le_bytes());
    header
}

fn index(path: &Path, tensors: &[TensorPlan], lens: &[u64]) -> Result<Vec<u8>, FormatError> {
    let mut entries = Vec::with_capacity(tensors.len());
    let mut offset = 0u64;
    for (tensor, len) in tensors.iter().zip(lens) {
        if !WRITTEN.contains(&tensor.tensor_type) {
            let tensor_type = tensor.tensor_type.name();
            return Err(Fault::NoAprCode { tensor: tensor.name.clone(), tensor_type }.at(path));
        }
        if tensor.name.len() as u64 > MAX_NAME || tensor.shape.len() as u64 > MAX_DIMS {
            let problem = format!("tensor {:?} has too long a name or too many dimensions for .apr", tensor.name);
            return Err(Fault::CannotWrite { problem }.at(path));
        }
        entries.push((tensor, offset, *len));
        offset = align(offset + len, ALIGNMENT)
            .ok_or_else(|| Fault::CannotWrite { problem: "the tensors exceed 2^64 bytes".to_owned() }.at(path))?;
    }
    entries.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    let mut out = Vec::new();
    for (i, (tensor, offset, len)) in entries.iter().enumerate() {
        if i > 0 && entries[i - 1].0.name == tensor.name {
            return Err(Fault::DuplicateTensor { tensor: tensor.name.clone() }.at(path));
        }
        out.extend((tensor.name.len() as u16).to_le_bytes());
        out.extend(tensor.name.as_bytes());
        out.push(tensor.tensor_type as u8);
        out.push(tensor.shape.len() as u8);
        tensor.shape.iter().for_each(|d| out.extend((*d as u64).to_le_bytes()));
        out.extend(offset.to_le_bytes());
        out.extend(len.to_le_bytes());
    }
    Ok(out)
}
