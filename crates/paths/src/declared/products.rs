//! Dot products of packed weights in exact whole numbers, with what the error model needs of them.
//!
//! A row is read once for all positions, readings and operands. Sums over all columns that share their scales are exact; they
//! meet these in f64, as do the minimums. Lanes are positions.

use twinpath_formats::Matrix;

use super::digits::{Columns, Operand, Read};
use super::dots::{Dots, LANES, Parts, ROWS};
#[cfg(target_arch = "x86_64")]
use super::lanes::Avx512;
use super::lanes::{Lanes, Portable, Wide, ZEROS};
use super::linear::Join;
use super::sheet::{self, Part};
use super::state::State;
use super::tile::Tile;
use super::whole::{self, CHUNK};
use super::{Declared, Reading, rounds_when_decoded};
use crate::simd::{Isa, Kernel};

/// Weight rows of one task.
pub(super) const TASK: usize = 4 * ROWS;

/// What `weight`, which is packed, makes of each of `operands`: the outputs in the reading that is judged, and the values of
/// the other. Weights are read once for all.
pub(super) fn evaluate(
    isa: Isa,
    weight: Matrix<'_>,
    bias: Option<&[f32]>,
    operands: &[Operand],
) -> Vec<(Declared, Option<Vec<f64>>)> {
    let shapes: Vec<_> = operands.iter().map(|o| (o.positions, o.readings.len() > 1)).collect();
    let scratch = || Scratch::new(isa, weight, operands);
    sheet::fill(&shapes, weight.rows(), TASK, scratch, |scratch, rows, parts| {
        let task = Task { isa, weight: weight.rows_of(rows.clone()), bias: bias.map(|b| &b[rows]), scratch, parts };
        #[cfg(target_arch = "x86_64")]
        if let Some(wide) = Avx512::new(isa) {
            return isa.run(On { wide, task });
        }
        isa.run(On { wide: Portable, task });
    })
}

/// Where one thread works, task after task.
struct Scratch<'a> {
    dots: Dots,
    tile: Tile,
    /// Of one operand after the other, span after span and in each plane after plane: what all share stays in the cache.
    parts: Vec<Parts>,
    /// Of each operand.
    sums: Vec<Sums<'a>>,
}

impl<'a> Scratch<'a> {
    fn new(isa: Isa, weight: Matrix<'_>, operands: &'a [Operand]) -> Scratch<'a> {
        let dots = Dots::new(isa, operands.iter().map(|o| o.span));
        let tile = Tile::new(&dots, weight.tensor_type());
        let most = operands.iter().map(|operand| CHUNK / operand.span * operand.plane_count()).max().unwrap_or(0);
        let sums = operands.iter().map(|operand| Sums::new(weight, operand)).collect();
        Scratch { dots, tile, parts: vec![Parts::ZERO; most], sums }
    }
}

/// Some rows of weights, and where their outputs go.
struct Task<'a, 'o, 'p> {
    isa: Isa,
    weight: Matrix<'a>,
    bias: Option<&'a [f32]>,
    scratch: &'a mut Scratch<'o>,
    parts: &'a mut [Part<'p>],
}

/// A task on one kind of lanes.
struct On<'a, 'o, 'p, W> {
    wide: W,
    task: Task<'a, 'o, 'p>,
}

impl<W: Wide> Kernel for On<'_, '_, '_, W> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let On { wide, task } = self;
        let Task { isa, weight, bias, scratch, parts } = task;
        let Scratch { dots, tile, parts: made, sums } = scratch;
        for first in (0..weight.rows()).step_by(ROWS) {
            let rows = first..weight.rows().min(first + ROWS);
            let packed = rows_from(weight, first);
            for from in (0..weight.cols()).step_by(CHUNK) {
                tile.read(wide, isa, &packed, from);
                if from + CHUNK < weight.cols() {
                    tile.fetch(wide, &packed, from + CHUNK);
                } else {
                    tile.fetch(wide, &rows_from(weight, first + ROWS), 0);
                }
                for sums in &mut *sums {
                    sums.add(wide, dots, tile, from, made);
                }
            }
            for (sums, part) in sums.iter_mut().zip(&mut *parts) {
                sums.put(wide, bias.map(|bias| &bias[rows.clone()]), part);
            }
        }
    }
}

/// The bytes of [`ROWS`] rows; of the last one again where there are fewer.
fn rows_from<'a>(weight: Matrix<'a>, first: usize) -> [&'a [u8]; ROWS] {
    std::array::from_fn(|r| weight.row((first + r).min(weight.rows() - 1)))
}

/// The sums of a tile of rows with an operand as they grow.
struct Sums<'a> {
    what: What<'a>,
    cols: usize,
    /// In each block of positions, of each row.
    own: Vec<State>,
    /// Values of the other reading; empty where there is none.
    other: Vec<Lanes>,
    /// What is put: values, spreads and bounds, and the values of the other reading.
    outputs: Box<[[Lanes; ROWS]; 4]>,
}

