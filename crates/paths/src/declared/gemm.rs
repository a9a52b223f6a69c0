//! Dot products of exactly decoded weights in f64, with what the error model needs of them.
//!
//! Columns come in chunks of 256, a chunk in sixteen lanes, like the f32 dot that it judges: what the lanes hold after
//! each chunk samples the partial sums of that dot. Plain code that LLVM vectorises, no kernel of a path.

use twinpath_formats::Matrix;

use super::Reading;
use super::anatomy;
use crate::simd::{Isa, Kernel};

/// Columns between two looks at the partial sums: a block of Q8_K.
pub(super) const CHUNK: usize = 256;
/// Lanes of a chunk.
pub(super) const LANES: usize = 16;
/// Positions whose sums are in registers together.
const TILE: usize = 4;

/// Activations of some positions as one reading has them, padded with zeros to whole lanes.
pub(super) struct Operand {
    pub(super) reading: Reading,
    pub(super) positions: usize,
    /// Values per position, padded.
    pub(super) stride: usize,
    pub(super) x: Vec<f64>,
    /// Sum of each 16 values.
    pub(super) sums: Vec<f64>,
    /// Norm of each chunk.
    pub(super) norms: Vec<f64>,
}

impl Operand {
    pub(super) fn new(reading: Reading, positions: usize, cols: usize, x: impl Fn(usize, &mut [f64])) -> Operand {
        let stride = cols.next_multiple_of(LANES);
        let mut values = vec![0.0; positions * stride];
        for (t, row) in values.chunks_exact_mut(stride.max(1)).enumerate() {
            x(t, &mut row[..cols]);
        }
        let sums = values.as_chunks::<LANES>().0.iter().map(|x| x.iter().sum()).collect();
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let norms = values.chunks_exact(stride.max(1)).flat_map(|row| row.chunks(CHUNK).map(norm)).collect();
        Operand { reading, positions, stride, x: values, sums, norms }
    }

    fn row(&self, t: usize) -> &[[f64; LANES]] {
        self.x[t * self.stride..(t + 1) * self.stride].as_chunks().0
    }
}

/// What is known of one output after its row was read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Output {
    /// The dot product.
    pub(super) value: f64,
    /// Estimated sum of squares of all that is rounded.
    pub(super) squares: f64,
    /// A bound on the sum of magnitudes of the terms.
    pub(super) magnitude: f64,
}

/// `out[(row * operands + operand) * positions + t]` for all rows of `weight`.
pub(super) struct Rows<'a> {
    pub(super) weight: Matrix<'a>,
    pub(super) operands: &'a [Operand],
    pub(super) out: &'a mut [Output],
}

impl Rows<'_> {
    pub(super) fn run_on(self, isa: Isa) {
        isa.run(self);
    }
}

/// One row of weights.
struct Row {
    w: Vec<f64>,
    /// Minimum of each 16 values; empty where the format has none.
    mins: Vec<f64>,
    /// Norm of each chunk.
    norms: Vec<f64>,
}

impl Kernel for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Some(first) = self.operands.first() else { return };
        let (cols, stride) = (self.weight.cols(), first.stride);
        let with_minimum = anatomy::has_minimum(self.weight.tensor_type());
        let mins = if with_minimum { stride / LANES } else { 0 };
        let mut row = Row { w: vec![0.0; stride], mins: vec![0.0; mins], norms: vec![0.0; cols.div_ceil(CHUNK)] };
        let per_row: usize = self.operands.iter().map(|o| o.positions).sum();
        for (i, mut out) in self.out.chunks_exact_mut(per_row.max(1)).enumerate() {
            self.weight.decode_row(i, &mut row.w[..cols]);
            if with_minimum {
                read_minimums(&self.weight, i, &mut row.mins);
            }
            for (norm, w) in row.norms.iter_mut().zip(row.w.chunks(CHUNK)) {
                *norm = square(w).sqrt();
            }
            for operand in self.operands {
                let (mine, rest) = out.split_at_mut(operand.positions);
                out = rest;
                let mut t = 0;
                while t + TILE <= operand.positions {
                    tile::<TILE>(&row, operand, t, &mut mine[t..t + TILE]);
                    t += TILE;
                }
                while t < operand.positions {
                    tile::<1>(&row, operand, t, &mut mine[t..=t]);
                    t += 1;
                }
            }
        }
    }
}

