//! What all containers share: a table of named tensors over mapped bytes.
//!
//! ```
//! use twinpath_formats::{Container, ModelFile, TensorPlan, TensorType, Verify, gguf};
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("tiny.gguf");
//! let plan = [TensorPlan::new("x", TensorType::F32, &[2, 3])];
//! gguf::write(&path, &gguf::Metadata::default(), &plan, &mut |_, out| {
//!     out.write_all(&[0; 24]).map_err(|e| twinpath_formats::atomic::write_error(&path, e))
//! })?;
//! let model = ModelFile::open(&path, Verify::All)?;
//! assert_eq!((model.kind(), model.matrix("x")?.rows()), ("gguf", 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::HashMap;
use std::ops::Deref;
use std::path::Path;

use crate::apr::Apr;
use crate::error::{Fault, FormatError, io};
use crate::gguf::Gguf;
use crate::hf::HfFolder;
use crate::map::Bytes;
use crate::matrix::Matrix;
use crate::quant::TensorType;

/// How much of a file's own checksums to verify. Structure (counts, bounds, overlap, types) is always checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// Every checksum the container has; reads the whole file where there is one over it (`.apr`).
    #[default]
    All,
    /// Checksums of the header only: quick, for looking at a file.
    Header,
    /// None, for files that were changed or cut on purpose.
    None,
}

/// One tensor of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name, as the container spells it.
    pub name: String,
    /// How its values are coded.
    pub tensor_type: TensorType,
    /// Row-major, outermost first: `[out, in]` (GGUF's `ne` reversed).
    pub shape: Vec<usize>,
    /// Which file of the container holds it.
    pub(crate) shard: usize,
    /// Where its bytes begin in that file.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) len: u64,
}

impl TensorEntry {
    /// Bytes that it takes.
    pub fn byte_len(&self) -> u64 {
        self.len
    }

    /// Where its bytes begin in its file.
    pub fn file_offset(&self) -> u64 {
        self.offset
    }

    /// Number of values.
    pub fn values(&self) -> u64 {
        self.shape.iter().map(|d| *d as u64).product()
    }

    /// Rows and columns: all outer dimensions folded into rows; a vector is one row.
    pub fn rows_cols(&self) -> (usize, usize) {
        match self.shape.split_last() {
            Some((cols, outer)) => (outer.iter().product(), *cols),
            None => (1, 1),
        }
    }
}

/// A tensor that is to be written: its bytes come later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPlan {
    /// Its name.
    pub name: String,
    /// How its values are coded.
    pub tensor_type: TensorType,
    /// Row-major, outermost first: `[out, in]`.
    pub shape: Vec<usize>,
}

impl TensorPlan {
    /// A plan for one tensor.
    pub fn new(name: &str, tensor_type: TensorType, shape: &[usize]) -> TensorPlan {
        TensorPlan { name: name.to_owned(), tensor_type, shape: shape.to_vec() }
    }

    /// Bytes it will take, in the file `file`.
    pub(crate) fn byte_len(&self, file: &Path) -> Result<u64, FormatError> {
        let dims: Vec<u64> = self.shape.iter().map(|d| *d as u64).collect();
        byte_len(file, &self.name, self.tensor_type, &dims)
    }
}

/// Fills in the bytes of planned tensor `i`; must write exactly as many as the plan needs.
pub type Fill<'a> = dyn FnMut(usize, &mut dyn std::io::Write) -> Result<(), FormatError> + 'a;

/// A model file, whatever its kind.
pub trait Container: Send + Sync {
    /// `"gguf"`, `"apr"` or `"hf"`.
    fn kind(&self) -> &'static str;
    /// The files it is made of; the first one is what was opened.
    fn paths(&self) -> Vec<&Path>;
    /// All tensors, in the order of the container's directory.
    fn tensors(&self) -> &[TensorEntry];
    /// The tensor of this name.
    fn tensor(&self, name: &str) -> Option<&TensorEntry>;
    /// The bytes of one of this container's tensors.
    fn bytes(&self, entry: &TensorEntry) -> &[u8];
    /// The bytes of its files. Whoever holds them keeps them where they are, also when the container is gone.
    fn files(&self) -> Vec<Bytes>;

    /// The tensor of this name as a matrix; see [`TensorEntry::rows_cols`].
    ///
    /// # Errors
    /// When there is no such tensor, or its bytes are no matrix.
    fn matrix(&self, name: &str) -> Result<Matrix<'_>, FormatError> {
        let file = self.paths()[0];
        let entry = self.tensor(name).ok_or_else(|| Fault::MissingTensor { tensor: name.to_owned() }.at(file))?;
        let (rows, cols) = entry.rows_cols();
        Matrix::new(entry.tensor_type, rows, cols, self.bytes(entry))
            .map_err(|e| Fault::NotAMatrix { tensor: name.to_owned(), source: Box::new(e) }.at(file))
    }

    /// Scans every block of every tensor for scales (or plain values) that are infinite or NaN.
    ///
    /// # Errors
    /// The first such block, in the order of the container's directory.
    fn check_finite(&self) -> Result<(), FormatError> {
        for entry in self.tensors() {
            if let Some(block) = first_not_finite(entry.tensor_type, self.bytes(entry)) {
                return Err(Fault::NotFinite { tensor: entry.name.clone(), block }.at(self.paths()[0]));
            }
        }
        Ok(())
    }
}

