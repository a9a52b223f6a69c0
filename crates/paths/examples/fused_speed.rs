//! Speed of the fused kernels: `cargo run --release -p twinpath-paths --example fused_speed -- 4096 4096 [TYPE…]`. Both fused
//! paths take turns, call by call, and of each the best of many is kept: other work on the machine only adds time. A column
//! is `fused-q8k`, `fused-q8x32` and the second's time by the first's.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program")]

use std::time::Instant;

use rayon::ThreadPool;
use twinpath_engine::{Op, Point, Site, Tensor};
use twinpath_formats::{Matrix, TensorType};
use twinpath_paths::simd::{Isa, Level};
use twinpath_paths::{FusedQ8k, FusedQ8x32, Path};

const TYPES: [TensorType; 12] = [
    TensorType::Q4K,
    TensorType::Q6K,
    TensorType::Q5K,
    TensorType::Q8_0,
    TensorType::Q2K,
    TensorType::Q3K,
    TensorType::IQ4XS,
    TensorType::IQ4NL,
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q5_0,
    TensorType::Q5_1,
];
/// Weights are cycled through as many copies as this, so that they come from memory.
const BYTES: usize = 300_000_000;
/// Rounds of each measurement, and the seconds after which it may end early.
const ROUNDS: (usize, usize) = (5, 40);
const SECONDS: f64 = 0.6;

/// Copies of one matrix.
struct Weights {
    tensor_type: TensorType,
    rows: usize,
    cols: usize,
    bytes: Vec<u8>,
}

impl Weights {
    fn new(tensor_type: TensorType, rows: usize, cols: usize) -> Weights {
        let one = tensor_type.bytes_of((rows * cols) as u64).unwrap() as usize;
        let n = one * (BYTES / one).clamp(1, 64);
        let byte = |i: usize| ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8 & 0x3f;
        Weights { tensor_type, rows, cols, bytes: (0..n).map(byte).collect() }
    }

    fn size(&self) -> usize {
        self.tensor_type.bytes_of((self.rows * self.cols) as u64).unwrap() as usize
    }

    fn copy(&self, i: usize) -> Matrix<'_> {
        let copy = self.bytes.chunks_exact(self.size()).cycle().nth(i % 64).unwrap();
        Matrix::new(self.tensor_type, self.rows, self.cols, copy).unwrap()
    }
}

/// The best seconds of each path.
fn seconds(paths: [&dyn Path; 2], pool: &ThreadPool, weights: &Weights, positions: usize) -> [f64; 2] {
    let x = (0..positions * weights.cols).map(|i| (i as f32 * 0.7).sin()).collect();
    let x = Tensor::new(positions, weights.cols, x);
    let mut best = [f64::INFINITY; 2];
    let begin = Instant::now();
    for round in 0..ROUNDS.1 {
        if round >= ROUNDS.0 && begin.elapsed().as_secs_f64() > SECONDS {
            break;
        }
        for (i, (path, best)) in paths.into_iter().zip(&mut best).enumerate() {
            let op = Op::Linear { weight: weights.copy(2 * round + i), bias: None };
            let start = Instant::now();
            std::hint::black_box(pool.install(|| path.eval(Site::outer(Point::Logits), &op, &[&x])));
            *best = best.min(start.elapsed().as_secs_f64());
        }
    }
    best
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (rows, cols) = (args[0].parse().unwrap(), args[1].parse().unwrap());
    for t in TYPES.into_iter().filter(|t| args.len() < 3 || args[2..].iter().any(|a| a == t.name())) {
        let weights = Weights::new(t, rows, cols);
        for isa in Isa::all_available().into_iter().filter(|i| i.level() != Level::Avx512) {
            let mut line = format!("{:7} {:10}", t.name(), isa.name());
            for threads in [1, 2] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let (a, b) = (FusedQ8k::with_isa(isa), FusedQ8x32::with_isa(isa));
                for positions in [1, 8, 64] {
                    let [a, b] = seconds([&a, &b], &pool, &weights, positions);
                    let (amount, unit) = match positions {
                        1 => (weights.size() as f64 / 1e9, format!("{threads}T gemv GB/s")),
                        _ => ((rows * cols * positions) as f64 / 1e9, format!("m{positions}")),
                    };
                    line += &format!(" | {unit} {:5.1} {:5.1} {:4.2}", amount / a, amount / b, b / a);
                }
            }
            println!("{line}");
        }
    }
}
