//! Dot products of packed weights in exact whole numbers, with what the error model needs of them.
//!
//! A row is read once for all positions and both readings. Sums over as many columns as `i32` holds are exact; they meet
//! their scales in f64, as do the minimums. Lanes are positions.

use rayon::prelude::*;
use twinpath_formats::Matrix;

use super::Reading;
use super::digits::{Columns, Operand, Read};
use super::dots::{self, LANES, ROWS, Sums, dots};
use super::gemm::Output;
#[cfg(target_arch = "x86_64")]
use super::lanes::Avx512;
use super::lanes::{Lanes, Portable, Wide};
use super::linear::{Join, Made};
use super::rounds_when_decoded;
use super::whole::{self, CHUNK, Scales};
use crate::simd::{Isa, Kernel};

/// Weight rows of one task.
pub(super) const TASK: usize = 2 * ROWS;

/// What `weight`, which is packed, makes of the activations, [`TASK`] rows after [`TASK`] rows.
pub(super) fn evaluate(isa: Isa, weight: Matrix<'_>, bias: Option<&[f32]>, operand: &Operand) -> Vec<Made> {
    let one = |first: usize| {
        let rows = first..weight.rows().min(first + TASK);
        let mut made = Made::new(rows.len(), operand.positions, operand.readings.len() > 1);
        let bias = bias.map(|bias| &bias[rows.clone()]);
        let task = Task { isa, weight: weight.rows_of(rows), bias, operand, made: &mut made };
        #[cfg(target_arch = "x86_64")]
        if let Some(wide) = Avx512::new(isa) {
            isa.run(On { wide, task });
            return made;
        }
        isa.run(On { wide: Portable, task });
        made
    };
    (0..weight.rows()).into_par_iter().step_by(TASK).map(one).collect()
}

/// Some rows of weights.
struct Task<'a> {
    isa: Isa,
    weight: Matrix<'a>,
    bias: Option<&'a [f32]>,
    operand: &'a Operand,
    made: &'a mut Made,
}

/// A task on one kind of lanes.
struct On<'a, W> {
    wide: W,
    task: Task<'a>,
}

impl<W: Wide> Kernel for On<'_, W> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let On { wide, task } = self;
        let (rows, cols, operand) = (task.weight.rows(), task.weight.cols(), task.operand);
        let tensor_type = task.weight.tensor_type();
        let part = Part {
            span: operand.span,
            minimum: whole::minimum_width(tensor_type),
            rounded: rounds_when_decoded(&task.weight),
        };
        let blocks = operand.positions.div_ceil(LANES);
        let count = rows.div_ceil(ROWS) * blocks * ROWS;
        let mut own = vec![State::ZERO; count];
        let mut other = vec![[0.0; LANES]; if operand.readings.len() > 1 { count } else { 0 }];
        let mut tile = Tile::ZERO;
        let mut sums = vec![[[0; LANES]; ROWS]; CHUNK / part.span * operand.plane_count()];
        for (chunk, first) in (0..cols).step_by(CHUNK).enumerate() {
            let width = CHUNK.min(cols - first);
            for t in 0..rows.div_ceil(ROWS) {
                tile.read(wide, task.isa, &task.weight, t * ROWS, first, width);
                for (block, columns) in operand.columns[chunk * blocks..(chunk + 1) * blocks].iter().enumerate() {
                    multiply(task.isa, &tile, columns, width, part.span, &mut sums);
                    let at = (t * blocks + block) * ROWS;
                    let chunk = Chunk { part, width, tile: &tile, sums: &sums, columns };
                    chunk.judge(wide, operand, &mut own[at..at + ROWS]);
                    if let Some(other) = other.get_mut(at..at + ROWS) {
                        chunk.sum(wide, operand, other);
                    }
                }
            }
        }
        task.finish(&own, &other, blocks);
    }
}

