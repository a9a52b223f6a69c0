//! Every packed format against its exact decoder, and every instruction set against the portable one.

use twinpath_formats::{Matrix, TensorType};

use super::bytes::{Bytes, Portable};
use super::{Entry, Form, PACKED};
use crate::declared::anatomy::{self, Anatomy};
use crate::q8::{Codes, Scales};
use crate::simd::{Isa, Level};
use crate::test_values::{Random, set_scales};

fn set_factors(t: TensorType, block: &mut [u8], d: f32, m: f32) {
    set_scales(t, block, [d, m].map(half::f16::from_f32));
}

/// What the bytes other than the factors hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fill {
    Random,
    All(u8),
}

pub(super) const FILLS: [Fill; 7] =
    [Fill::Random, Fill::Random, Fill::All(0), Fill::All(0xff), Fill::All(0x80), Fill::All(0x7f), Fill::All(0x3f)];

/// Rows of blocks with factors of about `0.01`.
pub(super) fn weights(t: TensorType, rows: usize, cols: usize, fill: Fill, random: &mut Random) -> Vec<u8> {
    let format = t.format();
    let mut bytes = vec![0; rows * cols / format.block_len() * format.block_bytes()];
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        for byte in block.iter_mut() {
            *byte = match fill {
                Fill::Random => random.bits() as u8,
                Fill::All(byte) => byte,
            };
        }
        set_factors(t, block, 0.01 * random.signed(), 0.01 * random.signed());
    }
    bytes
}

pub(super) fn activations(n: usize, random: &mut Random) -> Vec<f32> {
    (0..n).map(|_| random.signed() * random.signed()).collect()
}

/// Codes at their limit: every product of a column has one sign.
pub(super) fn extreme(n: usize) -> Vec<f32> {
    vec![-1.0; n]
}

/// One block decoded with chosen factors.
fn decoded(entry: &Entry, block: &[u8], d: f32, m: f32) -> Vec<f64> {
    let mut block = block.to_vec();
    set_factors(entry.tensor_type, &mut block, d, m);
    let format = entry.tensor_type.format();
    let mut out = vec![0.0; format.block_len()];
    format.decode(&block, &mut out);
    out
}

#[test]
fn every_quantised_format_is_listed_once() {
    let blocks = twinpath_formats::quant::FORMATS.iter().filter(|f| f.block_len() > 1);
    assert_eq!(blocks.clone().count(), PACKED.len());
    for f in blocks {
        assert_eq!(PACKED.iter().filter(|e| e.tensor_type == f.tensor_type()).count(), 1, "{}", f.name());
    }
}

/// With `d = 1` and no minimum the decoder gives the integers that `p` weighs the codes with, and with `d = 0` and a
/// minimum of 1 those of `m`: what the decoder says is the naive sum.
#[test]
fn integers_are_exactly_those_of_the_decoded_weights() {
    let mut random = Random::new(1);
    for entry in PACKED {
        let n = entry.tensor_type.format().block_len();
        for (i, fill) in FILLS.into_iter().chain([Fill::Random; 20]).enumerate() {
            let block = weights(entry.tensor_type, 1, n, fill, &mut random);
            let x = if i % 2 == 0 { activations(n, &mut random) } else { extreme(n) };
            let codes = Codes::new(Isa::detect(), entry.shape, Scales::Ggml, 1, &x);
            let naive = |w: Vec<f64>| w.iter().zip(codes.q.iter()).map(|(w, q)| *w as i64 * i64::from(*q)).sum::<i64>();
            let (p, m) = (entry.integers)(&block, &codes.q, &codes.sums);
            let name = entry.tensor_type.name();
            let main = naive(decoded(entry, &block, 1.0, 0.0));
            match entry.form {
                Form::Offset => assert_eq!(i64::from(p) - i64::from(m), main, "{name} {fill:?}"),
                Form::MinusMin => assert_eq!(
                    (i64::from(p), i64::from(m)),
                    (main, -naive(decoded(entry, &block, 0.0, 1.0))),
                    "{name} {fill:?}"
                ),
                Form::PlusMin => assert_eq!(
                    (i64::from(p), i64::from(m)),
                    (main, naive(decoded(entry, &block, 0.0, 1.0))),
                    "{name} {fill:?}"
                ),
            }
        }
    }
}

#[test]
fn no_code_is_above_the_stated_top() {
    let mut random = Random::new(2);
    for entry in PACKED {
        let n = entry.tensor_type.format().block_len();
        let top = FILLS.iter().flat_map(|fill| {
            let block = weights(entry.tensor_type, 1, n, *fill, &mut random);
            (entry.codes)(&block)
        });
        assert!(top.max() <= Some(entry.top), "{}", entry.tensor_type.name());
    }
}

