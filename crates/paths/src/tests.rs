//! What every path promises: bits that depend on nothing but the inputs.

use twinpath_engine::{Mask, Op, Pairing, Point, Rope, Site, Tensor};
use twinpath_formats::Matrix;
use twinpath_formats::quant::FORMATS;

use crate::simd::Isa;
use crate::test_values::{Random, blocks};
use crate::{PATHS, Path, PathEntry, path};

/// Files of `src` that are no path.
const SUPPORT: &[&str] =
    &["lib", "tests", "columns", "test_values", "f32_ops", "limits", "lines", "math", "memory", "pieces", "q8", "team"];

#[test]
fn every_file_of_the_folder_is_in_paths() {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap();
    let mut stems: Vec<String> = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|stem| !SUPPORT.contains(&stem.as_str()))
        .map(|stem| stem.replace('_', "-"))
        .collect();
    stems.sort();
    let mut names: Vec<&str> = PATHS.iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    assert_eq!(stems, names);
}

#[test]
fn paths_are_found_by_name_and_name_their_kernels() {
    for PathEntry { name, new } in PATHS {
        assert_eq!(path(name).unwrap().name(), *name);
        for isa in Isa::all_available() {
            let path = new(isa);
            assert_eq!(path.name(), *name);
            assert!(path.kernels().contains(isa.name()), "{} does not name {}", path.kernels(), isa.name());
            assert!(!path.describe().is_empty());
        }
    }
    assert!(path("no-such-path").is_none());
}

fn eval(path: &dyn Path, op: &Op<'_>, inputs: &[&Tensor<f32>]) -> Tensor<f32> {
    path.eval(Site::outer(Point::Embed), op, inputs)
}

fn bits(x: &Tensor<f32>) -> (usize, usize, Vec<u32>) {
    (x.rows(), x.cols(), x.data().iter().map(|x| x.to_bits()).collect())
}

/// The value of an op must be that of portable code on one thread, on every instruction set and on two threads.
fn assert_one_value(new: fn(Isa) -> Box<dyn Path>, what: &str, op: &Op<'_>, inputs: &[&Tensor<f32>]) -> Tensor<f32> {
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    let (one, two) = (pool(1), pool(2));
    let expected = one.install(|| eval(&*new(Isa::PORTABLE), op, inputs));
    for isa in Isa::all_available() {
        let path = new(isa);
        for (threads, pool) in [(1, &one), (2, &two)] {
            let found = pool.install(|| eval(&*path, op, inputs));
            let name = (path.name(), isa.name());
            assert!(bits(&found) == bits(&expected), "{name:?} on {threads} threads, {what}: other bits");
        }
    }
    expected
}

fn row(x: &Tensor<f32>, t: usize) -> Tensor<f32> {
    Tensor::new(1, x.cols(), x.row(t).to_vec())
}

#[test]
fn linear_has_one_value_for_every_format_instruction_set_thread_count_and_batch() {
    let mut random = Random::new(10);
    for PathEntry { new, .. } in PATHS {
        for f in FORMATS {
            let block = f.block_len();
            // Around the block, the 16 lanes, the strip of 1024 columns; rows around the tile; batches around 128.
            let shapes = [(1, 1, 0), (1, 0, 2), (1, 1, 1), (2, 7, 3), (1023, 8, 2), (1040, 9, 4), (256, 3, 130)];
            for (cols, rows, positions) in shapes {
                let cols = (cols as usize).next_multiple_of(block);
                let bytes = blocks(f.tensor_type(), rows * (cols / block), &mut random);
                let weight = Matrix::new(f.tensor_type(), rows, cols, &bytes).unwrap();
                let bias = random.values(rows);
                let x = random.tensor(positions, cols);
                for bias in [None, Some(&*bias)] {
                    let op = Op::Linear { weight, bias };
                    let what = format!("{} {rows} x {cols}, {positions} positions", f.name());
                    let all = assert_one_value(*new, &what, &op, &[&x]);
                    assert_eq!((all.rows(), all.cols()), (positions, rows), "{what}");
                    for t in (0..positions).step_by(positions.div_ceil(4).max(1)) {
                        let single = eval(&*new(Isa::detect()), &op, &[&row(&x, t)]);
                        assert!(bits(&single) == bits(&row(&all, t)), "{what}: position {t} alone has other bits");
                    }
                }
            }
        }
    }
}