/// The first block that holds something infinite or NaN. Pieces are scanned side by side; the answer is the lowest.
fn first_not_finite(tensor_type: TensorType, bytes: &[u8]) -> Option<u64> {
    /// Blocks that are worth a thread of their own.
    const PIECE: usize = 1 << 18;
    let format = tensor_type.format();
    let size = format.block_bytes();
    // A call per value would make plain floats the slowest of all formats: their exponents are looked at directly.
    let exponents = |bytes: &[u8], mask: u16| {
        bytes.chunks_exact(size).position(|value| u16::from_le_bytes([value[size - 2], value[size - 1]]) & mask == mask)
    };
    let scan = |bytes: &[u8]| match tensor_type {
        TensorType::F32 | TensorType::BF16 => exponents(bytes, 0x7f80),
        TensorType::F16 => exponents(bytes, 0x7c00),
        _ => bytes.chunks_exact(size).position(|block| !format.is_finite(block)),
    };
    let blocks = bytes.len() / size;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(blocks / PIECE);
    if threads < 2 {
        return scan(bytes).map(|b| b as u64);
    }
    let per_thread = blocks.div_ceil(threads);
    std::thread::scope(|scope| {
        let pieces: Vec<_> = bytes.chunks(per_thread * size).map(|piece| scope.spawn(move || scan(piece))).collect();
        let found = pieces.into_iter().map(|p| p.join().expect("scanning does not panic"));
        found.enumerate().find_map(|(i, b)| b.map(|b| (i * per_thread + b) as u64))
    })
}

/// A model file of any kind.
pub enum ModelFile {
    /// GGUF, one file or split.
    Gguf(Gguf),
    /// `.apr` v2.
    Apr(Apr),
    /// A Hugging Face folder.
    HuggingFace(HfFolder),
}

impl ModelFile {
    /// Opens a model by what is in it: the magic of a file, or a folder with `config.json`.
    ///
    /// # Errors
    /// When it is none of the kinds, or not sound.
    pub fn open(path: &Path, verify: Verify) -> Result<ModelFile, FormatError> {
        if std::fs::metadata(path).map_err(io(path, "open"))?.is_dir() {
            return HfFolder::open(path).map(ModelFile::HuggingFace);
        }
        let bytes = Bytes::map(path)?;
        match bytes.get(..4) {
            Some(b"GGUF") => Gguf::open_mapped(path, bytes).map(ModelFile::Gguf),
            Some([b'A', b'P', b'R', _]) => Apr::from_bytes(path, bytes, verify).map(ModelFile::Apr),
            _ => {
                let found = bytes.iter().take(4).map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
                Err(Fault::UnknownMagic { found }.at(path))
            }
        }
    }
}

impl Deref for ModelFile {
    type Target = dyn Container;

    fn deref(&self) -> &(dyn Container + 'static) {
        match self {
            ModelFile::Gguf(m) => m,
            ModelFile::Apr(m) => m,
            ModelFile::HuggingFace(m) => m,
        }
    }
}

/// The tensors of a container, checked against each other.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) entries: Vec<TensorEntry>,
    by_name: HashMap<String, usize>,
}

impl Table {
    /// Checks that no name occurs twice and no two tensors share bytes. `files` are the shards' paths.
    pub(crate) fn new(entries: Vec<TensorEntry>, files: &[&Path]) -> Result<Table, FormatError> {
        let mut by_name = HashMap::with_capacity(entries.len());
        for (i, entry) in entries.iter().enumerate() {
            if by_name.insert(entry.name.clone(), i).is_some() {
                return Err(Fault::DuplicateTensor { tensor: entry.name.clone() }.at(files[entry.shard]));
            }
        }
        let mut order: Vec<&TensorEntry> = entries.iter().collect();
        order.sort_by_key(|e| (e.shard, e.offset));
        for pair in order.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            if a.shard == b.shard && a.offset + a.len > b.offset {
                let (first, second) = (a.name.clone(), b.name.clone());
                return Err(Fault::Overlap { first, second, offset: b.offset }.at(files[a.shard]));
            }
        }
        Ok(Table { entries, by_name })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&TensorEntry> {
        self.by_name.get(name).map(|i| &self.entries[*i])
    }
}

/// Bytes of a tensor with these dimensions (outermost first): checks for zeros, overflow and partial blocks.
pub(crate) fn byte_len(file: &Path, name: &str, tensor_type: TensorType, dims: &[u64]) -> Result<u64, FormatError> {
    let tensor = || name.to_owned();
    if dims.contains(&0) {
        return Err(Fault::ZeroDimension { tensor: tensor() }.at(file));
    }
    let overflow = || Fault::DimensionOverflow { tensor: tensor(), dims: dims.to_vec() }.at(file);
    let values = dims.iter().try_fold(1u64, |product, d| product.checked_mul(*d)).ok_or_else(overflow)?;
    let row = dims.last().copied().unwrap_or(1);
    let format = tensor_type.format();
    if !row.is_multiple_of(format.block_len() as u64) {
        return Err(Fault::PartialBlock { tensor: tensor(), row, tensor_type: format.name() }.at(file));
    }
    tensor_type.bytes_of(values).filter(|n| usize::try_from(*n).is_ok()).ok_or_else(overflow)
}

/// Checks that `len` bytes at `base + offset` lie within the file, and gives where they begin.
pub(crate) fn place(
    file: &Path,
    name: &str,
    base: u64,
    offset: u64,
    len: u64,
    file_len: u64,
) -> Result<u64, FormatError> {
    let begin = u128::from(base) + u128::from(offset);
    let end = begin + u128::from(len);
    if end > u128::from(file_len) {
        let shown = |n: u128| n.min(u128::from(u64::MAX)) as u64;
        let (begin, end) = (shown(begin), shown(end));
        return Err(Fault::OutOfBounds { tensor: name.to_owned(), begin, end, file_len }.at(file));
    }
    Ok(begin as u64)
}

/// `n` rounded up to a multiple of `alignment`.
pub(crate) fn align(n: u64, alignment: u64) -> Option<u64> {
    n.checked_next_multiple_of(alignment)
}