impl Task<'_> {
    /// Puts the states where their outputs belong.
    #[inline(always)]
    fn finish(self, own: &[State], other: &[Lanes], blocks: usize) {
        let (rows, positions, reading) = (self.weight.rows(), self.operand.positions, self.operand.readings[0]);
        for row in 0..rows {
            let bias = self.bias.map(|bias| f64::from(bias[row]));
            let join = Join::new(reading, bias, self.weight.cols());
            for block in 0..blocks {
                let at = (row / ROWS * blocks + block) * ROWS + row % ROWS;
                for l in 0..LANES.min(positions - block * LANES) {
                    let i = (block * LANES + l) * rows + row;
                    let (value, spread, bound) = join.of(&own[at].output(reading, l));
                    self.made.own.set(i, value, spread, bound);
                    if let Some(other) = other.get(at) {
                        self.made.other[i] = other[l] + bias.unwrap_or(0.0);
                    }
                }
            }
        }
    }
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
    minimums: Lanes,
    square: f64,
    norm: f64,
}

impl Tile {
    const ZERO: Tile = Tile {
        integers: [[0; CHUNK]; ROWS],
        rows: [Row { scales: Scales::ZERO, minimums: [0.0; LANES], square: 0.0, norm: 0.0 }; ROWS],
    };

    /// Columns `first ..` of rows `from ..`; rows beyond the last keep what they had, and nobody asks for them.
    #[inline(always)]
    fn read<W: Wide>(&mut self, wide: W, isa: Isa, weight: &Matrix<'_>, from: usize, first: usize, width: usize) {
        let (tensor_type, format) = (weight.tensor_type(), weight.format());
        let bytes = |column: usize| column / format.block_len() * format.block_bytes();
        for r in 0..ROWS.min(weight.rows() - from) {
            let (integers, row) = (&mut self.integers[r], &mut self.rows[r]);
            let packed = &weight.row(from + r)[bytes(first)..bytes(first + width)];
            whole::read(tensor_type, packed, integers, &mut row.scales);
            integers[width..].fill(0);
            row.scales.d[width / 32..].fill(0.0);
            row.scales.dmin[width / 32..].fill(0.0);
            let moments = dots::moments(isa, integers, &row.scales.steps);
            row.measure(wide, &moments, format.block_len() == CHUNK);
        }
    }
}

impl Row {
    /// `Σ w²` of each scale is `d² Σ i² + 2 d dmin Σ M i + dmin² Σ M²`; of each 32 columns, `moments` has the first sum,
    /// then the second. In a block of 256 all scales are one.
    #[inline(always)]
    fn measure<W: Wide>(&mut self, wide: W, moments: &[i32; LANES], whole_block: bool) {
        let Scales { d, dmin, steps } = &self.scales;
        let mut factors = [[0.0; 8]; 2];
        let dmin = if whole_block {
            factors = [[d[0] * d[0]; 8], [2.0 * d[0] * dmin[0]; 8]];
            wide.splat(dmin[0])
        } else {
            for g in 0..8 {
                (factors[0][g], factors[1][g]) = (d[g] * d[g], 2.0 * d[g] * dmin[g]);
            }
            wide.load(&std::array::from_fn(|g| dmin[g / 2]))
        };
        let minimums = wide.mul(dmin, wide.whole(&steps.map(i32::from)));
        wide.store(minimums, &mut self.minimums);
        let factors = wide.load(factors.as_flattened().first_chunk().unwrap_or_else(|| unreachable!("twice eight")));
        let products = wide.mul(factors, wide.whole(moments));
        let squares = wide.fma(wide.mul(wide.splat(16.0), minimums), minimums, products);
        self.square = wide.total(squares).max(0.0);
        self.norm = self.square.sqrt();
    }
}

