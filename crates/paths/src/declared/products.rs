//! Dot products of packed weights in exact whole numbers, with what the error model needs of them.
//!
//! A row is read once for all positions, readings and sides. Sums over as many columns as `i32` holds are exact; they meet
//! their scales in f64, as do the minimums. Lanes are positions.

use rayon::prelude::*;
use twinpath_formats::{Matrix, TensorType};

use super::digits::{Columns, MOST, Operand, Read};
use super::dots::{self, LANES, ROWS, Sums, dots};
use super::gemm::Output;
use super::linear::{Join, Made};
use super::whole::{self, CHUNK, Scales};
use super::{Reading, rounds_when_decoded};
use crate::simd::{Isa, Kernel};

/// Weight rows of one task.
const TASK: usize = 2 * ROWS;

type Lanes = [f64; LANES];

/// The outputs of all rows of `weight`, which is packed, one after another: for each operand, each of its readings, each of
/// its positions.
pub(super) fn evaluate(isa: Isa, weight: Matrix<'_>, bias: Option<&[f32]>, operands: &[Operand]) -> Vec<Made> {
    let per_row: usize = operands.iter().map(|o| o.readings.len() * o.positions).sum();
    let mut made = vec![Made::default(); weight.rows() * per_row];
    if per_row > 0 {
        made.par_chunks_mut(TASK * per_row).enumerate().for_each(|(task, out)| {
            let first = task * TASK;
            let rows = first..first + out.len() / per_row;
            let bias = bias.map(|bias| &bias[rows.clone()]);
            isa.run(Task { isa, weight: weight.rows_of(rows), bias, operands, out });
        });
    }
    made
}

/// Columns whose integer sums fit: `most · 8191 · columns < 2³¹`. All that share their scales, or a part of them.
fn span(tensor_type: TensorType, operands: &[Operand]) -> usize {
    let blocks = operands.iter().flat_map(|o| &o.readings).filter_map(|r| r.block());
    let shared = blocks.fold(whole::scale_width(tensor_type), usize::min);
    let largest = f64::from(whole::most(tensor_type).unwrap_or(i32::MAX)) * MOST;
    let fits = [256, 128, 64, 32].into_iter().find(|columns| largest * (*columns as f64) < 2f64.powi(31));
    fits.map_or(32, |columns: usize| columns.min(shared))
}

/// Some rows of weights.
struct Task<'a> {
    isa: Isa,
    weight: Matrix<'a>,
    bias: Option<&'a [f32]>,
    operands: &'a [Operand],
    out: &'a mut [Made],
}

/// Rows of weights in 256 columns.
struct Tile {
    integers: [[i16; CHUNK]; ROWS],
    rows: [Row; ROWS],
}

/// What the integers of one row count, and their size.
#[derive(Clone, Copy)]
struct Row {
    scales: Scales,
    minimums: [f64; 16],
    square: f64,
    norm: f64,
}

impl Kernel for Task<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let (rows, cols, tensor_type) = (self.weight.rows(), self.weight.cols(), self.weight.tensor_type());
        let (span, rounded) = (span(tensor_type, self.operands), rounds_when_decoded(&self.weight));
        let shape = |o: &Operand| o.positions.div_ceil(LANES) * o.readings.len();
        let per_tile: usize = self.operands.iter().map(|o| ROWS * shape(o)).sum();
        let mut states = vec![State::ZERO; rows.div_ceil(ROWS) * per_tile];
        let mut tile = Tile::ZERO;
        let mut sums =
            vec![[[0; LANES]; ROWS]; CHUNK / span * self.operands.iter().map(most_planes).max().unwrap_or(0)];
        for (chunk, first) in (0..cols).step_by(CHUNK).enumerate() {
            let width = CHUNK.min(cols - first);
            for (t, states) in states.chunks_mut(per_tile).enumerate() {
                tile.read(self.isa, &self.weight, t * ROWS, first, width);
                let mut states = states.chunks_mut(ROWS);
                for operand in self.operands {
                    let blocks = operand.positions.div_ceil(LANES);
                    for columns in &operand.columns[chunk * blocks..(chunk + 1) * blocks] {
                        multiply(self.isa, &tile, columns, width, span, &mut sums);
                        for (i, reading) in operand.readings.iter().enumerate() {
                            let read = Reads {
                                reading: *reading,
                                planes: &operand.planes[i],
                                columns,
                                read: &columns.read[i],
                            };
                            let states = states.next().unwrap_or_default();
                            read.add(&tile, &sums, (width, span, rounded), states);
                        }
                    }
                }
            }
        }
        self.finish(&states, per_tile);
    }
}

