//! Deliberately wrong paths, each one fault away from a right one: what a check of paths must catch. Never in `PATHS`.

use twinpath_engine::{Numerics, Op, Pairing, Rope, Site, Tensor};
use twinpath_formats::{Matrix, TensorType};

use crate::{Path, Reading};

/// What is done wrongly.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The scale of one group of one row of Q4_K weights is one unit too large (one too small where it is 63 already).
    Scale {
        /// Row of the weights.
        row: usize,
        /// Block of the row.
        block: usize,
        /// Group of the block, 0..8.
        group: usize,
    },
    /// RMSNorm adds ten times its epsilon.
    Eps,
    /// The value is 0.1 % too large.
    Gain,
    /// The bias is left out.
    NoBias,
    /// RoPE turns with theta 10⁴ where the model asks for another, or 5·10³ for that.
    Theta,
    /// The halves of each byte of Q4_K codes are taken for one another.
    Nibbles,
    /// RoPE pairs elements in the other layout.
    Pairing,
    /// RoPE takes each position for the next one.
    Position,
}

/// A path that does one thing wrongly at one site, and all else as `path` does. It declares what `path` declares.
pub struct Faulty {
    /// The right path.
    pub path: Box<dyn Path>,
    /// Where it goes wrong.
    pub site: Site,
    /// How.
    pub fault: Fault,
}

impl Numerics for Faulty {
    type Elem = f32;

    fn name(&self) -> &'static str {
        "faulty"
    }

    fn eval(&self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f32>]) -> Tensor<f32> {
        if site != self.site {
            return self.path.eval(site, op, inputs);
        }
        self.wrong(site, op, inputs)
    }
}

impl Path for Faulty {
    fn describe(&self) -> &'static str {
        "A control: one fault at one site."
    }

    fn kernels(&self) -> String {
        self.path.kernels()
    }

    fn reading(&self, weights: TensorType) -> Reading {
        self.path.reading(weights)
    }

    fn for_row(&self, site: Site, op: &Op<'_>, x: &[f32]) -> Option<&dyn Path> {
        self.path.for_row(site, op, x)
    }
}

impl Faulty {
    fn wrong(&self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f32>]) -> Tensor<f32> {
        let right = |op: &Op<'_>| self.path.eval(site, op, inputs);
        match (&self.fault, *op) {
            (Fault::Scale { row, block, group }, Op::Linear { weight, bias }) => {
                let bytes = change_scale(&weight, *row, *block, *group);
                on(&weight, &bytes, |weight| right(&Op::Linear { weight, bias }))
            }
            (Fault::Nibbles, Op::Linear { weight, bias }) => {
                let bytes = swap_nibbles(&weight);
                on(&weight, &bytes, |weight| right(&Op::Linear { weight, bias }))
            }
            (Fault::NoBias, Op::Linear { weight, .. }) => right(&Op::Linear { weight, bias: None }),
            (Fault::Eps, Op::Norm { weight, eps }) => right(&Op::Norm { weight, eps: 10.0 * eps }),
            (Fault::Theta, Op::Rope { rope, heads, start }) => {
                let rope = other_theta(rope);
                right(&Op::Rope { rope: &rope, heads, start })
            }
            (Fault::Pairing, Op::Rope { rope, heads, start }) => {
                let pairing = match rope.pairing {
                    Pairing::Adjacent => Pairing::HalfSplit,
                    Pairing::HalfSplit => Pairing::Adjacent,
                };
                let rope = Rope { pairing, ..rope.clone() };
                right(&Op::Rope { rope: &rope, heads, start })
            }
            (Fault::Position, Op::Rope { rope, heads, start }) => right(&Op::Rope { rope, heads, start: start + 1 }),
            (Fault::Gain, _) => {
                let mut y = right(op);
                y.data_mut().iter_mut().for_each(|y| *y *= 1.001);
                y
            }
            (fault, op) => unreachable!("{fault:?} is no fault of {op:?}"),
        }
    }
}

fn on<T>(weight: &Matrix<'_>, bytes: &[u8], f: impl FnOnce(Matrix<'_>) -> T) -> T {
    match Matrix::new(weight.tensor_type(), weight.rows(), weight.cols(), bytes) {
        Ok(matrix) => f(matrix),
        Err(error) => unreachable!("the same shape and length: {error}"),
    }
}

/// Bytes of a Q4_K block.
const BLOCK: usize = 144;

fn change_scale(weight: &Matrix<'_>, row: usize, block: usize, group: usize) -> Vec<u8> {
    assert_eq!(weight.tensor_type(), TensorType::Q4K, "a fault of Q4_K weights");
    let mut bytes = weight.bytes().to_vec();
    let at = row * weight.row_bytes() + block * BLOCK + 4;
    let low = if group < 4 { at + group } else { at + 4 + group };
    let most = if group < 4 { 63 } else { 15 };
    // The low bits of the scale: one up where that carries into nothing else, else one down.
    if bytes[low] & most < most {
        bytes[low] += 1;
    } else {
        bytes[low] -= 1;
    }
    bytes
}

fn swap_nibbles(weight: &Matrix<'_>) -> Vec<u8> {
    assert_eq!(weight.tensor_type(), TensorType::Q4K, "a fault of Q4_K weights");
    let mut bytes = weight.bytes().to_vec();
    for block in bytes.chunks_exact_mut(BLOCK) {
        block[16..].iter_mut().for_each(|b| *b = b.rotate_left(4));
    }
    bytes
}

/// The frequencies of another theta: `theta^(-2i/n)` is the first one's `i`-th power.
fn other_theta(rope: &Rope) -> Rope {
    let n = 2 * rope.frequencies.len();
    let of = |theta: f64| (0..n / 2).map(move |i| libm::pow(theta, -2.0 * i as f64 / n as f64)).collect::<Vec<f64>>();
    let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-9 * b.abs());
    let usual = of(1e4);
    let frequencies = if near(&usual, &rope.frequencies) { of(5e3) } else { usual };
    Rope { frequencies, ..rope.clone() }
}
