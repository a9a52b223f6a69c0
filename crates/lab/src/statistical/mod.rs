//! Judging the outputs of a linear op by the statistics of rounding, where how its activations were rounded is not known.
//!
//! What the activations were before rounding must be known, up to f32: recorded, or made by f32 operations of what was
//! recorded. What is taken as unknown is the rule of rounding; only its steps are those that the weight format asks for.
//! See [`twinpath_evidence::statistical`] for what the tests rest on.

mod moments;

use rayon::prelude::*;
use twinpath_engine::Tensor;
use twinpath_evidence::statistical::{
    Aggregate, FAMILIES, FEW_FREEDOMS, Largest, Method, POWER, Statistical, Tests, threshold, threshold_of_squares,
};
use twinpath_evidence::verdict::{Contrast, ContrastKind, Finding, Part};
use twinpath_formats::Matrix;
use twinpath_paths::declared::{Declared, Reading, SIGMA, anatomy, linear};

use moments::{Inputs, Moments};

/// Sums with random signs that a p-value is ranked among.
const REPLICATES: usize = 99;

/// A linear op with what it was given and what came out.
#[derive(Clone, Copy)]
pub struct Outputs<'a> {
    /// `[out, in]`.
    pub weight: Matrix<'a>,
    /// `[out]`.
    pub bias: Option<&'a [f32]>,
    /// `[T, in]`: the activations before rounding.
    pub x: &'a Tensor<f32>,
    /// `[T, out]`.
    pub value: &'a Tensor<f32>,
    /// How the activations are believed to be rounded: its steps count, not its rule.
    pub reading: Reading,
}

impl Outputs<'_> {
    /// Judges them with a chance of a false alarm of `alpha`; `first_row` is the position of the first.
    ///
    /// Positions with the same activations have the same rounding: only the first of them is evidence.
    pub fn judge(&self, alpha: f64, first_row: usize) -> Statistical {
        let distinct = distinct(self.x);
        if distinct.len() == self.x.rows() {
            return self.judge_distinct(alpha, &|t| first_row + t);
        }
        let (x, value) = (rows_of(self.x, &distinct), rows_of(self.value, &distinct));
        Outputs { x: &x, value: &value, ..*self }.judge_distinct(alpha, &|t| first_row + distinct[t])
    }

    fn judge_distinct(&self, alpha: f64, position: &dyn Fn(usize) -> usize) -> Statistical {
        let asked = linear::Asked { x: self.x, own: Reading::Plain, other: None };
        let (exact, _) = linear::evaluate(self.weight, self.bias, &[asked]).remove(0);
        let inputs = self.inputs(&exact);
        let moments = inputs.moments();
        // Both the products and the value judged round in f32.
        let noise: Vec<f64> = exact.spread.iter().map(|s| (SIGMA * s).powi(2)).collect();
        let variance: Vec<f64> = moments.variance.iter().zip(&noise).map(|(v, n)| v + n).collect();
        let difference: Vec<f64> = self.value.data().iter().zip(&exact.value).map(|(v, y)| f64::from(*v) - y).collect();
        let site = Site {
            outputs: self,
            exact: &exact,
            variance: &variance,
            noise: noise.iter().sum(),
            alpha: alpha / FAMILIES,
        };
        let judged = difference.iter().zip(&variance).filter(|(d, v)| d.is_finite() && v.is_finite()).count();
        let (mut tests, groups) = site.tests(&difference, &inputs, &moments);
        let (own, _) = site.tests(&moments.rounding, &inputs, &moments);
        let energy: f64 = difference.iter().map(|d| d * d).sum();
        let over = |sum: f64| if sum > 0.0 { (energy / sum).sqrt() } else { 0.0 };
        let bounds = moments.worst.iter().zip(&exact.bound);
        let worst_case =
            difference.iter().zip(bounds).map(|(d, (w, b))| if *d == 0.0 { 0.0 } else { d.abs() / (w + b) });
        let (least_gain, least_offset) = site.least(&moments);
        let uniform: f64 = moments.uniform.iter().sum();
        let finding = Some(Box::new(site.finding(&difference, &tests, &groups, position)));
        tests.element.position = tests.element.position.map(position);
        Statistical {
            judged: judged as u64,
            not_judged: (difference.len() - judged) as u64,
            alpha,
            ratio_e: over(variance.iter().sum()),
            ratio_u: over(uniform + site.noise),
            finding,
            random: !own.convicts(alpha),
            worst_case: worst_case.fold(0.0, f64::max),
            least_gain,
            least_offset,
            tests,
        }
    }

    fn inputs<'s>(&'s self, exact: &'s Declared) -> Inputs<'s> {
        let block = match self.reading {
            Reading::Q8K => 256,
            Reading::Plain | Reading::Q8_0 | Reading::Q8x32 => 32,
        };
        let cols = self.x.cols();
        let (mut error, mut steps) = (Vec::new(), Vec::new());
        let mut read = vec![0.0; cols];
        for t in 0..self.x.rows() {
            let x = self.x.row(t);
            linear::read(self.reading, x, &mut read);
            error.extend(read.iter().zip(x).map(|(r, x)| r - f64::from(*x)));
            let most = |x: &[f32]| x.iter().fold(0.0, |m: f64, v| m.max(f64::from(v.abs())));
            let coded = self.reading != Reading::Plain;
            steps.extend(x.chunks(block).map(|x| if coded { most(x) / 127.0 } else { 0.0 }));
        }
        // The signs are the same for the same op: a record must not depend on what else was judged.
        let seed = (self.weight.rows() as u64) << 32 ^ self.weight.cols() as u64;
        Inputs { weight: self.weight, positions: self.x.rows(), error, steps, block, exact: &exact.value, seed }
    }
}