impl Task<'_> {
    /// Puts the states where their outputs belong.
    #[inline(always)]
    fn finish(self, states: &[State], per_tile: usize) {
        let (cols, mut out) = (self.weight.cols(), self.out);
        for row in 0..self.weight.rows() {
            let mut at = row / ROWS * per_tile + row % ROWS;
            let bias = self.bias.map(|bias| f64::from(bias[row]));
            for operand in self.operands {
                let (blocks, readings) = (operand.positions.div_ceil(LANES), operand.readings.len());
                for (i, reading) in operand.readings.iter().enumerate() {
                    let joint = Join::new(*reading, bias, cols);
                    let (mine, rest) = out.split_at_mut(operand.positions);
                    out = rest;
                    for (block, mine) in mine.chunks_mut(LANES).enumerate() {
                        states[at + (block * readings + i) * ROWS].finish(*reading, &joint, mine);
                    }
                }
                at += blocks * readings * ROWS;
            }
        }
    }
}

fn most_planes(operand: &Operand) -> usize {
    operand.planes.iter().flatten().max().map_or(0, |p| p + 1)
}

impl Tile {
    const ZERO: Tile = Tile {
        integers: [[0; CHUNK]; ROWS],
        rows: [Row { scales: Scales::ZERO, minimums: [0.0; 16], square: 0.0, norm: 0.0 }; ROWS],
    };

    /// Columns `first ..` of rows `from ..`; rows beyond the last keep what they had, and nobody asks for them.
    #[inline(always)]
    fn read(&mut self, isa: Isa, weight: &Matrix<'_>, from: usize, first: usize, width: usize) {
        let (tensor_type, format) = (weight.tensor_type(), weight.format());
        let bytes = |column: usize| column / format.block_len() * format.block_bytes();
        for r in 0..ROWS.min(weight.rows() - from) {
            let (integers, row) = (&mut self.integers[r], &mut self.rows[r]);
            let packed = &weight.row(from + r)[bytes(first)..bytes(first + width)];
            whole::read(tensor_type, packed, integers, &mut row.scales);
            row.measure(isa, integers, width);
        }
    }
}

impl Row {
    /// `Σ w²` of each scale is `d² Σ i² + 2 d dmin Σ M i + dmin² Σ M²`.
    #[inline(always)]
    fn measure(&mut self, isa: Isa, integers: &[i16; CHUNK], width: usize) {
        let s = &self.scales;
        let moments = dots::moments(isa, integers, &s.steps);
        let mut squares = [0.0; 8];
        for g in 0..8 {
            let (low, high) = (f64::from(s.steps[2 * g]), f64::from(s.steps[2 * g + 1]));
            (self.minimums[2 * g], self.minimums[2 * g + 1]) = (s.dmin[g] * low, s.dmin[g] * high);
            let (d, dmin) = (s.d[g], s.dmin[g]);
            let steps = 16.0 * (low * low + high * high);
            squares[g] =
                d * d * f64::from(moments[g]) + 2.0 * d * dmin * f64::from(moments[8 + g]) + dmin * dmin * steps;
        }
        self.square = squares[..width / 32].iter().sum::<f64>().max(0.0);
        self.norm = self.square.sqrt();
    }
}

/// The integer sums of each plane, span after span.
#[inline(always)]
fn multiply(isa: Isa, tile: &Tile, columns: &Columns, width: usize, span: usize, sums: &mut [Sums]) {
    let planes = columns.planes.len();
    for (s, sums) in sums.chunks_mut(planes).take(width / span).enumerate() {
        let from = s * span / 2;
        let digits = |p: usize| &columns.planes[p].digits[from..from + span / 2];
        let (pairs, last) = sums.as_chunks_mut::<2>();
        for (p, [a, b]) in pairs.iter_mut().enumerate() {
            dots(isa, &tile.integers, from, [digits(2 * p), digits(2 * p + 1)], [a, b]);
        }
        if let [last] = last {
            dots(isa, &tile.integers, from, [digits(planes - 1)], [last]);
        }
    }
}

/// One reading of sixteen positions.
#[derive(Clone, Copy)]
struct Reads<'a> {
    reading: Reading,
    planes: &'a [usize],
    columns: &'a Columns,
    read: &'a Read,
}

