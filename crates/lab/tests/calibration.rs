//! Replay of faithful paths over random weights and activations of every kind: none may be called unexplained.

use twinpath_engine::{Mask, Op, Pairing, Point, Rope, Site, Tensor};
use twinpath_evidence::Verdict;
use twinpath_formats::quant::FORMATS;
use twinpath_formats::{Matrix, TensorType};
use twinpath_lab::judge::Replay;
use twinpath_paths::{FusedQ8k, Path, Standalone};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 24) as f32
    }

    /// Nearly normal: four uniform numbers, unit variance.
    fn normal(&mut self) -> f32 {
        ((0..4).map(|_| self.uniform()).sum::<f32>() - 2.0) * 1.732
    }

    /// Heavy tails, by a quotient.
    fn heavy(&mut self) -> f32 {
        self.normal() / (self.uniform() + 0.003)
    }
}

/// Kinds of values: weights of float formats, scales of packed ones, activations.
const KINDS: usize = 12;

fn value(kind: usize, i: usize, random: &mut Random) -> f32 {
    match kind {
        0 => random.normal(),
        1 => random.heavy(),
        2 => random.normal() * if i % 97 == 3 { 100.0 } else { 1.0 },
        3 if !random.bits().is_multiple_of(10) => 0.0,
        3 => random.normal(),
        4 => random.normal().abs() * 0.003 + if i % 256 == 77 { 1000.0 } else { 0.0 },
        5 => random.normal().abs() + 0.1,
        6 => f32::from_bits(random.normal().to_bits() & 0xffff_0000),
        7 => (random.normal() * 16.0).round() / 16.0,
        8 => random.normal() * 1e-18,
        9 => random.normal() * 1e9,
        10 => random.normal() * random.normal().abs() * random.normal().abs(),
        _ => {
            if i.is_multiple_of(2) {
                3.0 + random.normal() * 0.01
            } else {
                -3.0 + random.normal() * 0.01
            }
        }
    }
}

/// Random blocks, with scales of one kind (their size is that of f16).
fn blocks(tensor_type: TensorType, count: usize, kind: usize, random: &mut Random) -> Vec<u8> {
    use TensorType::{BF16, F16, F32, Q2K, Q3K, Q4_1, Q4K, Q5_1, Q5K, Q6K};
    let size = tensor_type.format().block_bytes();
    let mut bytes: Vec<u8> = (0..count * size).map(|_| random.bits() as u8).collect();
    for (i, block) in bytes.chunks_exact_mut(size).enumerate() {
        let plain = value(kind, i, random);
        let scale = |x: f32| half_bits((x * 0.01).clamp(-900.0, 900.0));
        let (a, b) = (scale(plain), scale(value(kind, i + 1, random)));
        match tensor_type {
            F32 => block.copy_from_slice(&plain.to_le_bytes()),
            BF16 => block.copy_from_slice(&plain.to_le_bytes()[2..]),
            F16 => block.copy_from_slice(&a),
            Q2K => block[80..84].copy_from_slice(&[a, b].concat()),
            Q3K => block[108..].copy_from_slice(&a),
            Q6K => block[208..].copy_from_slice(&a),
            Q4K | Q5K | Q4_1 | Q5_1 => block[..4].copy_from_slice(&[a, b].concat()),
            _ => block[..2].copy_from_slice(&a),
        }
    }
    bytes
}

/// f16 by truncation; tiny values become 0.
fn half_bits(x: f32) -> [u8; 2] {
    let bits = x.to_bits();
    let exponent = (bits >> 23 & 255) as i32 - 127 + 15;
    let sign = (bits >> 16 & 0x8000) as u16;
    let half = if exponent <= 0 { sign } else { sign | (exponent as u16) << 10 | (bits >> 13 & 0x3ff) as u16 };
    half.to_le_bytes()
}

#[derive(Default)]
struct Count {
    verdicts: usize,
    possible: Vec<String>,
    unexplained: Vec<String>,
    inconclusive: usize,
    most: f64,
}