/// The integer sums of each plane, span after span.
#[inline(always)]
fn multiply(isa: Isa, tile: &Tile, columns: &Columns, width: usize, span: usize, sums: &mut [Sums]) {
    let planes = &columns.planes;
    for (s, sums) in sums.chunks_mut(planes.len()).take(width / span).enumerate() {
        let from = s * span / 2;
        for (plane, sums) in planes.iter().zip(sums) {
            dots(isa, &tile.integers, from, &plane.digits[from..from + span / 2], sums);
        }
    }
}

/// What all chunks of a task have in common.
#[derive(Clone, Copy)]
struct Part {
    /// Columns of one integer sum.
    span: usize,
    /// Columns that share a minimum.
    minimum: Option<usize>,
    /// Whether weights are rounded when they are decoded.
    rounded: bool,
}

/// A tile of rows and sixteen positions in 256 columns or fewer.
struct Chunk<'a> {
    part: Part,
    width: usize,
    tile: &'a Tile,
    sums: &'a [Sums],
    columns: &'a Columns,
}

impl Chunk<'_> {
    /// Adds it to the states of the tile's rows, in the reading that is judged.
    #[inline(always)]
    fn judge<W: Wide>(&self, wide: W, operand: &Operand, states: &mut [State]) {
        let (reading, planes, read) = (operand.readings[0], &operand.planes[0], &self.columns.read[0]);
        let norm = wide.load(&read.norm);
        for (r, state) in states.iter_mut().enumerate() {
            let row = &self.tile.rows[r];
            let (codes, minimum) = (self.codes(wide, planes, r), self.minimum(wide, read, r));
            let norm = wide.mul(wide.splat(row.norm), norm);
            match reading {
                Reading::Plain => {
                    let walk = self.walk(wide, read, r);
                    let sum = wide.add(codes, minimum);
                    state.plain(wide, sum, walk, norm, ((self.width / 16) as f64, self.part.rounded));
                }
                Reading::Q8K => state.coded(wide, codes, minimum, norm, 1.0),
                Reading::Q8_0 | Reading::Q8x32 => {
                    state.coded(wide, codes, minimum, norm, (self.width / 32) as f64);
                }
            }
        }
    }

    /// Adds it to the values of the tile's rows in the second reading.
    #[inline(always)]
    fn sum<W: Wide>(&self, wide: W, operand: &Operand, values: &mut [Lanes]) {
        for (r, value) in values.iter_mut().enumerate() {
            let codes = self.codes(wide, &operand.planes[1], r);
            let sum = wide.add(codes, self.minimum(wide, &self.columns.read[1], r));
            wide.store(wide.add(wide.load(value), sum), value);
        }
    }

    /// The products of the integers.
    #[inline(always)]
    fn codes<W: Wide>(&self, wide: W, planes: &[usize], r: usize) -> W::V {
        let mut codes = wide.splat(0.0);
        let all = self.columns.planes.len();
        for s in 0..self.width / self.part.span {
            let at = s * self.part.span / 32;
            let mut sum = wide.splat(0.0);
            for p in planes {
                let scale = wide.load(&self.columns.planes[*p].scales[at]);
                sum = wide.fma(wide.whole(&self.sums[s * all + p][r]), scale, sum);
            }
            codes = wide.fma(wide.splat(self.tile.rows[r].scales.d[at]), sum, codes);
        }
        codes
    }

    /// The products of the minimums.
    #[inline(always)]
    fn minimum<W: Wide>(&self, wide: W, read: &Read, r: usize) -> W::V {
        let minimums = &self.tile.rows[r].minimums;
        let mut sum = wide.splat(0.0);
        match self.part.minimum {
            None => {}
            Some(32) => {
                for (m, x) in minimums.iter().step_by(2).zip(&read.wide_sums) {
                    sum = wide.fma(wide.splat(*m), wide.load(x), sum);
                }
            }
            Some(_) => {
                for (m, x) in minimums.iter().zip(&read.sums) {
                    sum = wide.fma(wide.splat(*m), wide.load(x), sum);
                }
            }
        }
        sum
    }

    /// An estimate of `Σ w² x²`: as if weights and activations were unrelated, but for activations that stand out.
    #[inline(always)]
    fn walk<W: Wide>(&self, wide: W, read: &Read, r: usize) -> W::V {
        let row = &self.tile.rows[r];
        let share = wide.splat(row.square / self.width as f64);
        let Some(peak) = &read.peak else {
            return wide.mul(share, wide.load(&read.energy));
        };
        let mut squares = [0.0; LANES];
        for (square, column) in squares.iter_mut().zip(&peak.column) {
            let at = column % CHUNK;
            let w = row.scales.d[at / 32] * f64::from(self.tile.integers[r][at]) + row.minimums[at / 16];
            *square = w * w;
        }
        let peaks = wide.mul(wide.load(&squares), wide.load(&peak.square));
        wide.fma(share, wide.load(&peak.rest), peaks)
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
    fn plain<W: Wide>(&mut self, wide: W, sum: W::V, walk: W::V, norm: W::V, (steps, rounded): (f64, bool)) {
        let codes = wide.add(wide.load(&self.codes), sum);
        let before = wide.load(&self.walk);
        let half_way = wide.fma(wide.splat(0.5), walk, before);
        let lanes = wide.fma(wide.mul(codes, codes), wide.splat(1.0 / 16.0), half_way);
        let squares = wide.fma(wide.splat(steps), lanes, wide.load(&self.squares));
        let decoded = if rounded { walk } else { wide.splat(0.0) };
        wide.store(codes, &mut self.codes);
        wide.store(wide.add(squares, decoded), &mut self.squares);
        wide.store(wide.add(before, walk), &mut self.walk);
        wide.store(wide.add(wide.load(&self.magnitude), norm), &mut self.magnitude);
    }

    /// A chunk of integer blocks: each rounds the product of the scales, at most the conversion of the integer, and the
    /// sum; codes and minimums apart.
    #[inline(always)]
    fn coded<W: Wide>(&mut self, wide: W, c: W::V, m: W::V, norm: W::V, blocks: f64) {
        let (codes, minimums) = (wide.add(wide.load(&self.codes), c), wide.add(wide.load(&self.minimums), m));
        let own = wide.fma(c, c, wide.mul(m, m));
        let sums = wide.fma(codes, codes, wide.mul(minimums, minimums));
        let mut squares = wide.fma(wide.splat(2.0), own, wide.load(&self.squares));
        squares = wide.fma(wide.splat(blocks), sums, squares);
        let (size, twice) = (wide.abs(m), wide.splat(2.0));
        // One block a chunk: its two terms are known; several: Cauchy and Schwarz bound their sum.
        let magnitude = if blocks > 1.0 {
            // The walk between two looks: `(blocks + 1) / 2` times the chunk's sum of squared products, as if weights
            // and activations were unrelated.
            let walk = wide.splat((blocks + 1.0) / 2.0 / CHUNK as f64);
            squares = wide.fma(wide.mul(walk, norm), norm, squares);
            wide.fma(twice, size, norm)
        } else {
            wide.add(wide.abs(c), size)
        };
        wide.store(codes, &mut self.codes);
        wide.store(minimums, &mut self.minimums);
        wide.store(squares, &mut self.squares);
        wide.store(wide.add(wide.load(&self.magnitude), magnitude), &mut self.magnitude);
    }

    /// The output of one lane. The tree of a plain dot rounds sums of two, four, eight and sixteen lanes.
    #[inline(always)]
    fn output(&self, reading: Reading, l: usize) -> Output {
        let value = self.codes[l] + self.minimums[l];
        let last = match reading {
            Reading::Plain => 4.0 * self.walk[l] + 2.0 * value * value,
            Reading::Q8K | Reading::Q8_0 | Reading::Q8x32 => value * value,
        };
        Output { value, squares: self.squares[l] + last, magnitude: self.magnitude[l] }
    }
}