/// Positions whose activations are not those of an earlier one, bit for bit.
fn distinct(x: &Tensor<f32>) -> Vec<usize> {
    let bits = |t: usize| x.row(t).iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    let mut seen = std::collections::BTreeSet::new();
    (0..x.rows()).filter(|t| seen.insert(bits(*t))).collect()
}

fn rows_of(x: &Tensor<f32>, rows: &[usize]) -> Tensor<f32> {
    let data = rows.iter().flat_map(|t| x.row(*t).iter().copied()).collect();
    Tensor::new(rows.len(), x.cols(), data)
}

/// One site's differences are tested against this.
struct Site<'a> {
    outputs: &'a Outputs<'a>,
    exact: &'a Declared,
    /// `[T, out]`.
    variance: &'a [f64],
    /// Sum of the variances that are not of the activations' rounding.
    noise: f64,
    /// Of one family.
    alpha: f64,
}

/// The group of a packed row with the largest matched filter.
#[derive(Default)]
struct Group {
    part: Option<Part>,
    row: usize,
    over: f64,
    z: f64,
}

impl Site<'_> {
    fn positions(&self) -> usize {
        self.exact.rows
    }

    fn z(&self, d: &[f64], i: usize) -> f64 {
        if d[i] == 0.0 { 0.0 } else { d[i] / self.variance[i].sqrt() }
    }

    /// Statistics of row `j`: sum of squared z, and the offset's z.
    fn row(&self, d: &[f64], j: usize) -> (f64, f64) {
        let at = |t: usize| t * self.exact.cols + j;
        let squares = (0..self.positions()).map(|t| self.z(d, at(t)).powi(2)).sum();
        let sum: f64 = (0..self.positions()).map(|t| d[at(t)]).sum();
        let variance: f64 = (0..self.positions()).map(|t| self.variance[at(t)]).sum();
        (squares, if sum == 0.0 { 0.0 } else { sum / variance.sqrt() })
    }

    fn tests(&self, d: &[f64], inputs: &Inputs<'_>, moments: &Moments) -> (Tests, Group) {
        let (rows, positions) = (self.exact.cols, self.positions());
        let none = || Largest { over: 0.0, position: None, row: None };
        let (mut element, mut row, mut offset) = (none(), none(), none());
        let limits = [
            threshold(self.alpha, d.len()),
            threshold_of_squares(self.alpha, rows, positions),
            threshold(self.alpha, rows),
        ];
        for i in 0..d.len() {
            keep(&mut element, self.z(d, i).abs() / limits[0], Some(i / rows), Some(i % rows));
        }
        for j in (0..rows).filter(|_| positions > 1) {
            let (squares, z) = self.row(d, j);
            keep(&mut row, squares / limits[1], None, Some(j));
            keep(&mut offset, z.abs() / limits[2], None, Some(j));
        }
        let group = self.group(d);
        let mut gain = none();
        keep(&mut gain, self.gain(d, moments).1.abs() / threshold(self.alpha, 1), None, None);
        let aggregate = Aggregate {
            size: d.iter().map(|d| d * d).sum(),
            mean: self.variance.iter().sum(),
            squares: moments.squares,
            variance: moments.spread,
        };
        let few = aggregate.freedoms() < FEW_FREEDOMS;
        let (p, method) = if few {
            // Noise of f32 has no draws; its mean is added.
            let drawn: Vec<f64> = inputs.draw(REPLICATES).iter().map(|s| s + self.noise).collect();
            (aggregate.ranked(&drawn), Method::RandomSigns { replicates: REPLICATES })
        } else {
            (aggregate.satterthwaite(), Method::Satterthwaite)
        };
        let over = Largest { over: group.over, position: None, row: Some(group.row) };
        (Tests { element, row, offset, gain, group: over, aggregate, p, method }, group)
    }

    /// Coefficient of `d` along the exact values, and its z.
    fn gain(&self, d: &[f64], moments: &Moments) -> (f64, f64) {
        let along: f64 = d.iter().zip(&self.exact.value).map(|(d, y)| d * y).sum();
        let norm: f64 = self.exact.value.iter().map(|y| y * y).sum();
        let z = along / self.gain_variance(moments).sqrt();
        if along == 0.0 { (0.0, 0.0) } else { (along / norm, z) }
    }

    fn gain_variance(&self, moments: &Moments) -> f64 {
        let noise = self.variance.iter().zip(&moments.variance).zip(&self.exact.value);
        moments.along + noise.map(|((all, coded), y)| (all - coded) * y * y).sum::<f64>()
    }

    /// The smallest gain, and the smallest offset of a row of median variance over the root mean square, that are found.
    fn least(&self, moments: &Moments) -> (f64, f64) {
        let norm: f64 = self.exact.value.iter().map(|y| y * y).sum();
        let gain = (threshold(self.alpha, 1) + POWER) * self.gain_variance(moments).sqrt() / norm;
        let (rows, positions) = (self.exact.cols, self.positions() as f64);
        let sum = |j: usize| (0..self.positions()).map(|t| self.variance[t * rows + j]).sum::<f64>();
        let mut sums: Vec<f64> = (0..rows).map(sum).collect();
        sums.sort_by(f64::total_cmp);
        let median = sums.get(rows / 2).map_or(0.0, |v| v.sqrt() / positions);
        let rms = (norm / self.exact.value.len() as f64).sqrt();
        (gain, (threshold(self.alpha, rows) + POWER) * median / rms)
    }

    /// Matched filters: does one scale or minimum of one group, read wrongly, explain the differences of its row?
    fn group(&self, d: &[f64]) -> Group {
        let Outputs { weight, x, reading, .. } = *self.outputs;
        let format = weight.format();
        let mut read = vec![0.0; x.rows() * x.cols()];
        for (t, out) in read.chunks_exact_mut(x.cols().max(1)).enumerate() {
            linear::read(reading, x.row(t), out);
        }
        let per_row = |row: usize| {
            let mut best = Group::default();
            let mut tests = 0;
            for (block, bytes) in weight.row(row).chunks_exact(format.block_bytes()).enumerate() {
                let Some(parts) = anatomy::of(weight.tensor_type(), bytes) else { return (best, tests) };
                for (group, codes) in parts.codes.chunks(parts.group).enumerate() {
                    let at = block * format.block_len() + group * parts.group;
                    for minimum in [false, true] {
                        if minimum && parts.dmin == 0.0 {
                            continue;
                        }
                        tests += 1;
                        let (mut along, mut energy) = (0.0, 0.0);
                        for t in 0..x.rows() {
                            let x = &read[t * x.cols() + at..t * x.cols() + at + codes.len()];
                            let unit: f64 = match minimum {
                                false => parts.d * codes.iter().zip(x).map(|(c, x)| f64::from(*c) * x).sum::<f64>(),
                                true => parts.dmin * x.iter().sum::<f64>(),
                            };
                            let i = t * self.exact.cols + row;
                            along += d[i] * unit / self.variance[i];
                            energy += unit * unit / self.variance[i];
                        }
                        let z = along / energy.sqrt();
                        if energy > 0.0 && z.abs() > best.z.abs() {
                            let (what, units) = (if minimum { "minimum" } else { "scale" }, along / energy);
                            let (what, units) = (what.to_owned(), units.round() as i32);
                            let part = Part { block, group, what, units, left: 0.0 };
                            best = Group { part: Some(part), row, over: 0.0, z };
                        }
                    }
                }
            }
            (best, tests)
        };
        let all: Vec<(Group, usize)> = (0..weight.rows()).into_par_iter().map(per_row).collect();
        let tests = all.iter().map(|(_, tests)| tests).sum();
        let best = all.into_iter().map(|(g, _)| g).reduce(|a, b| if b.z.abs() > a.z.abs() { b } else { a });
        let mut best = best.unwrap_or_default();
        best.over = best.z.abs() / threshold(self.alpha, tests);
        if let Some(part) = &mut best.part {
            part.left = self.left(d, best.row, best.z);
        }
        best
    }

    /// The root mean square of what a filter of `z` leaves of its row, in standard deviations.
    fn left(&self, d: &[f64], row: usize, z: f64) -> f64 {
        let (squares, _) = self.row(d, row);
        ((squares - z * z).max(0.0) / self.positions() as f64).sqrt()
    }

    /// What names the bug: the narrowest contrast that is nearly as far beyond its threshold as the farthest.
    fn finding(&self, d: &[f64], tests: &Tests, group: &Group, position: &dyn Fn(usize) -> usize) -> Finding {
        let worst = (tests.element.position.unwrap_or(0), tests.element.row.unwrap_or(0));
        let i = worst.0 * self.exact.cols + worst.1;
        let limit = threshold(self.alpha, d.len());
        let convicted: Vec<usize> = (0..d.len()).filter(|i| self.z(d, *i).abs() > limit).collect();
        let rows: std::collections::BTreeSet<usize> = convicted.iter().map(|i| i % self.exact.cols).collect();
        let squares = (tests.row.over * threshold_of_squares(self.alpha, self.exact.cols, self.positions())).sqrt();
        let row_over = tests.row.over.sqrt();
        let farthest = [group.over, row_over, tests.offset.over, tests.gain.over, tests.element.over]
            .into_iter()
            .fold(0.0, f64::max);
        let near = |over: f64| over > 1.0 && over >= NEARLY * farthest;
        let energy: f64 = d.iter().map(|d| d * d).sum();
        let along = |j: usize| (0..self.positions()).map(move |t| d[t * self.exact.cols + j]);
        let row_share = |j: usize| along(j).map(|d| d * d).sum::<f64>() / energy;
        let n = self.positions() as f64;
        let contrast = match (tests.row.row, tests.offset.row) {
            _ if near(tests.gain.over) => {
                let sum: f64 = d.iter().zip(&self.exact.value).map(|(d, y)| d * y).sum();
                let norm: f64 = self.exact.value.iter().map(|y| y * y).sum();
                let (size, z) = (sum / norm, tests.gain.over * threshold(self.alpha, 1) * sum.signum());
                Some(Contrast { kind: ContrastKind::Gain, size, z, share: size * sum / energy })
            }
            (_, Some(j)) if near(tests.offset.over) && !near(group.over) => {
                let size = along(j).sum::<f64>() / n;
                let share = (0..self.exact.cols).map(|j| along(j).sum::<f64>().powi(2) / n).sum::<f64>() / energy;
                let z = tests.offset.over * threshold(self.alpha, self.exact.cols) * size.signum();
                Some(Contrast { kind: ContrastKind::Bias, size, z, share })
            }
            (Some(j), _) if near(row_over) || near(group.over) => {
                let size = (along(j).map(|d| d * d).sum::<f64>() / n).sqrt();
                Some(Contrast { kind: ContrastKind::Row, size, z: squares, share: row_share(j) })
            }
            _ => None,
        };
        let narrow = !matches!(&contrast, Some(c) if c.kind == ContrastKind::Gain);
        Finding {
            side: "b".to_owned(),
            position: position(worst.0),
            row: if narrow && near(group.over) { group.row } else { worst.1 },
            value: f64::from(self.outputs.value.data()[i]),
            declared: self.exact.value[i],
            sigmas: self.z(d, i).abs(),
            beyond_bound: false,
            convicted: convicted.len() as u64,
            judged: d.len() as u64,
            rows: rows.len() as u64,
            part: if narrow && near(group.over) { group.part.clone() } else { None },
            contrast,
        }
    }
}

/// Share of the farthest statistic at which a contrast is still as good a name.
const NEARLY: f64 = 0.8;

fn keep(largest: &mut Largest, over: f64, position: Option<usize>, row: Option<usize>) {
    if over > largest.over || over.is_nan() {
        *largest = Largest { over, position, row };
    }
}
