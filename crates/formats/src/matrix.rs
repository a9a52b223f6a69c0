//! Weights as stored: a borrowed matrix of block-coded rows.

use std::ops::Range;

use crate::quant::{QuantFormat, TensorType};

/// A borrowed, validated matrix. Rows are contiguous and each row is a whole number of blocks.
///
/// Shape is row-major `[rows, cols]` = `[out, in]`; GGUF writes the same as `ne = [in, out]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    format: &'static dyn QuantFormat,
    rows: usize,
    cols: usize,
    bytes: &'a [u8],
}

/// Ways in which bytes can fail to be a matrix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    /// The row length is not a whole number of blocks.
    #[error("a row of {cols} values is not a whole number of {format} blocks of {block}")]
    PartialBlock {
        /// Values per row.
        cols: usize,
        /// Name of the block format.
        format: &'static str,
        /// Values per block.
        block: usize,
    },
    /// The byte count is not what the shape needs.
    #[error("{rows} x {cols} values of {format} need {expected} bytes, there are {found}")]
    Length {
        /// Rows of the matrix.
        rows: usize,
        /// Values per row.
        cols: usize,
        /// Name of the block format.
        format: &'static str,
        /// Bytes that the shape needs; `None` when the product does not fit in memory at all.
        expected: u128,
        /// Bytes given.
        found: usize,
    },
}

impl<'a> Matrix<'a> {
    /// Views `bytes` as a `[rows, cols]` matrix of `tensor_type` blocks.
    ///
    /// # Errors
    /// When a row is not a whole number of blocks, or the length is not exactly what the shape needs.
    pub fn new(tensor_type: TensorType, rows: usize, cols: usize, bytes: &'a [u8]) -> Result<Self, MatrixError> {
        let format = tensor_type.format();
        if !cols.is_multiple_of(format.block_len()) {
            return Err(MatrixError::PartialBlock { cols, format: format.name(), block: format.block_len() });
        }
        let expected = rows as u128 * (cols / format.block_len()) as u128 * format.block_bytes() as u128;
        if expected != bytes.len() as u128 {
            return Err(MatrixError::Length { rows, cols, format: format.name(), expected, found: bytes.len() });
        }
        Ok(Matrix { format, rows, cols, bytes })
    }

    /// The block format.
    pub fn format(&self) -> &'static dyn QuantFormat {
        self.format
    }

    /// The tensor type.
    pub fn tensor_type(&self) -> TensorType {
        self.format.tensor_type()
    }

    /// Rows (outputs).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns (inputs).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The stored bytes, row after row.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.cols / self.format.block_len() * self.format.block_bytes()
    }

    /// The stored bytes of row `i`.
    pub fn row(&self, i: usize) -> &'a [u8] {
        let n = self.row_bytes();
        &self.bytes[i * n..(i + 1) * n]
    }

    /// The sub-matrix of some rows.
    pub fn rows_of(&self, rows: Range<usize>) -> Matrix<'a> {
        let n = self.row_bytes();
        Matrix { rows: rows.len(), bytes: &self.bytes[rows.start * n..rows.end * n], ..*self }
    }

    /// Decodes row `i` exactly into `out`, which holds [`cols`](Self::cols) values.
    pub fn decode_row(&self, i: usize, out: &mut [f64]) {
        assert_eq!(out.len(), self.cols, "decode_row needs one place per column");
        let blocks = self.row(i).chunks_exact(self.format.block_bytes());
        for (block, out) in blocks.zip(out.chunks_exact_mut(self.format.block_len())) {
            self.format.decode(block, out);
        }
    }
}

impl std::fmt::Debug for Matrix<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Matrix({} {}x{})", self.format.name(), self.rows, self.cols)
    }
}
