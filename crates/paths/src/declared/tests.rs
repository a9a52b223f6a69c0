use twinpath_engine::{Mask, Numerics, Op, Pairing, Point, Rope, Site, Tensor};
use twinpath_formats::Matrix;
use twinpath_formats::quant::FORMATS;

use super::dots::{Digits, Dots, LANES, Parts, ROWS, Spans};
use super::lanes::{Lanes, Portable};
use super::whole::Integers;
use super::{Declared, Reading, SIGMA, UNIT, anatomy, digits, evaluate, linear, ops, products, whole};
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

#[test]
fn whole_numbers_make_the_weights_exactly() {
    let mut random = Random::new(9);
    for f in FORMATS.iter().filter(|f| f.block_len() > 1) {
        let per_chunk = whole::CHUNK / f.block_len();
        for _ in 0..20 {
            let bytes = blocks(f.tensor_type(), per_chunk, &mut random);
            let (mut integers, mut scales) = (Integers::ZERO, whole::Scales::ZERO);
            whole::read(f.tensor_type(), &bytes, &mut integers, &mut scales);
            let parts = bytes.chunks_exact(f.block_bytes()).map(|b| anatomy::of(f.tensor_type(), b).unwrap());
            let parts: Vec<_> = parts.collect();
            for i in 0..whole::CHUNK {
                let (a, at) = (&parts[i / f.block_len()], i % f.block_len());
                let g = at / a.group;
                assert_eq!(i32::from(integers.at(i)), a.scales[g] * a.codes[at], "{} value {i}", f.name());
                let minimum = scales.dmin[i / 32] * f64::from(scales.steps[i / 16]);
                assert_eq!(minimum, a.dmin * f64::from(a.mins[g]), "{} minimum {i}", f.name());
                assert_eq!(scales.d[i / 32], a.d, "{} scale {i}", f.name());
            }
            let most = (0..whole::CHUNK).map(|i| i32::from(integers.at(i)).abs()).max();
            assert!(most <= whole::most(f.tensor_type()), "{}", f.name());
        }
    }
}

#[test]
fn every_f16_is_read_exactly() {
    for bits in 0..=u16::MAX {
        let expected = half::f16::from_bits(bits).to_f64();
        let found = whole::half(&bits.to_le_bytes(), 0);
        assert!(found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(), "{bits:#x}: {found}");
    }
}

/// A number that is no larger than `most`.
fn up_to(random: &mut Random, most: i16) -> i16 {
    (random.bits() % (2 * most as u64 + 1)) as i16 - most
}

/// Integers whose scales and codes are no larger than `most`.
fn integers(random: &mut Random, most: (i8, i8)) -> Integers {
    let mut one = |most: i8| up_to(random, i16::from(most.saturating_abs())) as i8;
    Integers { codes: std::array::from_fn(|_| one(most.1)), scales: std::array::from_fn(|_| one(most.0)) }
}

/// Sums of one tile of rows with digits, on one instruction set.
fn dots(isa: Isa, spans: Spans, w: &[Integers], x: &[[i16; LANES]], bytes: bool) -> Vec<Lanes> {
    let mut dots = Dots::new(isa, [spans.span].into_iter());
    let (mut weights, mut sums) = (dots.weights(), Parts::ZERO);
    for (r, row) in w.iter().enumerate() {
        weights.put(isa, r, row, &[0; 16]);
    }
    for (r, i) in [(0, 0), (5, 17), (31, 255)] {
        assert_eq!(weights.at(r, i), w[r].at(i), "{}", isa.name());
    }
    let digits = Digits::new(isa, spans, x, bytes);
    let from = whole::CHUNK - spans.span;
    dots.sums(&weights, from, spans.span, &digits, &mut sums);
    (0..ROWS).map(|r| sums.row(Portable, r)).collect()
}

