//! `standalone`: weights decoded to f32, then plain f32 arithmetic.

use twinpath_engine::{Numerics, Op, Site, Tensor};
use twinpath_formats::{Matrix, TensorType};

use crate::simd::Isa;
use crate::simd::dot::{Lanes, Panel, accumulate, reduce_each};
use crate::{Path, Reading, decode, f32_ops};

/// Each weight is the format's real number rounded once to f32. A linear op is the [16-lane dot](crate::simd::dot) of
/// decoded row and activation, then the bias in f32. All else is [`f32_ops`].
pub struct Standalone {
    isa: Isa,
}

/// The name of [`Standalone`] in reports and on the command line.
pub const NAME: &str = "standalone";

/// Weight rows decoded together: the height of the largest tile.
const ROWS: usize = 8;
/// Columns decoded at a time, so that a strip of rows and one of activations stay in the first-level cache. A whole number
/// of blocks of every format and of lanes.
const COLUMNS: usize = 1024;
/// Positions that share one decoding of a strip; bounds the partial sums kept, `ROWS * POSITIONS` of 64 bytes.
const POSITIONS: usize = 128;

impl Standalone {
    /// The path on the widest instruction set of this processor.
    pub fn new() -> Standalone {
        Standalone::with_isa(Isa::detect())
    }

    /// The path on one instruction set; the bits are the same on all.
    pub fn with_isa(isa: Isa) -> Standalone {
        Standalone { isa }
    }
}

impl Default for Standalone {
    fn default() -> Self {
        Standalone::new()
    }
}

impl Numerics for Standalone {
    type Elem = f32;

    fn name(&self) -> &'static str {
        NAME
    }

    fn eval(&self, _site: Site, op: &Op<'_>, inputs: &[&Tensor<f32>]) -> Tensor<f32> {
        let isa = self.isa;
        match *op {
            Op::Embed { table, tokens } => embed(isa, table, tokens),
            Op::Linear { weight, bias } => linear(isa, weight, bias, inputs[0]),
            Op::Norm { weight, eps } => f32_ops::norm(isa, inputs[0], weight, eps),
            Op::Rope { rope, heads, start } => f32_ops::rope(inputs[0], rope, heads, start),
            Op::Scores { heads, kv_heads, scale } => f32_ops::scores(isa, inputs[0], inputs[1], heads, kv_heads, scale),
            Op::Softmax { heads, mask } => f32_ops::softmax(isa, inputs[0], heads, mask),
            Op::Mix { heads, kv_heads, mask } => f32_ops::mix(isa, inputs[0], inputs[1], heads, kv_heads, mask),
            Op::Silu => f32_ops::silu(isa, inputs[0]),
            Op::Multiply => f32_ops::multiply(isa, inputs[0], inputs[1]),
            Op::Add => f32_ops::add(isa, inputs[0], inputs[1]),
        }
    }
}

impl Path for Standalone {
    fn describe(&self) -> &'static str {
        "Every weight, quantised or F16, BF16, F32, is decoded to its real number rounded once to f32; 16-lane f32 dot \
         products with f32 activations."
    }

    fn kernels(&self) -> String {
        format!("f32-dot16-{}", self.isa.name())
    }

    fn reading(&self, _: TensorType) -> Reading {
        Reading::Plain
    }
}

/// Rows of `table`, decoded to f32: `[tokens.len(), table.cols()]`. For every path of f32 activations.
pub fn embed(isa: Isa, table: Matrix<'_>, tokens: &[u32]) -> Tensor<f32> {
    let mut out = Tensor::zeros(tokens.len(), table.cols());
    for (t, token) in tokens.iter().enumerate() {
        decode::decode(isa, table.tensor_type(), table.row(*token as usize), out.row_mut(t));
    }
    out
}

/// `x Wᵀ + b` for weights of any format: `x [T, in]`, `weight [out, in]`, `bias [out]`, result `[T, out]`.
///
/// # Panics
/// When `x` is not as wide as the weight, or the bias not as long as its rows.
pub fn linear(isa: Isa, weight: Matrix<'_>, bias: Option<&[f32]>, x: &Tensor<f32>) -> Tensor<f32> {
    assert_eq!(x.cols(), weight.cols(), "a linear op needs inputs as wide as its weight");
    assert!(bias.is_none_or(|b| b.len() == weight.rows()), "a linear op needs one bias per row");
    let (positions, outputs) = (x.rows(), weight.rows());
    // Transposed, so that tasks own contiguous places.
    let mut y = vec![0.0f32; outputs * positions];
    let work = ROWS * weight.cols() * positions;
    f32_ops::for_each_chunk(&mut y, ROWS * positions, work, |strip, y| {
        let rows = strip * ROWS..(strip * ROWS + ROWS).min(outputs);
        dots(isa, weight.rows_of(rows), x, y);
    });
    let mut out = Tensor::zeros(positions, outputs);
    f32_ops::for_each_chunk(out.data_mut(), outputs, outputs, |t, out| {
        for (i, out) in out.iter_mut().enumerate() {
            let dot = y[i * positions + t];
            *out = bias.map_or(dot, |b| dot + b[i]);
        }
    });
    out
}