impl Reads<'_> {
    /// Adds a chunk to the states of the tile's rows.
    #[inline(always)]
    fn add(self, tile: &Tile, sums: &[Sums], (width, span, rounded): (usize, usize, bool), states: &mut [State]) {
        for (r, state) in states.iter_mut().enumerate() {
            let row = &tile.rows[r];
            let codes = self.codes(row, sums, r, (width, span));
            let minimum = self.minimum(row);
            let mut norm = [0.0; LANES];
            for l in 0..LANES {
                norm[l] = row.norm * self.read.norm[l];
            }
            match self.reading {
                Reading::Plain => {
                    let walk = self.walk(row, &tile.integers[r], width);
                    state.plain(&codes, &minimum, &walk, &norm, (width / 16) as f64, rounded);
                }
                Reading::Q8K => state.coded(&codes, &minimum, &norm, 1.0),
                Reading::Q8_0 | Reading::Q8x32 => state.coded(&codes, &minimum, &norm, (width / 32) as f64),
            }
        }
    }

    /// The products of the integers.
    #[inline(always)]
    fn codes(&self, row: &Row, sums: &[Sums], r: usize, (width, span): (usize, usize)) -> Lanes {
        let mut codes = [0.0; LANES];
        let all = self.columns.planes.len();
        for s in 0..width / span {
            let at = s * span / 32;
            for p in self.planes {
                let (sums, scale) = (&sums[s * all + p][r], &self.columns.planes[*p].scales[at]);
                for l in 0..LANES {
                    codes[l] += row.scales.d[at] * scale[l] * f64::from(sums[l]);
                }
            }
        }
        codes
    }

    /// The products of the minimums.
    #[inline(always)]
    fn minimum(&self, row: &Row) -> Lanes {
        let mut sum = [0.0; LANES];
        if row.scales.dmin == [0.0; 8] {
            return sum;
        }
        let even = (0..8).all(|g| row.scales.steps[2 * g] == row.scales.steps[2 * g + 1]);
        let groups = if even { &self.read.wide_sums[..] } else { &self.read.sums[..] };
        let step = 16 / groups.len();
        for (g, x) in groups.iter().enumerate() {
            for l in 0..LANES {
                sum[l] += row.minimums[g * step] * x[l];
            }
        }
        sum
    }

    /// An estimate of `Σ w² x²`: as if weights and activations were unrelated, but for activations that stand out.
    #[inline(always)]
    fn walk(&self, row: &Row, integers: &[i16; CHUNK], width: usize) -> Lanes {
        let mut walk = [0.0; LANES];
        let share = row.square / width as f64;
        match &self.read.peak {
            None => {
                for l in 0..LANES {
                    walk[l] = share * self.read.norm[l] * self.read.norm[l];
                }
            }
            Some(peak) => {
                for l in 0..LANES {
                    let at = peak.column[l] % CHUNK;
                    let w = row.scales.d[at / 32] * f64::from(integers[at]) + row.minimums[at / 16];
                    walk[l] = share * peak.rest[l] + w * w * peak.square[l];
                }
            }
        }
        walk
    }
}

/// The sums of one row and sixteen positions as they grow.
#[derive(Clone, Copy)]
struct State {
    codes: Lanes,
    minimums: Lanes,
    walk: Lanes,
    squares: Lanes,
    magnitude: Lanes,
}

impl State {
    const ZERO: State = State {
        codes: [0.0; LANES],
        minimums: [0.0; LANES],
        walk: [0.0; LANES],
        squares: [0.0; LANES],
        magnitude: [0.0; LANES],
    };

    /// `steps` additions to each of the sixteen lanes of an f32 dot, each of which rounds its partial sum. The squares of
    /// the lanes sum to that of the walk of unrelated terms, on average half-way through the chunk, and to the sixteenth of
    /// that of the whole sum if all lanes share it. Weights that round when they are decoded round once for each term.
    #[inline(always)]
    fn plain(&mut self, codes: &Lanes, minimum: &Lanes, walk: &Lanes, norm: &Lanes, steps: f64, rounded: bool) {
        let terms = if rounded { 1.0 } else { 0.0 };
        for l in 0..LANES {
            self.codes[l] += codes[l] + minimum[l];
            let lanes = self.walk[l] + 0.5 * walk[l] + self.codes[l] * self.codes[l] / 16.0;
            self.squares[l] += steps * lanes + terms * walk[l];
            self.walk[l] += walk[l];
            self.magnitude[l] += norm[l];
        }
    }

    /// A chunk of integer blocks: each rounds the product of the scales, at most the conversion of the integer, and the
    /// sum; codes and minimums apart.
    #[inline(always)]
    fn coded(&mut self, codes: &Lanes, minimum: &Lanes, norm: &Lanes, blocks: f64) {
        for l in 0..LANES {
            let (c, m) = (codes[l], minimum[l]);
            self.codes[l] += c;
            self.minimums[l] += m;
            let mut squares = 2.0 * (c * c + m * m);
            squares += blocks * (self.codes[l] * self.codes[l] + self.minimums[l] * self.minimums[l]);
            if blocks > 1.0 {
                // The walk between two looks: `(blocks + 1) / 2` times the chunk's sum of squared products, as if weights
                // and activations were unrelated.
                squares += (blocks + 1.0) / 2.0 * norm[l] * norm[l] / CHUNK as f64;
            }
            self.squares[l] += squares;
            // One block a chunk: its two terms are known; several: Cauchy and Schwarz bound their sum.
            self.magnitude[l] += if blocks > 1.0 { norm[l] + 2.0 * m.abs() } else { c.abs() + m.abs() };
        }
    }

    /// The outputs of the first positions. The tree of a plain dot rounds sums of two, four, eight and sixteen lanes.
    #[inline(always)]
    fn finish(&self, reading: Reading, join: &Join, out: &mut [Made]) {
        let mut made = [Made::default(); LANES];
        let plain = reading == Reading::Plain;
        for l in 0..LANES {
            let value = self.codes[l] + self.minimums[l];
            let last = if plain { 4.0 * self.walk[l] + 2.0 * value * value } else { value * value };
            made[l] = join.of(&Output { value, squares: self.squares[l] + last, magnitude: self.magnitude[l] });
        }
        out.copy_from_slice(&made[..out.len()]);
    }
}