#[test]
fn integer_dots_are_the_same_on_every_instruction_set_up_to_the_largest_sums() {
    let mut random = Random::new(10);
    let mut x = vec![[0i16; LANES]; whole::CHUNK];
    // Spans and pieces, the largest scale and code whose sums fit, and the largest digit.
    for (span, piece, most, largest) in [
        (256, 256, (31, 33), 8191),
        (256, 64, (63, 65), 8191),
        (256, 256, (-128, 32), 127),
        (32, 32, (1, 31), 8191),
        (64, 64, (63, 65), 8191),
    ] {
        let mut w: Vec<Integers> = (0..ROWS).map(|_| integers(&mut random, most)).collect();
        x.as_flattened_mut().iter_mut().for_each(|x| *x = up_to(&mut random, largest));
        // Rows of the largest weights meet lanes of the largest digits.
        for (row, code) in [(0, -most.1), (20, most.1)] {
            w[row] = Integers { codes: [code; whole::CHUNK], scales: [most.0; 16] };
        }
        x.iter_mut().for_each(|x| (x[0], x[1]) = (largest, -largest));
        let expected = |r: usize, l: usize| {
            let columns = whole::CHUNK - span..whole::CHUNK;
            columns.map(|i| i64::from(w[r].at(i)) * i64::from(x[i][l])).sum::<i64>() as f64
        };
        for isa in Isa::all_available() {
            let sums = dots(isa, Spans { span, piece }, &w, &x, largest == 127);
            for (r, sums) in sums.iter().enumerate() {
                for l in 0..LANES {
                    assert_eq!(sums[l], expected(r, l), "{} row {r} lane {l} of {span} columns", isa.name());
                }
            }
        }
    }
}

#[test]
fn moments_are_the_same_on_every_instruction_set() {
    let mut random = Random::new(11);
    let steps: [i8; 16] = std::array::from_fn(|g| (4 * g) as i8);
    let largest = |code| Integers { codes: [code; whole::CHUNK], scales: [-128; 16] };
    for row in [integers(&mut random, (127, 31)), largest(-32), largest(32)] {
        let expected: [i32; 16] = std::array::from_fn(|m| {
            let columns = 32 * (m % 8)..32 * (m % 8 + 1);
            let with = |i: usize| if m < 8 { i32::from(row.at(i)) } else { i32::from(steps[i / 16]) };
            columns.map(|i| i32::from(row.at(i)) * with(i)).sum()
        });
        for isa in Isa::all_available() {
            let dots = Dots::new(isa, [whole::CHUNK].into_iter());
            assert_eq!(dots.weights().put(isa, 3, &row, &steps), expected, "{}", isa.name());
        }
    }
}

#[test]
fn whole_numbers_give_the_sums_of_f64_for_every_format_and_set_of_readings() {
    use Reading::{Plain, Q8_0, Q8K, Q8x32};
    let mut random = Random::new(12);
    for f in FORMATS.iter().filter(|f| f.block_len() > 1) {
        // Columns beside a chunk of 256, rows beside a tile of 32, positions beside a block of 16.
        for (rows, cols, positions) in [(1, 96, 1), (33, 1312, 3), (30, 256, 17)] {
            let cols = (cols as usize).next_multiple_of(f.block_len());
            let bytes = blocks(f.tensor_type(), rows * (cols / f.block_len()), &mut random);
            let weight = Matrix::new(f.tensor_type(), rows, cols, &bytes).unwrap();
            let x = random.tensor(positions, cols);
            for readings in [&[Plain][..], &[Q8K], &[Q8_0, Plain], &[Q8K, Plain], &[Plain, Q8x32], &[Q8x32, Q8K]] {
                check_sums(weight, &x, readings);
            }
        }
    }
}

/// The sums of whole numbers, and what the error model makes of them, against those of f64.
fn check_sums(weight: Matrix<'_>, x: &Tensor<f32>, readings: &[Reading]) {
    let (rows, cols, positions) = (weight.rows(), weight.cols(), x.rows());
    let operands: Vec<_> = readings.iter().map(|r| linear::operand(*r, x)).collect();
    let expected = linear::rows(weight, &operands);
    let mut w = vec![0.0; cols];
    let mut norm = |row: usize| {
        weight.decode_row(row, &mut w);
        w.iter().map(|w| w * w).sum::<f64>().sqrt()
    };
    let norms: Vec<f64> = (0..rows).map(&mut norm).collect();
    for isa in Isa::all_available() {
        let operand = digits::Operand::new(isa, weight.tensor_type(), x, readings);
        let (own, other) = products::evaluate(isa, weight, None, &[operand]).remove(0);
        assert_eq!(
            (own.rows, own.cols, own.value.len(), own.bound.len()),
            (positions, rows, positions * rows, positions * rows)
        );
        for (i, expected) in expected.iter().enumerate() {
            let (row, which, t) = (i / readings.len() / positions, i / positions % readings.len(), i % positions);
            let (at, reading) = (t * rows + row, readings[which]);
            // At most 2⁻²⁸ of the largest activation is left over. That is 1, and the norm of n of them 0.58 √n: by
            // Cauchy and Schwarz 1 / 0.58 times that of the magnitude, chance aside.
            let share = if reading == Reading::Plain { 2.5 * UNIT / 16.0 } else { 0.0 };
            let rounding = 1e-16 * (cols as f64).powf(1.5) * norms[row];
            let format = weight.format().name();
            let what = format!("{format} {} {readings:?} {reading:?} {rows} x {cols}, {i}", isa.name());
            let value = if which == 0 { own.value[at] } else { other.as_ref().unwrap()[at] };
            let off = (value - expected.value).abs();
            assert!(off <= share * expected.magnitude + rounding, "{what}: {off:e}");
            if which == 0 {
                let (_, spread, bound) = linear::Join::new(reading, None, cols).of(expected);
                let bounds = own.bound[at] / bound;
                assert!((bounds - 1.0).abs() < 1e-9, "{what}: {bounds}");
                let spreads = own.spread[at] / spread;
                assert!((0.2..5.0).contains(&spreads), "{what}: {spreads}");
            }
        }
    }
}

