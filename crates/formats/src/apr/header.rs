//! The 64 bytes at the start, and the tensor index.

use std::path::Path;

use super::legacy::Legacy;
use crate::container::{TensorEntry, Verify, byte_len, place};
use crate::cursor::Cursor;
use crate::error::{Fault, FormatError};
use crate::quant::TensorType;

/// Bytes of the header.
pub(crate) const HEADER: u64 = 64;
/// What sections and tensors are aligned to.
pub(crate) const ALIGNMENT: u64 = 64;
/// Bytes of the footer, a CRC-32 of everything before it.
pub(crate) const FOOTER: u64 = 4;
/// Longest tensor name, in bytes.
pub(crate) const MAX_NAME: u64 = 256;
/// Most dimensions.
pub(crate) const MAX_DIMS: u64 = 8;
/// Most tensors.
pub(crate) const MAX_TENSORS: u64 = 1 << 17;
/// Longest metadata, in bytes. Upstream declares 16 MiB and enforces nothing; large vocabularies come near that.
pub(crate) const MAX_METADATA: u64 = 1 << 26;
/// Shortest index entry: name length, one-byte name or none, type, rank, offset and size.
const MIN_ENTRY: u64 = 20;

/// The rows are contiguous: every writer sets it.
pub(crate) const FLAG_ROW_MAJOR: u16 = 0x0400;
/// Flags that change what the bytes mean, and what to do about each.
const REFUSED: [(u16, &str, &str); 4] = [
    (0x0002, "ZSTD", "decompress it with the tool that wrote it"),
    (0x0004, "ENCRYPTED", "decrypt it with the tool that wrote it"),
    (0x0010, "SHARDED", "merge the shards with the tool that wrote them"),
    (0x0800, "LAYOUT_COLUMN_MAJOR", "convert it again: such files hold transposed weights"),
];

/// The header's fields.
pub(crate) struct Header {
    pub(crate) flags: u16,
    pub(crate) tensor_count: u64,
    pub(crate) metadata: (u64, u64),
    pub(crate) index: u64,
    pub(crate) data: u64,
}

/// The header checksum: CRC-32 of the 60 bytes around its own field.
pub(crate) fn header_crc(header: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..40]);
    crc.update(&header[44..64]);
    crc.finalize()
}

/// Reads and checks the header. `warnings` gets what is odd but harmless.
pub(crate) fn read_header(
    file: &Path,
    bytes: &[u8],
    verify: Verify,
    warnings: &mut Vec<String>,
) -> Result<Header, FormatError> {
    let mut at = Cursor::new(file, bytes, 0);
    let raw = at.take(HEADER, "the header")?;
    let mut at = Cursor::new(file, raw, 0);
    let magic = at.take(4, "the magic")?;
    let version = |version: String| Fault::Version { format: ".apr", version, supported: "2" }.at(file);
    match magic {
        b"APR\0" => {}
        b"APR2" => warnings.push("magic is \"APR2\"; other readers want \"APR\\0\"".to_owned()),
        b"APR1" | b"APRN" => return Err(version("1".to_owned())),
        _ => {
            let found = magic.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
            return Err(Fault::UnknownMagic { found }.at(file));
        }
    }
    let (major, minor) = (at.u8("the version")?, at.u8("the version")?);
    if major != 2 {
        return Err(version(format!("{major}.{minor}")));
    }
    let flags = at.u16("the flags")?;
    let tensor_count = u64::from(at.u32("the tensor count")?);
    let metadata_offset = at.u64("the metadata offset")?;
    let metadata_len = u64::from(at.u32("the metadata size")?);
    let (index, data) = (at.u64("the index offset")?, at.u64("the data offset")?);
    let found = at.u32("the header checksum")?;
    let expected = header_crc(raw);
    if found != expected && verify != Verify::None {
        return Err(Fault::Checksum { what: "header", found, expected }.at(file));
    }
    for (bit, flag, advice) in REFUSED {
        if flags & bit != 0 {
            return Err(Fault::UnsupportedFlag { flag, advice }.at(file));
        }
    }
    let header = Header { flags, tensor_count, metadata: (metadata_offset, metadata_len), index, data };
    header.check_sections(file, bytes.len() as u64)?;
    header.warn(warnings);
    Ok(header)
}

