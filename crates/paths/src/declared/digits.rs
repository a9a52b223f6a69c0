//! Activations as whole numbers: planes of digits with a scale, whose sum is what a reading has of them.
//!
//! A coded reading is one plane, exactly. The plain one is a sum of two planes of at most 8191, each for what was left over
//! before it, with a scale of its own for every 256 columns: at the end at most `2⁻²⁸` of the largest activation of the 256
//! is left, a sixteenth of that one's `u`. Where there is a coded plane, what that leaves over, at most a 254th, is the sum
//! of a plane of 8191 and one of 127: at most `2⁻³⁰` is left. What is left meets the weights like the rounding of
//! activations: in a sum over n columns it makes an error of about `√n · 3 · u/16 · 0.58`, where the sixteen lanes of f32
//! that are judged make one of about `n / √32 · 0.42 u` (activations like a normal distribution, unit weights): 0.07 at
//! n = 256 and 0.035 at n = 1536 of that standard deviation, hence 0.3 % or less of what a relative L2 shows; on a random
//! model of 1.5 billion weights it was 0.4 % at the worst of 197 matrices. An element near its tolerance is evaluated again
//! in f64.

use std::ops::Range;

use rayon::prelude::*;
use twinpath_engine::Tensor;
use twinpath_formats::TensorType;

use super::Reading;
use super::dots::{Digits, LANES, Spans};
use super::lanes::{Aligned, Lanes, ZEROS};
use super::linear::code;
use super::whole::{self, CHUNK};
use crate::simd::{Isa, Kernel};

/// The largest digit of a plane.
const MOST: f64 = 8191.0;
/// Of one whose digits are bytes.
const NARROW: f64 = 127.0;

/// The activations of an op, for one reading or two.
pub(super) struct Operand {
    pub(super) readings: Vec<Reading>,
    /// The planes that each reading sums.
    pub(super) planes: Vec<Vec<usize>>,
    pub(super) positions: usize,
    /// Columns of one integer sum.
    pub(super) span: usize,
    /// `[chunk][block of positions]`.
    pub(super) columns: Vec<Columns>,
}

/// Sixteen positions in at most 256 columns.
#[derive(Clone)]
pub(super) struct Columns {
    pub(super) planes: Vec<Plane>,
    /// Of each reading.
    pub(super) read: Vec<Read>,
}

/// Digits of sixteen positions.
#[derive(Clone)]
pub(super) struct Plane {
    pub(super) digits: Digits,
    /// Of each 32 columns.
    pub(super) scales: [Lanes; 8],
}

/// What the error model needs of one reading.
#[derive(Clone)]
pub(super) struct Read {
    /// Of each 16 columns, and of each 32.
    pub(super) sums: [Lanes; 16],
    pub(super) wide_sums: [Lanes; 8],
    pub(super) norm: Lanes,
    /// Its square.
    pub(super) energy: Lanes,
    /// Where one column carries much of the norm in a position: that column, its square, and the squares of the others.
    pub(super) peak: Option<Box<Peak>>,
}

/// See [`Read::peak`].
#[derive(Clone)]
pub(super) struct Peak {
    pub(super) column: [u32; LANES],
    pub(super) square: Lanes,
    pub(super) rest: Lanes,
}

/// Share of a chunk's energy in one column from which that column is looked at by itself.
const PEAK: f64 = 0.25;

/// Sums are over all columns that share their scales. Those fit `i32` that are over fewer columns than
/// `2³¹ / (most · 8191)`.
fn spans(tensor_type: TensorType, readings: &[Reading]) -> Spans {
    let blocks = readings.iter().filter_map(|r| r.block());
    let span = blocks.fold(whole::scale_width(tensor_type), usize::min);
    let largest = f64::from(whole::most(tensor_type).unwrap_or(i32::MAX)) * MOST;
    let fits = [span, span / 2, span / 4].into_iter().find(|columns| largest * (*columns as f64) < 2f64.powi(31));
    Spans { span, piece: fits.unwrap_or_else(|| unreachable!("a fourth of the largest span fits")) }
}