#[test]
fn declared_values_have_the_same_bits_on_every_instruction_set_and_for_any_number_of_threads() {
    let mut random = Random::new(13);
    for f in FORMATS.iter().filter(|f| f.block_len() > 1) {
        let (rows, cols) = (61, 512 + f.block_len());
        let bytes = blocks(f.tensor_type(), rows * (cols / f.block_len()), &mut random);
        let weight = Matrix::new(f.tensor_type(), rows, cols, &bytes).unwrap();
        let (mut x, y) = (random.tensor(19, cols), random.tensor(3, cols));
        // One that stands out.
        x.row_mut(2)[70] = 300.0;
        let bias = random.values(rows);
        let operands = |isa| {
            let readings: [(&Tensor<f32>, &[Reading]); 3] = [
                (&x, &[Reading::Q8K, Reading::Plain]),
                (&y, &[Reading::Plain]),
                (&x, &[Reading::Plain, Reading::Q8x32]),
            ];
            readings.map(|(x, readings)| digits::Operand::new(isa, f.tensor_type(), x, readings))
        };
        let expected = products::evaluate(Isa::PORTABLE, weight, Some(&bias), &operands(Isa::PORTABLE));
        for (i, operand) in operands(Isa::PORTABLE).into_iter().enumerate() {
            let alone = products::evaluate(Isa::PORTABLE, weight, Some(&bias), &[operand]).remove(0);
            assert!(alone == expected[i], "{} operand {i} beside others", f.name());
        }
        for isa in Isa::all_available() {
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let found = pool.install(|| products::evaluate(isa, weight, Some(&bias), &operands(isa)));
                assert!(found == expected, "{} {} {threads} threads", f.name(), isa.name());
            }
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
            (_, declared.spread[i], declared.bound[i]) = linear::exact(weight, bias, x, reading, i % found.cols());
        }
    }
}

fn check(path: &dyn Path, op: &Op<'_>, inputs: &[&Tensor<f32>], what: &str) -> f64 {
    let found = path.eval(Site::block(0, Point::Q), op, inputs);
    let declared = &mut evaluate(path, None, op, inputs).0;
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
            let asked = linear::Asked { x: &x, own: reading, other: None };
            let (made, _) = linear::evaluate(weight, None, &[asked]).remove(0);
            for row in 0..rows {
                let (value, spread, bound) = linear::exact(weight, None, x.row(0), reading, row);
                assert!((made.value[row] - value).abs() <= 0.1 * spread, "{} {reading:?} row {row}", f.name());
                let ratio = made.spread[row] / spread;
                assert!((0.3..6.0).contains(&ratio), "{} {reading:?} row {row}: {ratio}", f.name());
                assert!(made.bound[row] >= 0.999999 * bound, "{} {reading:?}", f.name());
            }
        }
    }
}

#[test]
fn the_vectorised_exponential_is_right_to_some_units() {
    let mut random = Random::new(14);
    for i in 0..200_000 {
        let x = f64::from(random.signed()) * [0.4, 5.0, 90.0, 708.0][i % 4];
        let (found, expected) = (ops::exp(x), libm::exp(x));
        // Fourteen steps of Horner's rule round by 2⁻⁵³ each, the last ones in full; libm's is right to one unit.
        assert!((found / expected - 1.0).abs() <= 8.0 * f64::EPSILON, "{x}: {found:e} {expected:e}");
    }
    for (x, least, most) in
        [(0.0, 1.0, 1.0), (1e4, 4e307, 5e307), (f64::INFINITY, 4e307, 5e307), (-1e30, 2e-308, 3e-308)]
    {
        assert!((least..=most).contains(&ops::exp(x)), "{x}: {}", ops::exp(x));
    }
    assert!(ops::exp(f64::NAN).is_nan());
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
