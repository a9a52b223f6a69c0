//! Activations as whole numbers: planes of digits with a scale, whose sum is what a reading has of them.
//!
//! A coded reading is one plane, exactly. The plain one is a sum of two planes of at most 8191, each for what was left over
//! before it, with a scale of its own for every 256 columns: at the end at most `2⁻²⁸` of the largest activation of the 256
//! is left, a sixteenth of that one's `u`. What is left meets the weights like the rounding of activations: in a sum over n
//! columns it makes an error of about `√n · 3 · u/16 · 0.58`, where the sixteen lanes of f32 that are judged make one of
//! about `n / √32 · 0.42 u` (activations like a normal distribution, unit weights): 0.07 at n = 256 and 0.035 at n = 1536 of
//! that standard deviation, hence 0.3 % or less of what a relative L2 shows; on a random model of 1.5 billion weights it
//! was 0.4 % at the worst of 197 matrices. An element near its tolerance is evaluated again in f64.

use std::ops::Range;

use rayon::prelude::*;
use twinpath_engine::Tensor;
use twinpath_formats::TensorType;

use super::Reading;
use super::dots::{LANES, Pairs};
use super::linear::{code, read};
use super::whole::{self, CHUNK};

/// The largest digit of a plane.
pub(super) const MOST: f64 = 8191.0;

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
    pub(super) digits: Vec<Pairs>,
    /// Of each 32 columns.
    pub(super) scales: [[f64; LANES]; 8],
}

/// What the error model needs of one reading.
#[derive(Clone)]
pub(super) struct Read {
    /// Of each 16 columns, and of each 32.
    pub(super) sums: [[f64; LANES]; 16],
    pub(super) wide_sums: [[f64; LANES]; 8],
    pub(super) norm: [f64; LANES],
    /// Its square.
    pub(super) energy: [f64; LANES],
    /// Where one column carries much of the norm in a position: that column, its square, and the squares of the others.
    pub(super) peak: Option<Box<Peak>>,
}

/// See [`Read::peak`].
#[derive(Clone)]
pub(super) struct Peak {
    pub(super) column: [usize; LANES],
    pub(super) square: [f64; LANES],
    pub(super) rest: [f64; LANES],
}

/// Share of a chunk's energy in one column from which that column is looked at by itself.
const PEAK: f64 = 0.25;

/// Columns whose integer sums fit: `most · 8191 · columns < 2³¹`. All that share their scales, or a part of them.
fn span(tensor_type: TensorType, readings: &[Reading]) -> usize {
    let blocks = readings.iter().filter_map(|r| r.block());
    let shared = blocks.fold(whole::scale_width(tensor_type), usize::min);
    let largest = f64::from(whole::most(tensor_type).unwrap_or(i32::MAX)) * MOST;
    let fits = [256, 128, 64, 32].into_iter().find(|columns| largest * (*columns as f64) < 2f64.powi(31));
    fits.map_or(32, |columns: usize| columns.min(shared))
}

impl Operand {
    /// Reads `x`, which weights of `tensor_type` are to meet. The plain reading has two planes, beside the first coded one
    /// if there is one.
    pub(super) fn new(tensor_type: TensorType, x: &Tensor<f32>, readings: &[Reading]) -> Operand {
        let coded: Vec<Reading> = readings.iter().copied().filter(|r| *r != Reading::Plain).collect();
        let left_over = if readings.contains(&Reading::Plain) { 2 } else { 0 };
        let count = coded.len() + left_over;
        let plain: Vec<usize> = (0..count).filter(|p| *p == 0 || *p >= coded.len()).collect();
        let of = |r: &Reading| coded.iter().position(|c| c == r).map_or_else(|| plain.clone(), |plane| vec![plane]);
        let blocks = x.rows().div_ceil(LANES);
        let make = |i: usize| {
            let (chunk, block) = (i / blocks, i % blocks);
            let columns = chunk * CHUNK..((chunk + 1) * CHUNK).min(x.cols());
            let positions = block * LANES..((block + 1) * LANES).min(x.rows());
            let plane = Plane { digits: vec![[[0; 2]; LANES]; columns.len() / 2], scales: [[0.0; LANES]; 8] };
            Columns::new(x, positions, columns, readings, &coded, vec![plane; count])
        };
        let columns = (0..blocks * x.cols().div_ceil(CHUNK)).into_par_iter().map(make).collect();
        let planes = readings.iter().map(of).collect();
        Operand { readings: readings.to_vec(), planes, positions: x.rows(), span: span(tensor_type, readings), columns }
    }

    /// Planes of each of its columns.
    pub(super) fn plane_count(&self) -> usize {
        self.columns.first().map_or(0, |columns| columns.planes.len())
    }
}

