//! Activations: one row per token position.

use std::sync::Arc;

/// A number that activations are made of.
pub trait Elem: Copy + Default + PartialEq + Into<f64> + Send + Sync + std::fmt::Debug + 'static {
    /// Exact widening.
    fn to_f64(self) -> f64 {
        self.into()
    }
    /// Nearest value of this type.
    fn from_f64(x: f64) -> Self;
}

impl Elem for f32 {
    fn from_f64(x: f64) -> Self {
        x as f32
    }
}

impl Elem for f64 {
    fn from_f64(x: f64) -> Self {
        x
    }
}

/// A dense row-major `[rows, cols]` value; rows are token positions. Clones share the values until one of them is changed:
/// who records a pass keeps all of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor<E> {
    rows: usize,
    cols: usize,
    data: Arc<Vec<E>>,
}

impl<E: Elem> Tensor<E> {
    /// Wraps row-major data.
    ///
    /// # Panics
    /// When `data` does not hold exactly `rows * cols` values.
    pub fn new(rows: usize, cols: usize, data: Vec<E>) -> Self {
        assert_eq!(data.len(), rows * cols, "a {rows} x {cols} tensor needs {} values", rows * cols);
        Tensor { rows, cols, data: Arc::new(data) }
    }

    /// All zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Tensor::new(rows, cols, vec![E::default(); rows * cols])
    }

    /// Token positions.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Values per position.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All values, row after row.
    pub fn data(&self) -> &[E] {
        &self.data
    }

    /// All values, row after row.
    pub fn data_mut(&mut self) -> &mut [E] {
        Arc::make_mut(&mut self.data).as_mut_slice()
    }

    /// The values of one position.
    pub fn row(&self, i: usize) -> &[E] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// The values of one position.
    pub fn row_mut(&mut self, i: usize) -> &mut [E] {
        let cols = self.cols;
        &mut self.data_mut()[i * cols..(i + 1) * cols]
    }

    /// Appends the rows of `more`, which has as many columns.
    pub fn append(&mut self, more: &Tensor<E>) {
        assert_eq!(self.cols, more.cols, "appended rows must be as wide as the tensor");
        Arc::make_mut(&mut self.data).extend_from_slice(&more.data);
        self.rows += more.rows;
    }

    /// Keeps the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        Arc::make_mut(&mut self.data).truncate(self.rows * self.cols);
    }

    /// Rows `from..to` alone.
    pub fn rows_of(&self, rows: std::ops::Range<usize>) -> Tensor<E> {
        let data = self.data[rows.start * self.cols..rows.end * self.cols].to_vec();
        Tensor::new(rows.len(), self.cols, data)
    }

    /// The last row alone.
    pub fn last_row(&self) -> Tensor<E> {
        self.rows_of(self.rows.saturating_sub(1)..self.rows)
    }
}
