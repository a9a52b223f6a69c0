//! The bits of a path depend on its inputs alone: not on threads, not on how the prompt is cut, not on the instruction set.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use twinpath_engine::{Model, NoProbe, Rows, Session};
use twinpath_formats::Verify;
use twinpath_paths::PATHS;
use twinpath_paths::simd::Isa;

fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Logits of every position, run in calls of the given lengths, as bits.
fn logits(model: &Model, entry: usize, isa: Isa, tokens: &[u32], calls: &[usize]) -> Vec<u32> {
    let path = (PATHS[entry].new)(isa);
    let mut session = Session::new(model, path.as_ref());
    let mut bits = Vec::new();
    let mut rest = tokens;
    for n in calls {
        let (call, after) = rest.split_at(*n);
        rest = after;
        let logits = session.forward(call, Rows::All, &mut NoProbe).unwrap();
        bits.extend(logits.data().iter().map(|x| x.to_bits()));
    }
    assert!(rest.is_empty(), "all tokens were run");
    bits
}

fn on_threads<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
}

fn one_answer(model: &Path, tokens: &[u32]) {
    let model = Model::open(model, Verify::All).unwrap();
    let n = tokens.len();
    for (entry, path) in PATHS.iter().enumerate() {
        let whole = on_threads(1, || logits(&model, entry, Isa::PORTABLE, tokens, &[n]));
        for isa in Isa::all_available() {
            for threads in [1, 2, 3] {
                for calls in [vec![n], vec![1; n], vec![1, n - 6, 5]] {
                    let again = on_threads(threads, || logits(&model, entry, isa, tokens, &calls));
                    let different = whole.iter().zip(&again).filter(|(a, b)| a != b).count();
                    let (name, isa) = (path.name, isa.name());
                    assert_eq!(different, 0, "{name} on {isa}, {threads} threads, calls {calls:?}: bits differ");
                }
            }
        }
    }
}

#[test]
fn q4_k_m_model() {
    let tokens: Vec<u32> = (0..19).map(|i| (i * 397 + 11) % 4096).collect();
    one_answer(&repo("zoo/teacher-q4_k_m.gguf"), &tokens);
}

#[test]
fn f32_model_with_a_sliding_window() {
    let tokens: Vec<u32> = (0..24).map(|i| (i * 29 + 7) % 64).collect();
    one_answer(&repo("testdata/tiny/mistral-window/model.gguf"), &tokens);
}