impl Columns {
    fn new(
        x: &Tensor<f32>,
        positions: Range<usize>,
        columns: Range<usize>,
        readings: &[Reading],
        coded: &[Reading],
        mut planes: Vec<Plane>,
    ) -> Columns {
        let mut as_read = vec![Read::ZERO; readings.len()];
        let mut values = vec![0.0; columns.len()];
        for (lane, t) in positions.enumerate() {
            let x = &x.row(t)[columns.clone()];
            for (as_read, reading) in as_read.iter_mut().zip(readings) {
                read(*reading, x, &mut values);
                as_read.note(lane, &values);
            }
            values.iter_mut().zip(x).for_each(|(v, x)| *v = f64::from(*x));
            for (i, (plane, reading)) in planes.iter_mut().zip(coded).enumerate() {
                let left = if i == 0 { &mut values[..] } else { &mut [] };
                plane.code(lane, *reading, x, left);
            }
            for plane in &mut planes[coded.len()..] {
                plane.digits_of(lane, &mut values);
            }
        }
        as_read.iter_mut().for_each(Read::drop_small_peak);
        Columns { planes, read: as_read }
    }
}

impl Plane {
    fn set(&mut self, lane: usize, digits: &[i16; CHUNK]) {
        for (pair, digits) in self.digits.iter_mut().zip(digits.as_chunks::<2>().0) {
            pair[lane] = *digits;
        }
    }

    /// The codes of one position; what they leave over is left in `left`, if that is wanted.
    fn code(&mut self, lane: usize, reading: Reading, x: &[f32], left: &mut [f64]) {
        let block = reading.block().unwrap_or(CHUNK);
        let mut digits = [0; CHUNK];
        for (b, x) in x.chunks(block).enumerate() {
            let coded = code(reading, x);
            let d = f64::from(coded.d);
            for scale in &mut self.scales[b * block / 32..(b * block + x.len()) / 32] {
                scale[lane] = d;
            }
            for (digit, q) in digits[b * block..].iter_mut().zip(&coded.q) {
                *digit = *q as i16;
            }
            for (left, q) in left.iter_mut().skip(b * block).zip(&coded.q) {
                *left -= d * f64::from(*q);
            }
        }
        self.set(lane, &digits);
    }

    /// Digits of `values`, which keep what the digits leave over.
    fn digits_of(&mut self, lane: usize, values: &mut [f64]) {
        let mut most = 0.0;
        for v in values.iter() {
            // What is not finite stays, once it is there.
            most = if v.abs() <= most { most } else { v.abs() };
        }
        let scale = if most < f64::INFINITY { most / MOST } else { f64::NAN };
        self.scales.iter_mut().for_each(|s| s[lane] = scale);
        if scale.is_nan() || scale == 0.0 {
            return;
        }
        let (inverse, mut digits) = (1.0 / scale, [0; CHUNK]);
        for (v, digit) in values.iter_mut().zip(&mut digits) {
            // Adding 1.5 · 2⁵² rounds to the nearest integer, ties to even, and leaves it in the low bits.
            let rounded = *v * inverse + ROUND;
            *v -= (rounded - ROUND) * scale;
            *digit = rounded.to_bits() as i16;
        }
        self.set(lane, &digits);
    }
}

/// Above it, f64 holds whole numbers alone.
const ROUND: f64 = 1.5 * (1u64 << 52) as f64;

impl Read {
    const ZERO: Read = Read {
        sums: [[0.0; LANES]; 16],
        wide_sums: [[0.0; LANES]; 8],
        norm: [0.0; LANES],
        energy: [0.0; LANES],
        peak: None,
    };

    fn note(&mut self, lane: usize, values: &[f64]) {
        let mut energy = 0.0;
        for (g, x) in values.chunks(16).enumerate() {
            let sum: f64 = x.iter().sum();
            self.sums[g][lane] = sum;
            self.wide_sums[g / 2][lane] += sum;
            energy += x.iter().map(|x| x * x).sum::<f64>();
        }
        (self.norm[lane], self.energy[lane]) = (energy.sqrt(), energy);
        let zero = || Box::new(Peak { column: [0; LANES], square: [0.0; LANES], rest: [0.0; LANES] });
        let peak = self.peak.get_or_insert_with(zero);
        let (mut column, mut largest) = (0, 0.0);
        for (i, x) in values.iter().enumerate() {
            (column, largest) = if x.abs() > largest { (i, x.abs()) } else { (column, largest) };
        }
        let square = largest * largest;
        (peak.column[lane], peak.square[lane]) = (column, square);
        peak.rest[lane] = (energy - square).max(0.0);
    }

    /// Forgets the peaks where none stands out.
    fn drop_small_peak(&mut self) {
        let stands_out = |p: &Peak| (0..LANES).any(|l| p.square[l] > PEAK * (p.square[l] + p.rest[l]));
        self.peak = self.peak.take().filter(|p| stands_out(p));
    }
}