impl Operand {
    /// Reads `x`, which weights of `tensor_type` are to meet on `isa`. The plain reading has two planes, beside the first
    /// coded one if there is one.
    pub(super) fn new(isa: Isa, tensor_type: TensorType, x: &Tensor<f32>, readings: &[Reading]) -> Operand {
        let coded: Vec<Reading> = readings.iter().copied().filter(|r| *r != Reading::Plain).collect();
        let left_over = if readings.contains(&Reading::Plain) { 2 } else { 0 };
        let count = coded.len() + left_over;
        let plain: Vec<usize> = (0..count).filter(|p| *p == 0 || *p >= coded.len()).collect();
        let of = |r: &Reading| coded.iter().position(|c| c == r).map_or_else(|| plain.clone(), |plane| vec![plane]);
        let (blocks, spans) = (x.rows().div_ceil(LANES), spans(tensor_type, readings));
        let make = |i: usize| {
            let (chunk, block) = (i / blocks, i % blocks);
            let columns = chunk * CHUNK..((chunk + 1) * CHUNK).min(x.cols());
            let positions = block * LANES..((block + 1) * LANES).min(x.rows());
            isa.run(Make { isa, spans, x, positions, columns, readings, coded: &coded, left_over })
        };
        let columns = (0..blocks * x.cols().div_ceil(CHUNK)).into_par_iter().map(make).collect();
        let planes = readings.iter().map(of).collect();
        Operand { readings: readings.to_vec(), planes, positions: x.rows(), span: spans.span, columns }
    }

    /// Planes of each of its columns.
    pub(super) fn plane_count(&self) -> usize {
        self.columns.first().map_or(0, |columns| columns.planes.len())
    }
}

/// Makes [`Columns`].
struct Make<'a> {
    isa: Isa,
    spans: Spans,
    x: &'a Tensor<f32>,
    positions: Range<usize>,
    columns: Range<usize>,
    readings: &'a [Reading],
    coded: &'a [Reading],
    left_over: usize,
}

impl Kernel for Make<'_> {
    type Output = Columns;
    #[inline(always)]
    fn run(self) -> Columns {
        let mut x = vec![[0.0f32; LANES]; self.columns.len()];
        for (lane, t) in self.positions.clone().enumerate() {
            for (to, from) in x.iter_mut().zip(&self.x.row(t)[self.columns.clone()]) {
                to[lane] = *from;
            }
        }
        let mut values: Vec<Lanes> = x.iter().map(|x| Aligned(x.map(f64::from))).collect();
        let mut planes: Vec<Plane> = Vec::with_capacity(self.coded.len() + self.left_over);
        let mut read = vec![Read::ZERO; self.readings.len()];
        for (read, _) in read.iter_mut().zip(self.readings).filter(|(_, reading)| **reading == Reading::Plain) {
            *read = Read::of(&values);
        }
        for (i, reading) in self.coded.iter().enumerate() {
            let mut coded = vec![ZEROS; x.len()];
            planes.push(self.code(*reading, &x, &mut coded));
            for (read, _) in read.iter_mut().zip(self.readings).filter(|(_, r)| *r == reading) {
                *read = Read::of(&coded);
            }
            if i == 0 {
                for (left, coded) in values.iter_mut().zip(&coded) {
                    each(|l| left[l] -= coded[l]);
                }
            }
        }
        for i in 0..self.left_over {
            let narrow = i > 0 && !self.coded.is_empty();
            planes.push(self.digits_of(&mut values, narrow));
        }
        Columns { planes, read }
    }
}

/// `f` of each lane.
#[inline(always)]
fn each(mut f: impl FnMut(usize)) {
    for l in 0..LANES {
        f(l);
    }
}