impl Header {
    fn check_sections(&self, file: &Path, file_len: u64) -> Result<(), FormatError> {
        let bad = |what, offset, problem| Err(Fault::BadSection { what, offset, problem }.at(file));
        let (begin, len) = self.metadata;
        if len > MAX_METADATA {
            return Err(
                Fault::TooLarge { what: "the metadata size", offset: 20, count: len, cap: MAX_METADATA }.at(file)
            );
        }
        if begin < HEADER {
            return bad("the metadata", begin, "overlaps the header");
        }
        if begin.saturating_add(len) > self.index {
            return bad("the tensor index", self.index, "begins before the metadata ends");
        }
        if self.index > self.data {
            return bad("the data section", self.data, "begins before the tensor index");
        }
        if self.data > file_len {
            return bad("the data section", self.data, "begins beyond the end of the file");
        }
        if !self.data.is_multiple_of(ALIGNMENT) {
            return bad("the data section", self.data, "is not at a multiple of 64");
        }
        Ok(())
    }

    fn warn(&self, warnings: &mut Vec<String>) {
        if self.flags & 0x0001 != 0 {
            warnings
                .push("flag LZ4 is set; the tensors' sizes are those of uncompressed data and are read so".to_owned());
        }
        if self.flags & 0x0008 != 0 {
            warnings.push("flag SIGNED is set; the signature is not checked".to_owned());
        }
        if self.flags & FLAG_ROW_MAJOR == 0 {
            warnings.push("flag LAYOUT_ROW_MAJOR is not set; the tensors are read as row-major".to_owned());
        }
    }
}

/// Reads and checks the index; tensors in the old codes come with the code.
pub(crate) fn read_index(
    file: &Path,
    bytes: &[u8],
    header: &Header,
) -> Result<Vec<(TensorEntry, Option<Legacy>)>, FormatError> {
    let section = &bytes[header.index as usize..header.data as usize];
    let mut at = Cursor::new(file, section, header.index);
    let count = at.check_count(header.tensor_count, "the tensor count", 8, MAX_TENSORS, MIN_ENTRY)?;
    let mut entries: Vec<(TensorEntry, Option<Legacy>)> = Vec::with_capacity(count);
    for _ in 0..count {
        let entry = read_entry(&mut at, header.data, bytes.len() as u64)?;
        if let Some((previous, _)) = entries.last()
            && previous.name >= entry.0.name
        {
            let tensor = entry.0.name;
            return Err(match previous.name == tensor {
                true => Fault::DuplicateTensor { tensor },
                false => Fault::NotSorted { tensor, previous: previous.name.clone() },
            }
            .at(file));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn read_entry(at: &mut Cursor, data: u64, file_len: u64) -> Result<(TensorEntry, Option<Legacy>), FormatError> {
    let file = at.file;
    let name_len = u64::from(at.u16("a tensor name's length")?);
    let name = at.text(name_len, "a tensor name", MAX_NAME)?.to_owned();
    let code = at.u8("a tensor type")?;
    let rank_at = at.offset();
    let rank = u64::from(at.u8("a dimension count")?);
    let rank = at.check_count(rank, "a dimension count", rank_at, MAX_DIMS, 8)?;
    let dims = (0..rank).map(|_| at.u64("a dimension")).collect::<Result<Vec<_>, _>>()?;
    let (offset, size) = (at.u64("a tensor offset")?, at.u64("a tensor size")?);

    let legacy = Legacy::from_code(code);
    let tensor_type = match code {
        _ if legacy.is_some() => TensorType::F32,
        0 => TensorType::F32,
        1 => TensorType::F16,
        30 => TensorType::BF16,
        12 => TensorType::Q4K,
        14 => TensorType::Q6K,
        _ => {
            let known = known_type(code);
            return Err(Fault::UnknownTensorType { tensor: name, code: code.to_string(), known }.at(file));
        }
    };
    let plain = byte_len(file, &name, tensor_type, &dims)?;
    let len = legacy.map_or(plain, |l| l.byte_len(plain / 4));
    if size != len {
        return Err(Fault::WrongSize { tensor: name, found: size, expected: len }.at(file));
    }
    if !offset.is_multiple_of(ALIGNMENT) {
        return Err(Fault::Misaligned { tensor: name, offset, alignment: ALIGNMENT }.at(file));
    }
    let offset = place(file, &name, data, offset, len, file_len)?;
    let shape = dims.iter().map(|d| *d as usize).collect();
    Ok((TensorEntry { name, tensor_type, shape, shard: 0, offset, len }, legacy))
}

/// What readers of `.apr` files take a code for that we do not decode.
fn known_type(code: u8) -> &'static str {
    match code {
        3 => "F64, or ggml's Q4_1: the known readers disagree",
        4 => "I32",
        5 => "I64",
        6 => "I8, or ggml's Q5_0: the known readers disagree",
        7 => "U8, or ggml's Q5_1: the known readers disagree",
        2 | 10 | 11 | 13 => "a ggml type that .apr has no code for",
        _ => "unknown",
    }
}