impl<'a> Sums<'a> {
    fn new(weight: Matrix<'_>, operand: &'a Operand) -> Sums<'a> {
        let what = What {
            operand,
            minimum: whole::minimum_width(weight.tensor_type()),
            rounded: rounds_when_decoded(&weight),
        };
        let count = operand.positions.div_ceil(LANES) * ROWS;
        let others = if operand.readings.len() > 1 { count } else { 0 };
        Sums {
            what,
            cols: weight.cols(),
            own: vec![State::ZERO; count],
            other: vec![ZEROS; others],
            outputs: Box::new([[ZEROS; ROWS]; 4]),
        }
    }

    /// Adds the columns of a chunk.
    #[inline(always)]
    fn add<W: Wide>(&mut self, wide: W, dots: &mut Dots, tile: &Tile, from: usize, parts: &mut [Parts]) {
        let Operand { positions, columns, span, .. } = self.what.operand;
        let (width, blocks) = (CHUNK.min(self.cols - from), positions.div_ceil(LANES));
        let columns = &columns[from / CHUNK * blocks..(from / CHUNK + 1) * blocks];
        for (block, columns) in columns.iter().enumerate() {
            multiply(dots, tile, columns, (width, *span), parts);
            let spans = width / span;
            let chunk = Chunk { what: self.what, first: from == 0, width, spans, tile, sums: parts, columns };
            let rows = block * ROWS..(block + 1) * ROWS;
            chunk.judge(wide, &mut self.own[rows.clone()]);
            if let Some(other) = self.other.get_mut(rows) {
                chunk.sum(wide, other);
            }
        }
    }

    /// Puts the outputs of each row, block after block of positions.
    #[inline(always)]
    fn put<W: Wide>(&mut self, wide: W, bias: Option<&[f32]>, part: &mut Part<'_>) {
        let reading = self.what.operand.readings[0];
        for (block, own) in self.own.chunks_exact(ROWS).enumerate() {
            for (r, state) in own.iter().enumerate() {
                let (bias, at) = (bias.and_then(|bias| bias.get(r)).map(|bias| f64::from(*bias)), block * ROWS + r);
                let joined = state.outputs(wide, reading, &Join::new(reading, bias, self.cols));
                for (output, joined) in self.outputs.iter_mut().zip(joined) {
                    wide.store(joined, &mut output[r]);
                }
                if let Some(other) = self.other.get(at) {
                    let value = wide.add(wide.load(other), wide.splat(bias.unwrap_or(0.0)));
                    wide.store(value, &mut self.outputs[3][r]);
                }
            }
            part.put(&*self.outputs);
        }
    }
}

/// The integer sums of each plane, span after span.
#[inline(always)]
fn multiply(dots: &mut Dots, tile: &Tile, columns: &Columns, (width, span): (usize, usize), sums: &mut [Parts]) {
    let planes = &columns.planes;
    for (s, sums) in sums.chunks_mut(planes.len()).take(width / span).enumerate() {
        for (plane, sums) in planes.iter().zip(sums) {
            dots.sums(&tile.weights, s * span, span, &plane.digits, sums);
        }
    }
}

/// What all chunks of an operand have in common.
#[derive(Clone, Copy)]
struct What<'a> {
    operand: &'a Operand,
    /// Columns that share a minimum.
    minimum: Option<usize>,
    /// Whether weights are rounded when they are decoded.
    rounded: bool,
}

/// A tile of rows and sixteen positions in 256 columns or fewer.
struct Chunk<'a> {
    what: What<'a>,
    /// Whether it is the first of its row.
    first: bool,
    width: usize,
    /// Integer sums of each row and position.
    spans: usize,
    tile: &'a Tile,
    sums: &'a [Parts],
    columns: &'a Columns,
}

impl Chunk<'_> {
    /// Adds it to the states of the tile's rows, in the reading that is judged.
    #[inline(always)]
    fn judge<W: Wide>(&self, wide: W, states: &mut [State]) {
        let Operand { readings, planes, .. } = self.what.operand;
        let (reading, planes, read) = (readings[0], &planes[0], &self.columns.read[0]);
        let norm = wide.load(&read.norm);
        let blocks = if reading == Reading::Q8K { 1.0 } else { (self.width / 32) as f64 };
        for (r, state) in states.iter_mut().enumerate() {
            let (codes, minimum) = (self.codes(wide, planes, r), self.minimum(wide, read, r));
            let norm = wide.mul(wide.splat(self.tile.rows[r].norm), norm);
            if reading == Reading::Plain {
                let sums = [wide.add(codes, minimum), self.walk(wide, read, r), norm];
                state.plain(wide, self.first, sums, ((self.width / 16) as f64, self.what.rounded));
            } else {
                state.coded(wide, self.first, [codes, minimum, norm], blocks);
            }
        }
    }

    /// Adds it to the values of the tile's rows in the second reading.
    #[inline(always)]
    fn sum<W: Wide>(&self, wide: W, values: &mut [Lanes]) {
        for (r, value) in values.iter_mut().enumerate() {
            let codes = self.codes(wide, &self.what.operand.planes[1], r);
            let sum = wide.add(codes, self.minimum(wide, &self.columns.read[1], r));
            let before = if self.first { wide.splat(0.0) } else { wide.load(value) };
            wide.store(wide.add(before, sum), value);
        }
    }

    /// The products of the integers.
    #[inline(always)]
    fn codes<W: Wide>(&self, wide: W, planes: &[usize], r: usize) -> W::V {
        let mut codes = wide.splat(0.0);
        let all = self.columns.planes.len();
        for s in 0..self.spans {
            let at = s * self.what.operand.span / 32;
            let mut sum = wide.splat(0.0);
            for p in planes {
                let scale = wide.load(&self.columns.planes[*p].scales[at]);
                sum = wide.fma(self.sums[s * all + p].row(wide, r), scale, sum);
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
        match self.what.minimum {
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
        let mut squares = ZEROS;
        for (square, column) in squares.iter_mut().zip(&peak.column) {
            let at = *column as usize % CHUNK;
            let w = row.scales.d[at / 32] * f64::from(self.tile.weights.at(r, at)) + row.minimums[at / 16];
            *square = w * w;
        }
        let peaks = wide.mul(wide.load(&squares), wide.load(&peak.square));
        wide.fma(share, wide.load(&peak.rest), peaks)
    }
}