impl Make<'_> {
    /// The codes as digits; what they stand for is put in `values`.
    #[inline(always)]
    fn code(&self, reading: Reading, x: &[[f32; LANES]], values: &mut [Lanes]) -> Plane {
        let block = reading.block().unwrap_or(CHUNK);
        let (mut digits, mut scales) = (vec![[0i16; LANES]; x.len()], [ZEROS; 8]);
        for (b, x) in x.chunks(block).enumerate() {
            let (coded, at) = (code(reading, x), b * block);
            let d = coded.d.map(f64::from);
            scales[at / 32..(at + x.len()) / 32].fill(Aligned(d));
            for ((digit, value), q) in digits[at..].iter_mut().zip(&mut values[at..]).zip(&coded.q) {
                each(|l| value[l] = d[l] * f64::from(q[l]));
                each(|l| digit[l] = q[l] as i32 as i16);
            }
        }
        Plane { digits: Digits::new(self.isa, self.spans, &digits, true), scales }
    }

    /// Digits of `values`, which keep what the digits leave over.
    #[inline(always)]
    fn digits_of(&self, values: &mut [Lanes], narrow: bool) -> Plane {
        let largest = if narrow { NARROW } else { MOST };
        let mut most = [0.0f64; LANES];
        for v in values.iter() {
            // What is not finite stays, once it is there.
            each(|l| most[l] = if v[l].abs() <= most[l] { most[l] } else { v[l].abs() });
        }
        let scale = most.map(|most| if most < f64::INFINITY { most / largest } else { f64::NAN });
        let inverse = scale.map(|scale| if scale > 0.0 { 1.0 / scale } else { 0.0 });
        let mut digits = vec![[0i16; LANES]; values.len()];
        for (v, digit) in values.iter_mut().zip(&mut digits) {
            each(|l| {
                // Adding 1.5 · 2⁵² rounds to the nearest integer, ties to even, and leaves it in the low bits.
                let rounded = if scale[l] > 0.0 { v[l] * inverse[l] + ROUND } else { ROUND };
                v[l] -= (rounded - ROUND) * scale[l];
                digit[l] = rounded.to_bits() as i16;
            });
        }
        Plane { digits: Digits::new(self.isa, self.spans, &digits, narrow), scales: [Aligned(scale); 8] }
    }
}

/// Above it, f64 holds whole numbers alone.
const ROUND: f64 = 1.5 * (1u64 << 52) as f64;

impl Read {
    const ZERO: Read = Read { sums: [ZEROS; 16], wide_sums: [ZEROS; 8], norm: ZEROS, energy: ZEROS, peak: None };

    #[inline(always)]
    fn of(values: &[Lanes]) -> Read {
        let mut read = Read::ZERO;
        let (mut largest, mut column) = ([0.0f64; LANES], [0u32; LANES]);
        for (g, x) in values.chunks(16).enumerate() {
            let (mut sum, mut energy) = (ZEROS, ZEROS);
            for (i, x) in (16 * g as u32..).zip(x) {
                each(|l| {
                    sum[l] += x[l];
                    energy[l] += x[l] * x[l];
                    let larger = x[l].abs() > largest[l];
                    column[l] = if larger { i } else { column[l] };
                    largest[l] = if larger { x[l].abs() } else { largest[l] };
                });
            }
            read.sums[g] = sum;
            each(|l| read.wide_sums[g / 2][l] += sum[l]);
            each(|l| read.energy[l] += energy[l]);
        }
        read.norm = Aligned(read.energy.map(f64::sqrt));
        let square = largest.map(|x| x * x);
        if (0..LANES).any(|l| square[l] > PEAK * read.energy[l]) {
            let mut rest = ZEROS;
            each(|l| rest[l] = (read.energy[l] - square[l]).max(0.0));
            read.peak = Some(Box::new(Peak { column, square: Aligned(square), rest }));
        }
        read
    }
}
