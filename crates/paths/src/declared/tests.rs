use twinpath_engine::{Mask, Numerics, Op, Pairing, Point, Rope, Site, Tensor};
use twinpath_formats::Matrix;
use twinpath_formats::quant::FORMATS;

use super::{Declared, SIGMA, anatomy, evaluate, linear};
use crate::simd::Isa;
use crate::test_values::{Random, blocks};
use crate::{FusedQ8k, FusedQ8x32, PATHS, Path, Standalone};

/// Eight standard deviations, as a multiple of the spread.
const FLAG: f64 = 8.0 * SIGMA;

#[test]
fn the_parts_of_a_block_make_its_weights_exactly() {
    let mut random = Random::new(5);
    for f in FORMATS.iter().filter(|f| f.block_len() > 1) {
        let bytes = blocks(f.tensor_type(), 20, &mut random);
        for block in bytes.chunks_exact(f.block_bytes()) {
            let mut exact = vec![0.0; f.block_len()];
            f.decode(block, &mut exact);
            let a = anatomy::of(f.tensor_type(), block).unwrap();
            let mut mins = vec![0.0; f.block_len() / 16];
            anatomy::minimums(f.tensor_type(), block, &mut mins);
            for (i, w) in exact.iter().enumerate() {
                let g = i / a.group;
                let min = a.dmin * f64::from(a.mins[g]);
                assert_eq!(*w, a.d * f64::from(a.scales[g]) * f64::from(a.codes[i]) + min, "{} value {i}", f.name());
                assert_eq!(mins[i / 16], min, "{} minimum {i}", f.name());
            }
            assert_eq!(anatomy::has_minimum(f.tensor_type()), a.dmin != 0.0, "{}", f.name());
        }
    }
}

/// The largest residual in spreads and the largest as a share of the bound.
fn worst(found: &Tensor<f32>, declared: &Declared) -> (f64, f64) {
    let mut most = (0.0f64, 0.0f64);
    for (i, y) in found.data().iter().enumerate() {
        let r = (f64::from(*y) - declared.value[i]).abs();
        if r > 0.0 {
            most = (most.0.max(r / declared.spread[i]), most.1.max(r / declared.bound[i]));
        }
    }
    most
}

/// The same with the exact spread and bound wherever the estimate would flag.
fn refine(path: &dyn Path, op: &Op<'_>, inputs: &[&Tensor<f32>], found: &Tensor<f32>, declared: &mut Declared) {
    let Op::Linear { weight, bias } = *op else { return };
    let reading = path.reading(weight.tensor_type());
    for (i, y) in found.data().iter().enumerate() {
        let r = (f64::from(*y) - declared.value[i]).abs();
        if r > FLAG * declared.spread[i] {
            let x = inputs[0].row(i / found.cols());
            (declared.spread[i], declared.bound[i]) = linear::exact(weight, bias, x, reading, i % found.cols());
        }
    }
}

fn check(path: &dyn Path, op: &Op<'_>, inputs: &[&Tensor<f32>], what: &str) -> f64 {
    let found = path.eval(Site::block(0, Point::Q), op, inputs);
    let declared = &mut evaluate(&[path], op, inputs)[0];
    assert_eq!((declared.rows, declared.cols), (found.rows(), found.cols()));
    refine(path, op, inputs, &found, declared);
    let (spreads, share) = worst(&found, declared);
    assert!(spreads <= FLAG, "{} {what}: {spreads} spreads", path.name());
    assert!(share <= 1.0, "{} {what}: {share} of the bound", path.name());
    spreads
}

#[test]
fn every_path_keeps_its_promise_for_every_format() {
    let mut random = Random::new(6);
    for f in FORMATS {
        for (cols, positions) in [(256usize, 1), (1280, 5), (40, 3)] {
            let cols = cols.next_multiple_of(f.block_len());
            let rows = 70;
            let bytes = blocks(f.tensor_type(), rows * (cols / f.block_len()), &mut random);
            let weight = Matrix::new(f.tensor_type(), rows, cols, &bytes).unwrap();
            let (x, bias) = (random.tensor(positions, cols), random.values(rows));
            for entry in PATHS {
                let path = (entry.new)(Isa::detect());
                for bias in [None, Some(&bias[..])] {
                    let spreads = check(path.as_ref(), &Op::Linear { weight, bias }, &[&x], f.name());
                    assert!(spreads > 0.1, "{} {}: {spreads} spreads is no f32", path.name(), f.name());
                }
            }
        }
    }
}

#[test]
fn the_spread_estimated_from_chunks_is_near_the_exact_one() {
    let mut random = Random::new(7);
    for f in FORMATS {
        let (rows, cols) = (30, 1024);
        let bytes = blocks(f.tensor_type(), rows * (cols / f.block_len()), &mut random);
        let weight = Matrix::new(f.tensor_type(), rows, cols, &bytes).unwrap();
        let x = random.tensor(1, cols);
        let paths: [&dyn Path; 3] = [&Standalone::new(), &FusedQ8k::new(), &FusedQ8x32::new()];
        for reading in paths.map(|path| path.reading(f.tensor_type())) {
            let made = &linear::evaluate(weight, None, &x, &[reading])[0];
            for row in 0..rows {
                let (spread, bound) = linear::exact(weight, None, x.row(0), reading, row);
                let ratio = made.spread[row] / spread;
                assert!((0.3..6.0).contains(&ratio), "{} {reading:?} row {row}: {ratio}", f.name());
                assert!(made.bound[row] >= 0.999999 * bound, "{} {reading:?}", f.name());
            }
        }
    }
}

#[test]
fn every_other_op_keeps_its_promise() {
    let mut random = Random::new(8);
    let rope = Rope { pairing: Pairing::HalfSplit, frequencies: vec![1.0, 0.3, 0.01], magnitude: 1.1 };
    let (heads, kv_heads, keys, dim) = (4, 2, 37, 8);
    let q = random.tensor(keys, heads * dim);
    let k = random.tensor(keys, kv_heads * dim);
    let mut scores = random.tensor(keys, heads * keys);
    scores.data_mut().iter_mut().for_each(|s| *s *= 30.0);
    let mask = Mask { start: 0, window: Some(20) };
    let standalone = Standalone::new();
    let probs = standalone.eval(Site::block(0, Point::AttnProbs), &Op::Softmax { heads, mask }, &[&scores]);
    let mut wide = random.tensor(3, 4000);
    wide.data_mut().iter_mut().for_each(|x| *x *= 120.0);
    let other = random.tensor(3, 4000);
    let weight = random.values(500);
    for path in [&standalone as &dyn Path, &FusedQ8k::new(), &FusedQ8x32::new()] {
        check(path, &Op::Rope { rope: &rope, heads, start: 3 }, &[&q], "rope");
        check(path, &Op::Scores { heads, kv_heads, scale: 0.35 }, &[&q, &k], "scores");
        check(path, &Op::Softmax { heads, mask }, &[&scores], "softmax");
        check(path, &Op::Mix { heads, kv_heads, mask }, &[&probs, &k], "mix");
        check(path, &Op::Norm { weight: &weight, eps: 1e-6 }, &[&wide], "norm");
        check(path, &Op::Silu, &[&wide], "silu");
        check(path, &Op::Multiply, &[&wide, &other], "multiply");
        check(path, &Op::Add, &[&wide, &other], "add");
    }
}
