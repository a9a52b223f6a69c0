//! `standalone`: weights decoded to f32, then plain f32 arithmetic.

use std::cell::RefCell;
use std::ops::Range;

use twinpath_engine::{Numerics, Op, Site, Tensor};
use twinpath_formats::{Matrix, TensorType};

use crate::columns::Columns;
use crate::lines::Lines;
use crate::simd::Isa;
use crate::simd::dot::{Panel, Sums, accumulate, reduce_each};
use crate::simd::fetch::{Cache, fetch};
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
/// Weight rows that meet the same activations before others come to the second-level cache.
const BAND: usize = 64;
/// Positions of which no others need to come: there, a band is one strip, so that weights are read in their order.
const FEW: usize = 16;
/// Positions that share one decoding of a strip; bounds the partial sums kept, `BAND * POSITIONS` of 64 bytes.
const POSITIONS: usize = 96;

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
    let pieces = Pieces::new(x);
    let values = Columns::made(x.rows(), (weight.rows(), weight.cols()), ROWS, |rows, out| {
        dots(isa, weight.rows_of(rows.clone()), &pieces, out);
        if let Some(bias) = bias {
            for t in 0..x.rows() {
                out.of(t, 0..rows.len()).iter_mut().zip(&bias[rows.clone()]).for_each(|(y, b)| *y += b);
            }
        }
    });
    Tensor::new(x.rows(), weight.rows(), values)
}

/// Activations `[positions, cols]`, a piece of [`COLUMNS`] columns after the other.
struct Pieces {
    values: Lines<f32>,
    positions: usize,
    cols: usize,
}

impl Pieces {
    fn new(x: &Tensor<f32>) -> Pieces {
        let mut values = Lines::zeros(x.data().len());
        f32_ops::for_each_chunk(&mut values, (x.rows() * COLUMNS).max(1), x.rows() * COLUMNS, |i, piece| {
            for (t, to) in piece.chunks_exact_mut(piece.len() / x.rows()).enumerate() {
                to.copy_from_slice(&x.row(t)[i * COLUMNS..][..to.len()]);
            }
        });
        Pieces { values, positions: x.rows(), cols: x.cols() }
    }

    /// At most [`COLUMNS`] columns of `group` positions.
    fn of(&self, columns: &Range<usize>, group: &Range<usize>) -> Panel<'_> {
        let data = &self.values[self.positions * columns.start + group.start * columns.len()..];
        Panel { data, stride: columns.len(), rows: group.len(), len: columns.len() }
    }
}

/// What a thread keeps from task to task, rather than clear it for each.
struct Scratch {
    /// Decoded weights of [`ROWS`] rows.
    strip: Lines<f32>,
    /// Partial sums of each row and each position of a group.
    sums: Lines<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch { strip: Lines::zeros(0), sums: Lines::zeros(0) });
}

/// The dots of each row of `weight` with each position, where `out` has zeros.
fn dots(isa: Isa, weight: Matrix<'_>, x: &Pieces, out: &mut Columns<'_>) {
    if x.cols == 0 || x.positions == 1 && of_one_position(isa, weight, &x.values, out) {
        return;
    }
    let height = if x.positions < FEW { ROWS } else { BAND };
    SCRATCH.with_borrow_mut(|scratch| {
        for band in stretches(0..weight.rows(), height) {
            for group in stretches(0..x.positions, POSITIONS) {
                let sums = scratch.sums.first(16 * band.len() * group.len()).as_chunks_mut::<16>().0;
                for columns in stretches(0..x.cols, COLUMNS) {
                    let x = x.of(&columns, &group);
                    for strip in stretches(band.clone(), ROWS) {
                        let lanes = &mut sums[strip.start - band.start..];
                        let weight = decoded(isa, weight, strip, &columns, &mut scratch.strip);
                        accumulate(isa, weight, x, columns.start == 0, Sums { lanes, apart: band.len() });
                    }
                }
                for (t, sums) in group.zip(sums.chunks_exact(band.len())) {
                    reduce_each(isa, sums, out.of(t, band.clone()));
                }
            }
        }
    });
}

/// The same for one position `x`, which each value meets as it is decoded; `false` where there is no kernel for it.
fn of_one_position(isa: Isa, weight: Matrix<'_>, x: &[f32], out: &mut Columns<'_>) -> bool {
    SCRATCH.with_borrow_mut(|scratch| {
        stretches(0..weight.rows(), BAND).all(|band| {
            let sums = scratch.sums.first(16 * band.len()).as_chunks_mut::<16>().0;
            let met = decode::dots(isa, weight.rows_of(band.clone()), x, sums);
            if met {
                reduce_each(isa, sums, out.of(0, band));
            }
            met
        })
    })
}

/// The range in stretches of `most`, and what is left.
fn stretches(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(most).map(move |start| start..end.min(start + most))
}

/// Some columns of at most [`ROWS`] rows, decoded to f32, while those of the next rows are fetched. Columns begin and end
/// with blocks.
fn decoded<'a>(
    isa: Isa,
    weight: Matrix<'_>,
    rows: Range<usize>,
    columns: &Range<usize>,
    strip: &'a mut Lines<f32>,
) -> Panel<'a> {
    let (all, len) = (weight.bytes(), columns.len());
    let row = all.len() / weight.rows();
    let bytes = row * columns.start / weight.cols()..row * columns.end / weight.cols();
    let strip = strip.first(ROWS * COLUMNS);
    for (i, out) in rows.clone().zip(strip.chunks_exact_mut(len)) {
        let next = (i + ROWS) * row;
        if next < all.len() {
            let next = &all[next + bytes.start..next + bytes.end];
            fetch(Cache::Second, next.as_ptr(), next.len());
        }
        decode::decode(isa, weight.tensor_type(), &all[i * row..][bytes.clone()], out);
    }
    Panel { data: strip, stride: len, rows: rows.len(), len }
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
            // Rows beside the four that meet one position, the tile of 8 and the band of 64, columns beside the strip of 1024,
            // positions beside the group of 96.
            for (rows, cols, positions) in
                [(1, 3, 1), (9, 1030, 2), (2, 40, 99), (67, 40, 4), (67, 40, 17), (3, 0, 2), (71, 1030, 1)]
            {
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