#[test]
fn embedding_has_one_value() {
    let mut random = Random::new(11);
    for PathEntry { new, .. } in PATHS {
        for f in FORMATS {
            let cols = f.block_len() * 3;
            let bytes = blocks(f.tensor_type(), 5 * 3, &mut random);
            let table = Matrix::new(f.tensor_type(), 5, cols, &bytes).unwrap();
            let value = assert_one_value(*new, f.name(), &Op::Embed { table, tokens: &[4, 0, 4] }, &[]);
            let mut exact = vec![0.0; cols];
            for (t, token) in [4, 0, 4].into_iter().enumerate() {
                table.decode_row(token, &mut exact);
                let rounded: Vec<f32> = exact.iter().map(|x| *x as f32).collect();
                assert_eq!(value.row(t), rounded, "{}", f.name());
            }
            assert_eq!(assert_one_value(*new, "no token", &Op::Embed { table, tokens: &[] }, &[]).rows(), 0);
        }
    }
}

#[test]
fn ops_without_weight_matrices_have_one_value_also_row_by_row() {
    let mut random = Random::new(12);
    let (heads, kv_heads) = (6, 2);
    for PathEntry { new, .. } in PATHS {
        for (dim, rows, start) in [(2, 0, 0), (2, 1, 0), (16, 3, 0), (30, 5, 14), (64, 4, 70), (66, 33, 480)] {
            let keys = start + rows;
            let (q, k) = (random.tensor(rows, heads * dim), random.tensor(keys, kv_heads * dim));
            let (scores, other) = (random.tensor(rows, heads * keys), random.tensor(rows, heads * dim));
            let weight = random.values(dim);
            let frequencies = (0..dim / 2).map(|i| 0.9 / (i + 1) as f64).collect();
            let rope = Rope { pairing: Pairing::HalfSplit, frequencies, magnitude: 1.25 };
            let window = Mask { start, window: Some(7) };
            let all = Mask { start, window: None };
            let at = |mask: Mask, t| Mask { start: mask.start + t, ..mask };
            let scale = 0.3;
            type Case<'a> = (&'a str, Vec<&'a Tensor<f32>>, usize, Box<dyn Fn(usize) -> Op<'a> + 'a>);
            let rope = &rope;
            let weight = &weight[..];
            // Name, inputs, how many of them have a row per position, the op for a call that begins at row t.
            let cases: Vec<Case<'_>> = vec![
                ("norm", vec![&q], 1, Box::new(move |_| Op::Norm { weight, eps: 1e-6 })),
                ("rope", vec![&q], 1, Box::new(move |t| Op::Rope { rope, heads, start: start + t })),
                ("scores", vec![&q, &k], 1, Box::new(move |_| Op::Scores { heads, kv_heads, scale })),
                ("softmax", vec![&scores], 1, Box::new(move |t| Op::Softmax { heads, mask: at(all, t) })),
                ("softmax, window", vec![&scores], 1, Box::new(move |t| Op::Softmax { heads, mask: at(window, t) })),
                ("mix", vec![&scores, &k], 1, Box::new(move |t| Op::Mix { heads, kv_heads, mask: at(all, t) })),
                ("silu", vec![&q], 1, Box::new(|_| Op::Silu)),
                ("multiply", vec![&q, &other], 2, Box::new(|_| Op::Multiply)),
                ("add", vec![&q, &other], 2, Box::new(|_| Op::Add)),
            ];
            for (what, inputs, per_position, op) in cases {
                let value = assert_one_value(*new, what, &op(0), &inputs);
                assert_eq!(value.rows(), rows, "{what}");
                for t in 0..rows {
                    let single: Vec<_> = inputs[..per_position].iter().map(|x| row(x, t)).collect();
                    let inputs: Vec<_> = single.iter().chain(inputs[per_position..].iter().copied()).collect();
                    let single = eval(&*new(Isa::detect()), &op(t), &inputs);
                    assert!(bits(&single) == bits(&row(&value, t)), "{what}: row {t} alone has other bits");
                }
            }
        }
    }
}