impl Count {
    fn judge(&mut self, path: &dyn Path, op: &Op<'_>, inputs: &[&Tensor<f32>], what: &str) {
        let value = path.eval(Site::block(0, Point::Q), op, inputs);
        let replay =
            Replay { own: path, other: None, alpha: 1e-3, sites: 100_000, positions: value.rows(), statistical: false };
        let local = replay.judge(op, inputs, &value, 0).local.finish("a", None);
        self.verdicts += 1;
        self.most = self.most.max(local.calibrated);
        match local.verdict {
            Verdict::Unexplained { finding } => self.unexplained.push(format!("{} {what}: {finding:?}", path.name())),
            Verdict::Possible { sigmas, .. } => {
                self.possible.push(format!("{} {what}: {sigmas:.1} standard deviations", path.name()));
            }
            Verdict::Inconclusive { .. } => self.inconclusive += 1,
            _ => {}
        }
    }
}

#[test]
fn no_faithful_value_is_unexplained_in_a_hundred_thousand() {
    let mut random = Random(2024);
    let mut count = Count::default();
    let paths: [&dyn Path; 2] = [&Standalone::new(), &FusedQ8k::new()];
    let mut cases = 0;
    for round in 0..24 {
        for f in FORMATS {
            for weights in 0..KINDS {
                let (rows, cols) = (3 + round % 5, [256, 512, 768, 1024][round % 4]);
                let bytes = blocks(f.tensor_type(), rows * (cols / f.block_len()), weights, &mut random);
                let weight = Matrix::new(f.tensor_type(), rows, cols, &bytes).unwrap();
                let bias: Vec<f32> = (0..rows).map(|_| random.normal()).collect();
                for activations in 0..KINDS {
                    cases += usize::from(round == 0);
                    let x = (0..cols).map(|i| value(activations, i, &mut random)).collect();
                    let x = Tensor::new(1, cols, x);
                    let op = Op::Linear { weight, bias: round.is_multiple_of(2).then_some(&bias[..]) };
                    let what = format!("{} weights {weights} activations {activations} round {round}", f.name());
                    for path in paths {
                        count.judge(path, &op, &[&x], &what);
                    }
                }
            }
        }
        others(round, &mut random, &mut count);
    }
    println!(
        "{} site verdicts over {cases} kinds of case: {} unexplained, {} possible, {} inconclusive; largest residual {:.2} of \
         the calibrated tolerance",
        count.verdicts,
        count.unexplained.len(),
        count.possible.len(),
        count.inconclusive,
        count.most
    );
    assert!(count.verdicts >= 100_000 && cases >= 100);
    assert_eq!((count.unexplained, count.possible), (vec![], vec![]) as (Vec<String>, Vec<String>));
}

/// Every op without a matrix.
fn others(round: usize, random: &mut Random, count: &mut Count) {
    let (heads, kv_heads, dim, t) = (4, 2, 32, 5);
    let rope = Rope {
        pairing: Pairing::Adjacent,
        frequencies: (0..dim / 2).map(|i| 0.7f64.powi(i as i32)).collect(),
        magnitude: 1.0,
    };
    for kind in 0..KINDS {
        let mut tensor = |cols: usize, size: f32| {
            let values = (0..t * cols).map(|i| value(kind, i, random) * size).collect();
            Tensor::new(t, cols, values)
        };
        let (q, k) = (tensor(heads * dim, 1.0), tensor(kv_heads * dim, 1.0));
        let scores = tensor(heads * t, 3.0);
        let weight: Vec<f32> = tensor(dim, 1.0).row(0).to_vec();
        let mask = Mask { start: 0, window: Some(3) };
        let path = Standalone::new();
        let what = format!("kind {kind} round {round}");
        count.judge(&path, &Op::Rope { rope: &rope, heads, start: 7 }, &[&q], &format!("rope {what}"));
        count.judge(&path, &Op::Scores { heads, kv_heads, scale: 0.17 }, &[&q, &k], &format!("scores {what}"));
        count.judge(&path, &Op::Softmax { heads, mask }, &[&scores], &format!("softmax {what}"));
        count.judge(&path, &Op::Mix { heads, kv_heads, mask }, &[&scores, &k], &format!("mix {what}"));
        count.judge(&path, &Op::Norm { weight: &weight, eps: 1e-6 }, &[&q], &format!("norm {what}"));
        count.judge(&path, &Op::Silu, &[&q], &format!("silu {what}"));
        count.judge(&path, &Op::Multiply, &[&q, &q], &format!("multiply {what}"));
        count.judge(&path, &Op::Add, &[&q, &q], &format!("add {what}"));
    }
}