/// `y[i * positions + t]` is the dot of row `i` of at most [`ROWS`] rows and position `t`.
fn dots(isa: Isa, weight: Matrix<'_>, x: &Tensor<f32>, y: &mut [f32]) {
    let (rows, cols, positions) = (weight.rows(), weight.cols(), x.rows());
    let format = weight.format();
    let mut strip = vec![0.0f32; rows * cols.min(COLUMNS)];
    for first in (0..positions).step_by(POSITIONS) {
        let group = POSITIONS.min(positions - first);
        let mut sums: Vec<Lanes> = vec![[0.0; 16]; rows * group];
        for column in (0..cols).step_by(COLUMNS) {
            let len = COLUMNS.min(cols - column);
            let from = column / format.block_len() * format.block_bytes();
            let bytes = len / format.block_len() * format.block_bytes();
            for i in 0..rows {
                let out = &mut strip[i * len..(i + 1) * len];
                decode::decode(isa, weight.tensor_type(), &weight.row(i)[from..from + bytes], out);
            }
            let weights = Panel { data: &strip, stride: len, rows, len };
            let x = Panel { data: &x.data()[first * cols + column..], stride: cols, rows: group, len };
            accumulate(isa, weights, x, &mut sums);
        }
        for (sums, y) in sums.chunks_exact(group).zip(y.chunks_exact_mut(positions)) {
            reduce_each(isa, sums, 1, &mut y[first..first + group]);
        }
    }
}

#[cfg(test)]
mod tests {
    use twinpath_formats::quant::FORMATS;

    use super::*;
    use crate::test_values::{Random, blocks, lane_dot};

    #[test]
    fn linear_has_the_bits_of_its_stated_order_for_every_format() {
        let mut random = Random::new(31);
        for f in FORMATS {
            // Rows beside the tile of 8, columns beside the strip of 1024, positions beside the group of 128.
            for (rows, cols, positions) in [(1, 3, 1), (9, 1030, 2), (2, 40, 131)] {
                let cols = (cols as usize).next_multiple_of(f.block_len());
                let bytes = blocks(f.tensor_type(), rows * (cols / f.block_len()), &mut random);
                let weight = Matrix::new(f.tensor_type(), rows, cols, &bytes).unwrap();
                let (x, bias) = (random.tensor(positions, cols), random.values(rows));
                let found = linear(Isa::detect(), weight, Some(&bias), &x);
                let mut exact = vec![0.0; cols];
                for i in 0..rows {
                    weight.decode_row(i, &mut exact);
                    let w: Vec<f32> = exact.iter().map(|w| *w as f32).collect();
                    for t in 0..positions {
                        let expected = lane_dot(&w, x.row(t)) + bias[i];
                        assert_eq!(found.row(t)[i].to_bits(), expected.to_bits(), "{} row {i} position {t}", f.name());
                    }
                }
            }
        }
    }

    #[test]
    fn linear_is_within_its_bound_for_every_format() {
        let mut random = Random::new(30);
        for f in FORMATS {
            for cols in [f.block_len(), 512, 1280] {
                let (rows, positions) = (11, 5);
                let bytes = blocks(f.tensor_type(), rows * (cols / f.block_len()), &mut random);
                let weight = Matrix::new(f.tensor_type(), rows, cols, &bytes).unwrap();
                let (x, bias) = (random.tensor(positions, cols), random.values(rows));
                let found = linear(Isa::detect(), weight, Some(&bias), &x);
                // One rounding of the weight, one per 16 products, four of the tree, one of the bias (Higham 2002, §3.1).
                let roundings = (1 + cols.div_ceil(16) + 4 + 1) as f64 / (1 << 24) as f64;
                let gamma = roundings / (1.0 - roundings);
                let mut w = vec![0.0; cols];
                for i in 0..rows {
                    weight.decode_row(i, &mut w);
                    for t in 0..positions {
                        let terms = || w.iter().zip(x.row(t)).map(|(w, x)| w * f64::from(*x));
                        let expected = terms().sum::<f64>() + f64::from(bias[i]);
                        let bound = gamma * (terms().map(f64::abs).sum::<f64>() + f64::from(bias[i]).abs());
                        let error = (f64::from(found.row(t)[i]) - expected).abs();
                        assert!(error <= bound, "{} row {i} position {t}: {error:e} above {bound:e}", f.name());
                    }
                }
            }
        }
    }
}