fn read_minimums(weight: &Matrix<'_>, i: usize, mins: &mut [f64]) {
    let format = weight.format();
    let blocks = weight.row(i).chunks_exact(format.block_bytes());
    for (block, out) in blocks.zip(mins.chunks_exact_mut(format.block_len() / LANES)) {
        anatomy::minimums(weight.tensor_type(), block, out);
    }
}

#[inline(always)]
fn square(w: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (whole, tail) = w.as_chunks::<8>();
    for w in whole {
        for l in 0..8 {
            sums[l] = w[l].mul_add(w[l], sums[l]);
        }
    }
    sums.iter().sum::<f64>() + tail.iter().map(|w| w * w).sum::<f64>()
}

#[inline(always)]
fn tile<const P: usize>(row: &Row, operand: &Operand, t: usize, out: &mut [Output]) {
    let x: [&[[f64; LANES]]; P] = std::array::from_fn(|p| operand.row(t + p));
    let w = row.w.as_chunks::<LANES>().0;
    let mut state = [State::default(); P];
    let step = CHUNK / LANES;
    for (chunk, from) in (0..w.len()).step_by(step).enumerate() {
        let to = (from + step).min(w.len());
        let mut sums = [[0.0; LANES]; P];
        for i in from..to {
            for p in 0..P {
                for l in 0..LANES {
                    sums[p][l] = w[i][l].mul_add(x[p][i][l], sums[p][l]);
                }
            }
        }
        for p in 0..P {
            let norm = row.norms[chunk] * operand.norms[(t + p) * row.norms.len() + chunk];
            match operand.reading {
                Reading::Plain => state[p].plain(&sums[p], (to - from) as f64, norm),
                Reading::Q8K | Reading::Q8_0 | Reading::Q8x32 => {
                    let group_sums = &operand.sums[(t + p) * w.len()..];
                    let mins = if row.mins.is_empty() { &[][..] } else { &row.mins[from..to] };
                    let minimum: f64 = mins.iter().zip(&group_sums[from..]).map(|(m, x)| m * x).sum();
                    let blocks = if operand.reading == Reading::Q8K { 1.0 } else { (to - from) as f64 / 2.0 };
                    state[p].coded(sums[p].iter().sum(), minimum, blocks, norm);
                }
            }
        }
    }
    for (state, out) in state.iter_mut().zip(out) {
        *out = state.finish(operand.reading);
    }
}

/// The sums of one output as they grow.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    lanes: [f64; LANES],
    codes: f64,
    minimums: f64,
    squares: f64,
    magnitude: f64,
}

impl State {
    /// A chunk of `steps` additions to each of the 16 lanes of f32. Every one rounds a partial sum, taken to be as large
    /// as the sum at the chunk's end.
    #[inline(always)]
    fn plain(&mut self, sums: &[f64; LANES], steps: f64, norm: f64) {
        let mut squares = 0.0;
        for l in 0..LANES {
            self.lanes[l] += sums[l];
            squares += self.lanes[l] * self.lanes[l];
        }
        self.squares += steps * squares;
        self.magnitude += norm;
    }

    /// A chunk of integer blocks: each rounds the product of the scales, at most the conversion of the integer, and the
    /// sum; codes and minimums apart.
    #[inline(always)]
    fn coded(&mut self, sum: f64, minimum: f64, blocks: f64, norm: f64) {
        let codes = sum - minimum;
        self.codes += codes;
        self.minimums += minimum;
        self.squares += 2.0 * (codes * codes + minimum * minimum);
        self.squares += blocks * (self.codes * self.codes + self.minimums * self.minimums);
        if blocks > 1.0 {
            // The walk between two looks: `(blocks + 1) / 2` times the chunk's sum of squared products, as if weights
            // and activations were unrelated.
            self.squares += (blocks + 1.0) / 2.0 * norm * norm / CHUNK as f64;
        }
        // One block a chunk: its two terms are known; several: Cauchy and Schwarz bound their sum.
        self.magnitude += if blocks > 1.0 { norm + 2.0 * minimum.abs() } else { codes.abs() + minimum.abs() };
    }

    #[inline(always)]
    fn finish(&mut self, reading: Reading) -> Output {
        if reading != Reading::Plain {
            let value = self.codes + self.minimums;
            return Output { value, squares: self.squares + value * value, magnitude: self.magnitude };
        }
        for width in [8, 4, 2, 1] {
            for l in 0..width {
                self.lanes[l] += self.lanes[l + width];
                self.squares += self.lanes[l] * self.lanes[l];
            }
        }
        Output { value: self.lanes[0], squares: self.squares, magnitude: self.magnitude }
    }
}
