//! One error type for every container: the file, and the way in which it lies.
//!
//! [`Fault`] has one variant per lie, so that a caller (or a test) can tell them apart; the text names the offset or
//! tensor and ends with what to do.
//!
//! ```
//! use twinpath_formats::{gguf::Gguf, Fault};
//! let error = Gguf::from_bytes("model.gguf", &b"GGUF\x03\0\0\0"[..]).err().expect("cut short");
//! assert!(matches!(error.fault, Fault::Truncated { offset: 8, .. }));
//! assert!(error.to_string().starts_with("model.gguf: cut short at byte 8"));
//! ```

use std::path::{Path, PathBuf};

use crate::matrix::MatrixError;

/// What is wrong, and in which file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", file.display())]
pub struct FormatError {
    /// The file (the name given, for bytes in memory).
    pub file: PathBuf,
    /// What is wrong with it.
    #[source]
    pub fault: Fault,
}

impl FormatError {
    /// `fault` in `file`.
    pub fn new(file: &Path, fault: Fault) -> FormatError {
        FormatError { file: file.to_owned(), fault }
    }
}

/// The ways in which a model file can lie, or in which reading, writing or converting it can fail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each field is explained by the message that shows it")]
pub enum Fault {
    /// The operating system refused.
    #[error("cannot {action}: {source}")]
    Io { action: &'static str, source: std::io::Error },
    /// A directory, FIFO, socket or device where a regular file is needed.
    #[error("is a {what}, not a regular file; give the path of a model file")]
    NotAFile { what: &'static str },
    /// No bytes at all.
    #[error("is empty; download or convert it again")]
    Empty,
    /// More files mapped at once than the table of mappings holds.
    #[error("more than {cap} model files would be mapped at once; close some or merge the shards")]
    TooManyMapped { cap: usize },
    /// No known magic.
    #[error(
        "starts with {found}, which is neither GGUF nor .apr v2; give a .gguf or .apr file, or a folder with config.json"
    )]
    UnknownMagic { found: String },
    /// A folder without `config.json`.
    #[error("is a folder without config.json; give a Hugging Face model folder or a .gguf or .apr file")]
    NotAModelFolder,
    /// A version that we do not read.
    #[error("{format} version {version} is not supported ({supported} is); convert it again with a current tool")]
    Version { format: &'static str, version: String, supported: &'static str },
    /// A byte-swapped GGUF.
    #[error("is a big-endian GGUF; convert it to little-endian (gguf_convert_endian.py of gguf-py)")]
    BigEndian,
    /// Fewer bytes than a field needs.
    #[error("cut short at byte {offset}: {what} needs {needed} bytes and {left} are left; copy or download it again")]
    Truncated { offset: u64, what: &'static str, needed: u64, left: u64 },
    /// A count or length beyond its cap.
    #[error("{what} at byte {offset} says {count}, more than the cap of {cap}; the file is damaged or hostile")]
    TooLarge { what: &'static str, offset: u64, count: u64, cap: u64 },
    /// Text that is not UTF-8.
    #[error("{what} at byte {offset} is not UTF-8; the file is damaged")]
    NotUtf8 { what: &'static str, offset: u64 },
    /// A metadata value type code that does not exist.
    #[error("metadata key {key:?} has value type {code}, which does not exist; the file is damaged")]
    UnknownValueType { key: String, code: u32 },
    /// A boolean that is neither 0 nor 1.
    #[error("a boolean at byte {offset} is {found}, not 0 or 1; the file is damaged")]
    BadBool { offset: u64, found: u8 },
    /// Arrays within arrays beyond the cap.
    #[error("metadata key {key:?} nests arrays deeper than {cap}; the file is damaged or hostile")]
    TooDeep { key: String, cap: usize },
    /// The same metadata key twice.
    #[error("metadata key {key:?} occurs twice; the file is damaged, convert it again")]
    DuplicateKey { key: String },
    /// A metadata key that is needed is not there.
    #[error("metadata key {key:?} is missing; convert the model again with a tool that writes it")]
    MissingKey { key: String },
    /// A metadata value of another type than the key has by convention.
    #[error("metadata key {key:?} holds {found}, expected {expected}; correct it or convert the model again")]
    WrongType { key: String, expected: &'static str, found: &'static str },
    /// `general.alignment` is not a usable power of two.
    #[error("general.alignment is {found}, not a power of two up to {cap}; the file is damaged")]
    BadAlignment { found: String, cap: u64 },
    /// The same tensor name twice.
    #[error("tensor {tensor:?} occurs twice; the file is damaged, convert it again")]
    DuplicateTensor { tensor: String },
    /// A tensor type that is not decoded here.
    #[error(
        "tensor {tensor:?} has type {code} ({known}), which is not supported; requantise the model to a supported type"
    )]
    UnknownTensorType { tensor: String, code: String, known: &'static str },
    /// A dimension of zero.
    #[error("tensor {tensor:?} has a dimension of 0; the file is damaged")]
    ZeroDimension { tensor: String },
    /// The product of the dimensions, or the bytes it stands for, does not fit 64 bits.
    #[error("tensor {tensor:?}: the product of the dimensions {dims:?} overflows; the file is damaged or hostile")]
    DimensionOverflow { tensor: String, dims: Vec<u64> },
    /// A row that is not a whole number of blocks.
    #[error("tensor {tensor:?}: a row of {row} values is no whole number of {tensor_type} blocks; the file is damaged")]
    PartialBlock { tensor: String, row: u64, tensor_type: &'static str },
    /// A tensor at an offset that breaks the container's alignment.
    #[error("tensor {tensor:?} begins at {offset}, no multiple of the alignment {alignment}; the file is damaged")]
    Misaligned { tensor: String, offset: u64, alignment: u64 },
    /// A tensor that ends beyond the file.
    #[error("tensor {tensor:?} needs bytes {begin}..{end} and the file has {file_len}; copy or download it again")]
    OutOfBounds { tensor: String, begin: u64, end: u64, file_len: u64 },
    /// Two tensors that share bytes.
    #[error("tensors {first:?} and {second:?} overlap at byte {offset}; the file is damaged or hostile")]
    Overlap { first: String, second: String, offset: u64 },
    /// The recorded size of a tensor is not what its type and shape need.
    #[error("tensor {tensor:?} records {found} bytes, its type and shape need {expected}; the file is damaged")]
    WrongSize { tensor: String, found: u64, expected: u64 },
    /// Opening a later shard of a split model.
    #[error("is shard {number} of a split model; open the first shard, {first}")]
    NotFirstShard { number: u64, first: String },
    /// A shard that is not there or does not belong.
    #[error("is needed as a shard and {problem}; put all shards of one model into one folder")]
    BadShard { problem: String },
    /// A checksum that does not fit.
    #[error(
        "{what} checksum is {found:08x}, the bytes give {expected:08x}; the file is damaged, copy or download it again (no verification for a file changed on purpose)"
    )]
    Checksum { what: &'static str, found: u32, expected: u32 },
    /// A feature flag that we cannot honour.
    #[error("has the flag {flag}, which is not supported: {advice}")]
    UnsupportedFlag { flag: &'static str, advice: &'static str },
    /// Sections of an `.apr` file in the wrong place.
    #[error("{what} at {offset} {problem}; the file is damaged")]
    BadSection { what: &'static str, offset: u64, problem: &'static str },
    /// An index that is not strictly increasing by name.
    #[error(
        "tensor {tensor:?} comes after {previous:?} in the index, which must be sorted by name; the file is damaged"
    )]
    NotSorted { tensor: String, previous: String },
    /// JSON that does not parse, or is not an object.
    #[error("{what} is not valid: {problem}; the file is damaged")]
    BadJson { what: &'static str, problem: String },
    /// A safetensors header that does not hold together.
    #[error("not a sound safetensors file: {source}; copy or download it again")]
    Safetensors { source: safetensors::SafeTensorError },
    /// A tensor that is asked for is not there.
    #[error("tensor {tensor:?} is missing; this is not a complete model of its family")]
    MissingTensor { tensor: String },
    /// Bytes that are no matrix.
    #[error("tensor {tensor:?}: {source}; the file is damaged")]
    NotAMatrix { tensor: String, source: Box<MatrixError> },
    /// An infinite or NaN scale.
    #[error(
        "tensor {tensor:?}, block {block}: a scale (or plain value) is infinite or NaN; the model is broken, requantise it"
    )]
    NotFinite { tensor: String, block: u64 },
    /// A tensor type that the target container cannot hold.
    #[error(
        "tensor {tensor:?} is {tensor_type}, which has no .apr code; convert with --dequantize f16 or --dequantize f32"
    )]
    NoAprCode { tensor: String, tensor_type: &'static str },
    /// A value too large for the type it is to be rounded to.
    #[error("tensor {tensor:?}: {value:e} does not fit {target}; convert with --dequantize f32")]
    DoesNotFit { tensor: String, value: f64, target: &'static str },
    /// A name that would not come back as it was.
    #[error("tensor {tensor:?} would be named {renamed:?} on the way back; rename it before converting")]
    AmbiguousName { tensor: String, renamed: String },
    /// A model family whose names are not mapped.
    #[error("architecture {architecture:?} cannot be converted; supported are {supported}")]
    UnsupportedArchitecture { architecture: String, supported: String },
    /// A pair of containers that is not converted.
    #[error("cannot convert {from} to {to}; supported are gguf to apr and apr to gguf")]
    UnsupportedConversion { from: String, to: String },
    /// A writer was handed a model that the container cannot hold.
    #[error("cannot be written: {problem}")]
    CannotWrite { problem: String },
}

impl Fault {
    /// This fault in `file`.
    pub(crate) fn at(self, file: &Path) -> FormatError {
        FormatError::new(file, self)
    }
}

/// Maps an I/O error to a [`FormatError`], for `map_err`.
pub(crate) fn io<'a>(file: &'a Path, action: &'static str) -> impl FnOnce(std::io::Error) -> FormatError + 'a {
    move |source| Fault::Io { action, source }.at(file)
}