/// Every format with either kind of scales.
fn each() -> impl Iterator<Item = (&'static Entry, Scales)> {
    PACKED.iter().flat_map(|entry| [(entry, Scales::Ggml), (entry, Scales::Per32)])
}

fn isas() -> Vec<Isa> {
    Isa::all_available()
}

pub(super) fn bits(y: &[f32]) -> Vec<u32> {
    y.iter().map(|y| y.to_bits()).collect()
}

/// Rows around a tile of 16, positions around every tile of positions, one to nine blocks; blocks of all rows around a unit
/// of four.
#[test]
fn all_instruction_sets_give_the_same_bits() {
    let mut random = Random::new(3);
    for (entry, scales) in each() {
        for fill in FILLS {
            for (rows, blocks, positions) in
                [(1, 1, 1), (5, 4, 1), (16, 3, 8), (17, 5, 9), (33, 9, 2), (15, 2, 21), (6, 19, 1), (9, 8, 1)]
                    .into_iter()
                    .chain([(2, 1, 7), (3, 1, 1), (1, 5, 3), (2, 3, 1), (7, 1, 1), (17, 2, 33), (16, 1, 65)])
            {
                let cols = blocks * entry.shape.block;
                let bytes = weights(entry.tensor_type, rows, cols, fill, &mut random);
                let weight = Matrix::new(entry.tensor_type, rows, cols, &bytes).unwrap();
                let bias = activations(rows, &mut random);
                let bias = (rows % 2 == 1).then_some(&bias[..]);
                for x in [activations(positions * cols, &mut random), extreme(positions * cols)] {
                    let portable = entry.linear(scales, Isa::PORTABLE, weight, bias, positions, &x);
                    for isa in isas() {
                        let y = entry.linear(scales, isa, weight, bias, positions, &x);
                        let what = (entry.tensor_type.name(), isa.name(), fill, rows, blocks, positions);
                        assert_eq!(bits(&y), bits(&portable), "{what:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_widest_set_of_this_processor_is_among_those_tested() {
    assert!(isas().contains(&Isa::detect()));
    assert!(isas().iter().any(|isa| isa.level() == Level::Portable));
}

#[test]
fn a_batch_gives_the_bits_of_its_rows_alone_and_threads_change_nothing() {
    let mut random = Random::new(4);
    for (entry, scales) in each() {
        let (rows, cols, positions) = (83, 512, 65);
        let bytes = weights(entry.tensor_type, rows, cols, Fill::Random, &mut random);
        let weight = Matrix::new(entry.tensor_type, rows, cols, &bytes).unwrap();
        let x = activations(positions * cols, &mut random);
        for isa in isas() {
            let with = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| entry.linear(scales, isa, weight, None, positions, &x))
            };
            let whole = with(1);
            for threads in 2..=8 {
                assert_eq!(bits(&whole), bits(&with(threads)), "{threads} threads");
            }
            // Beside each number from which on other kernels are taken, and each number that they take at once.
            for n in [2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64] {
                let some = entry.linear(scales, isa, weight, None, n, &x[..n * cols]);
                assert_eq!(bits(&some), bits(&whole[..n * rows]), "{} {n}", entry.tensor_type.name());
            }
            for t in 0..positions {
                let alone = entry.linear(scales, isa, weight, None, 1, &x[t * cols..(t + 1) * cols]);
                assert_eq!(bits(&alone), bits(&whole[t * rows..(t + 1) * rows]), "{}", entry.tensor_type.name());
            }
        }
    }
}

/// The integers of every 32 values are the sums over the decoded weights, whatever the instruction set, and as f32 exact.
#[test]
fn integers_of_each_32_are_exactly_those_of_the_decoded_weights() {
    let mut random = Random::new(9);
    for entry in PACKED.iter().filter(|e| e.shape.block == 256) {
        for (i, fill) in FILLS.into_iter().chain([Fill::Random; 20]).enumerate() {
            let block = weights(entry.tensor_type, 1, 256, fill, &mut random);
            let x = if i % 2 == 0 { activations(256, &mut random) } else { extreme(256) };
            let codes = Codes::new(Isa::detect(), entry.shape, Scales::Per32, 1, &x);
            let naive = |w: Vec<f64>| -> [i64; 8] {
                std::array::from_fn(|j| (32 * j..32 * j + 32).map(|i| w[i] as i64 * i64::from(codes.q[i])).sum())
            };
            let main = naive(decoded(entry, &block, 1.0, 0.0));
            let mins = naive(decoded(entry, &block, 0.0, 1.0));
            for isa in isas() {
                let [p, m] = (entry.parts)(isa, &block, codes.q[..].first_chunk().unwrap(), &codes.sums);
                let what = (entry.tensor_type.name(), isa.name(), fill);
                assert_eq!(p.map(|p| p as i64), main, "{what:?}");
                if entry.form != Form::Offset {
                    assert_eq!(m.map(|m| -(m as i64)), mins, "{what:?}");
                }
            }
        }
    }
}

/// The stated order, as plainly as it can be said: 32 values after 32, from decoded integers.
#[test]
fn outputs_with_a_scale_per_32_have_the_bits_of_their_stated_order() {
    let mut random = Random::new(10);
    for entry in PACKED {
        let (n, size) = (entry.shape.block, entry.tensor_type.format().block_bytes());
        let cols = 5 * n;
        for fill in FILLS {
            let bytes = weights(entry.tensor_type, 1, cols, fill, &mut random);
            let weight = Matrix::new(entry.tensor_type, 1, cols, &bytes).unwrap();
            let x = activations(cols, &mut random);
            let codes = Codes::new(Isa::detect(), entry.shape, Scales::Per32, 1, &x);
            let (mut acc, mut accm) = (0.0f32, 0.0f32);
            for (b, block) in bytes.chunks(size).enumerate() {
                let Anatomy { group, d, dmin, scales, mins, codes: c } = anatomy::of(entry.tensor_type, block).unwrap();
                let (d, dm) = (d as f32, dmin as f32);
                for j in 0..n / 32 {
                    let q = &codes.q[b * n + 32 * j..][..32];
                    let sum =
                        |one: &dyn Fn(usize) -> i32| (0..32).map(|i| one(32 * j + i) * i32::from(q[i])).sum::<i32>();
                    let a = codes.d[b * (n / 32) + j];
                    if n == 256 && group == 32 {
                        acc = (d * scales[j] as f32 * a).mul_add(sum(&|i| c[i]) as f32, acc);
                        accm = (dm * mins[j] as f32).mul_add(a * sum(&|_| 1) as f32, accm);
                        continue;
                    }
                    let (p, m) = (sum(&|i| scales[i / group] * c[i]) as f32, sum(&|i| mins[i / group]) as f32);
                    acc = (d * a).mul_add(p, acc);
                    accm = if n == 256 { dm.mul_add(a * m, accm) } else { (dm * a).mul_add(m, accm) };
                }
            }
            let expected = if entry.form == Form::Offset { acc } else { acc + accm };
            let y = entry.linear(Scales::Per32, Isa::detect(), weight, None, 1, &x);
            assert_eq!(y[0].to_bits(), expected.to_bits(), "{} {fill:?}", entry.tensor_type.name());
        }
    }
}

/// `Σ |a d p|` and `Σ |a dm m|` over what enters the f32 sums of one row, and how many that are.
fn size_of_terms(entry: &Entry, row: &[u8], codes: &Codes) -> (f64, usize) {
    let (n, of) = (entry.shape.block, codes.scales.of(entry.shape));
    let bytes = entry.tensor_type.format().block_bytes();
    let mut size = 0.0;
    for (b, block) in row.chunks(bytes).enumerate() {
        let (d, dm) = (entry.factors)(block);
        let (q, sums) = (&codes.q[b * n..(b + 1) * n], &codes.sums[b * entry.shape.sums()..]);
        for (j, a) in codes.d[b * of..(b + 1) * of].iter().enumerate() {
            let (p, m) = if of > 1 {
                let [p, m] = (entry.parts)(Isa::PORTABLE, block, q.first_chunk().unwrap(), sums);
                (f64::from(p[j]), f64::from(m[j]))
            } else {
                let (p, m) = (entry.integers)(block, q, sums);
                if entry.form == Form::Offset { (f64::from(p - m), 0.0) } else { (f64::from(p), f64::from(m)) }
            };
            size += f64::from(*a).abs() * ((f64::from(d) * p).abs() + (f64::from(dm) * m).abs());
        }
    }
    (size, codes.d.len())
}

/// Against `Σ w · (d q)` in f64 on exactly decoded weights. Per term of scale `d·a` the f32 sequence rounds `d·a`, the
/// integer and the sum: relative errors of at most 2^-24 each of what they round, the last of the running sum, whose
/// magnitude is at most `S`, the sum of all `|d a p|` and `|dm a m|`. Over B terms and two chains and their join the error
/// is at most `(2 + B + 1) · 2^-24 · S` to first order; 1.01 covers the second, and f64's own errors.
#[test]
fn outputs_are_within_the_bound_of_the_exact_product() {
    let mut random = Random::new(5);
    for (entry, scales) in each() {
        let (rows, cols) = (7, 6 * entry.shape.block);
        let width = entry.shape.block / scales.of(entry.shape);
        for fill in FILLS {
            let bytes = weights(entry.tensor_type, rows, cols, fill, &mut random);
            let weight = Matrix::new(entry.tensor_type, rows, cols, &bytes).unwrap();
            let x = activations(cols, &mut random);
            let codes = Codes::new(Isa::detect(), entry.shape, scales, 1, &x);
            let y = entry.linear(scales, Isa::detect(), weight, None, 1, &x);
            let mut w = vec![0.0; cols];
            for row in 0..rows {
                weight.decode_row(row, &mut w);
                let exact: f64 = (0..cols).map(|i| w[i] * f64::from(codes.d[i / width]) * f64::from(codes.q[i])).sum();
                let (size, terms) = size_of_terms(entry, weight.row(row), &codes);
                let bound = 1.01 * (terms as f64 + 3.0) * 2f64.powi(-24) * size;
                let error = (f64::from(y[row]) - exact).abs();
                assert!(error <= bound, "{} {scales:?} {fill:?}: {error:e} > {bound:e}", entry.tensor_type.name());
            }
        }
    }
}

#[test]
fn a_non_finite_activation_makes_every_output_of_its_position_nan_and_no_other() {
    let mut random = Random::new(6);
    for (entry, scales) in each() {
        let (rows, cols, positions) = (18, 512, 9);
        let bytes = weights(entry.tensor_type, rows, cols, Fill::Random, &mut random);
        let weight = Matrix::new(entry.tensor_type, rows, cols, &bytes).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = activations(positions * cols, &mut random);
            x[4 * cols + 301] = bad;
            for isa in isas() {
                let y = entry.linear(scales, isa, weight, None, positions, &x);
                for (i, y) in y.iter().enumerate() {
                    assert_eq!(y.is_nan(), i / rows == 4, "{} {}", entry.tensor_type.name(), isa.name());
                }
                let alone = entry.linear(scales, isa, weight, None, 1, &x[4 * cols..5 * cols]);
                assert!(alone.iter().all(|y| y.is_nan()));
            }
        }
    }
}

#[test]
fn a_non_finite_weight_scale_is_never_a_finite_output() {
    let mut random = Random::new(7);
    for (entry, scales) in each() {
        let cols = 512;
        let mut bytes = weights(entry.tensor_type, 1, cols, Fill::Random, &mut random);
        set_factors(entry.tensor_type, &mut bytes, f32::INFINITY, 0.5);
        let weight = Matrix::new(entry.tensor_type, 1, cols, &bytes).unwrap();
        for x in [activations(cols, &mut random), vec![0.0; cols]] {
            for isa in isas() {
                assert!(!entry.linear(scales, isa, weight, None, 1, &x)[0].is_finite());
            }
        }
    }
}

#[test]
fn empty_shapes_are_empty_or_the_bias() {
    for (entry, scales) in each() {
        let weight = Matrix::new(entry.tensor_type, 3, 0, &[]).unwrap();
        assert_eq!(entry.linear(scales, Isa::detect(), weight, Some(&[1.0, 2.0, 3.0]), 1, &[]), [1.0, 2.0, 3.0]);
        let weight = Matrix::new(entry.tensor_type, 0, 256, &[]).unwrap();
        assert!(entry.linear(scales, Isa::detect(), weight, None, 1, &[0.5; 256]).is_empty());
        let bytes = vec![0; entry.tensor_type.bytes_of(256).unwrap() as usize];
        let weight = Matrix::new(entry.tensor_type, 1, 256, &bytes).unwrap();
        assert!(entry.linear(scales, Isa::detect(), weight, None, 0, &[]).is_empty());
    }
}

#[test]
fn threads_change_nothing_for_one_position() {
    let mut random = Random::new(8);
    for (entry, scales) in each() {
        let (rows, cols) = (650, 512);
        assert!(rows * cols > crate::columns::SERIAL_MACS, "the rows must be shared out");
        let bytes = weights(entry.tensor_type, rows, cols, Fill::Random, &mut random);
        let weight = Matrix::new(entry.tensor_type, rows, cols, &bytes).unwrap();
        let (x, bias) = (activations(cols, &mut random), activations(rows, &mut random));
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            bits(&pool.install(|| entry.linear(scales, Isa::detect(), weight, Some(&bias), 1, &x)))
        };
        let row = |i: usize| {
            entry.linear(scales, Isa::PORTABLE, weight.rows_of(i..i + 1), Some(&bias[i..=i]), 1, &x)[0].to_bits()
        };
        assert_eq!(with(1), with(2));
        assert_eq!(with(3), (0..rows).map(row).collect::<Vec<_>>());
    }
}

fn assert_halves<S: Bytes>(s: S) {
    for bits in 0..=u16::MAX {
        let (ours, half) = (s.half(bits), half::f16::from_bits(bits).to_f32());
        assert!(ours.to_bits() == half.to_bits() || ours.is_nan() && half.is_nan(), "{bits:#x}");
    }
}

#[test]
fn every_f16_widens_exactly() {
    assert_halves(Portable);
    #[cfg(target_arch = "x86_64")]
    if let Some(s) = super::x86::Avx2::new(Isa::detect()) {
        assert_halves(s);
    }
}
