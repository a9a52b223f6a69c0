//! Speed of the fused kernels: `cargo run --release -p twinpath-paths --example fused_speed -- 4096 4096 [TYPE…]`. The best of many runs: other work
//! on the machine only adds time.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program")]

use std::time::Instant;

use twinpath_engine::{Numerics, Op, Point, Site, Tensor};
use twinpath_formats::{Matrix, TensorType};
use twinpath_paths::fused_q8k::FusedQ8k;
use twinpath_paths::simd::Isa;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (rows, cols) = (args[0].parse().unwrap(), args[1].parse().unwrap());
    let types = [
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
    for t in types.into_iter().filter(|t| args.len() < 3 || args[2..].iter().any(|a| a == t.name())) {
        let n = t.bytes_of((rows * cols) as u64).unwrap() as usize;
        let copies = (300_000_000 / n).clamp(1, 64);
        let bytes: Vec<u8> =
            (0..n * copies).map(|i| ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8 & 0x3f).collect();
        for isa in Isa::all_available().into_iter().filter(|i| i.level() != twinpath_paths::simd::Level::Avx512) {
            let mut line = format!("{:7} {:10}", t.name(), isa.name());
            for threads in [1, 2] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let site = Site::outer(Point::Logits);
                let path = FusedQ8k::with_isa(isa);
                for positions in [1, 8, 64] {
                    let x: Vec<f32> = (0..positions * cols).map(|i| (i as f32 * 0.7).sin()).collect();
                    let x = Tensor::new(positions, cols, x);
                    let mut times = Vec::new();
                    let begin = Instant::now();
                    while times.len() < 5 || (times.len() < 40 && begin.elapsed().as_secs_f64() < 0.3) {
                        let copy = times.len() % copies;
                        let weight = Matrix::new(t, rows, cols, &bytes[copy * n..(copy + 1) * n]).unwrap();
                        let start = Instant::now();
                        std::hint::black_box(
                            pool.install(|| path.eval(site, &Op::Linear { weight, bias: None }, &[&x])),
                        );
                        times.push(start.elapsed().as_secs_f64());
                    }
                    times.sort_by(f64::total_cmp);
                    let time = times[0];
                    let gmac = (rows * cols * positions) as f64 / time / 1e9;
                    line += &if positions == 1 {
                        format!(" | {threads}T gemv {:5.1} GB/s", n as f64 / time / 1e9)
                    } else {
                        format!(" m{positions} {gmac:4.0}")
                    };
                }
            }
            println!("{line}");
        }
    }
}
