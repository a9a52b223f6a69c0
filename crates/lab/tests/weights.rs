//! Weights as causes: which tensors deserve more bits, and whether giving them more helps.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests; a skip is said")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use twinpath_engine::Model;
use twinpath_evidence::Attribution;
use twinpath_formats::gguf::{Gguf, write};
use twinpath_formats::{Container as _, TensorPlan, TensorType, Verify};
use twinpath_lab::Arithmetic;
use twinpath_lab::explain::{Detail, Ends, ExplainOptions, explain};
use twinpath_paths::Standalone;

fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// `base` with some tensors' types and bytes replaced.
fn replaced(base: &Path, tensors: &BTreeMap<String, (TensorType, Vec<u8>)>, out: &Path) {
    let file = Gguf::open(base).unwrap();
    let plans: Vec<TensorPlan> = (file.tensors().iter())
        .map(|t| TensorPlan::new(&t.name, tensors.get(&t.name).map_or(t.tensor_type, |n| n.0), &t.shape))
        .collect();
    write(out, file.metadata(), &plans, &mut |i, sink| {
        let entry = &file.tensors()[i];
        let bytes = tensors.get(&entry.name).map_or_else(|| file.bytes(entry), |n| &n.1);
        sink.write_all(bytes).map_err(|e| twinpath_formats::atomic::write_error(out, e))
    })
    .unwrap();
}

/// What B's weights do along the f32 path.
fn explained(a: &Path, b: &Path, prompts: &[Vec<u32>], detail: Detail) -> Attribution {
    let models = [a, b].map(|m| Model::open(m, Verify::All).unwrap());
    let plain = Arithmetic::Path(Box::new(Standalone::new()));
    let ends = Ends { model_a: &models[0], model_b: &models[1], a: ("a", &plain), b: ("b", &plain) };
    let options =
        ExplainOptions { detail, interactions: false, shapley: 0, alpha: 1e-3, seed: 1, hash: false, checkpoint: None };
    explain(ends, prompts, &options, &mut |_, _| {}).unwrap()
}

fn prompts(n: u32, tokens: u32) -> Vec<Vec<u32>> {
    (0..n).map(|p| (0..tokens).map(|i| (p * 131 + i * 977 + 5) % 4096).collect()).collect()
}

/// Q4_K codes without their lowest bit, or without the lowest three.
fn coarse(bytes: &[u8], coarser: bool) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(144) {
        block[16..].iter_mut().for_each(|b| *b &= if coarser { 0x88 } else { 0xee });
    }
    bytes
}

#[test]
fn changed_tensors_are_named_and_the_first_is_worth_most() {
    let base = repo("zoo/teacher-q4_k_m.gguf");
    let folder = tempfile::tempdir().unwrap();
    let file = Gguf::open(&base).unwrap();
    let names = ["blk.0.attn_q.weight", "blk.2.ffn_gate.weight", "blk.4.ffn_gate.weight", "blk.5.ffn_up.weight"];
    let coarse = names.map(|n| {
        let bytes = coarse(file.bytes(file.tensor(n).unwrap()), n == names[1]);
        (n.to_owned(), (TensorType::Q4K, bytes))
    });
    let all: BTreeMap<String, (TensorType, Vec<u8>)> = coarse.into_iter().collect();
    let b = folder.path().join("b.gguf");
    replaced(&base, &all, &b);
    let prompts = prompts(2, 12);
    let record = explained(&base, &b, &prompts, Detail::Sites);
    let mut found: Vec<&str> = record.tensors.iter().map(|t| t.tensor.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, names);
    let share: f64 = record.tensors.iter().map(|t| t.share).sum();
    assert!((share - 1.0).abs() < 1e-9 && (record.sum - 1.0).abs() < 1e-9, "{share} {}", record.sum);
    assert_eq!((record.unexplained, record.suspicious.len()), (0.0, 0));
    assert!(record.tensors.is_sorted_by(|a, b| a.per_weight() >= b.per_weight()));
    // Of the three feed-forward matrices, all of one size, giving the first its bits back does most.
    let kl = |name: &str| {
        let mut left = all.clone();
        left.remove(name);
        let file = folder.path().join("left.gguf");
        replaced(&base, &left, &file);
        explained(&base, &file, &prompts, Detail::Layers).kl
    };
    let order: Vec<&str> = record.tensors.iter().map(|t| t.tensor.as_str()).filter(|t| t.contains("ffn")).collect();
    let kls: Vec<f64> = order.iter().map(|name| kl(name)).collect();
    assert_eq!(order[0], names[1]);
    assert!(kls[0] < kls[1] && kls[0] < kls[2], "{order:?} {kls:?}");
}

#[test]
fn five_tensors_that_deserve_more_bits_gain_more_than_five_others_of_their_sizes() {
    let teacher = repo("../shared/teacher");
    let [f16, q4, q6] = ["f16", "q4_k_m", "q6_k"].map(|kind| teacher.join(format!("teacher-{kind}.gguf")));
    if !q6.is_file() {
        println!("SKIPPED: {} is not there", q6.display());
        return;
    }
    let prompts = prompts(4, 16);
    let record = explained(&f16, &q4, &prompts, Detail::Sites);
    assert!((record.sum - 1.0).abs() < 1e-9, "{}", record.sum);
    let better = Gguf::open(&q6).unwrap();
    // Those that are Q4_K: what is Q6_K has its bits.
    let candidates: Vec<_> = record.tensors.iter().filter(|t| t.to == "Q4_K").collect();
    let (best, rest) = candidates.split_at(5);
    let mut rest: Vec<_> = rest.iter().collect();
    let mut others = Vec::new();
    for tensor in best {
        // The one of this size that is worth least.
        let i = rest.iter().rposition(|t| t.weights == tensor.weights).unwrap();
        others.push(rest.remove(i).tensor.clone());
    }
    let best: Vec<String> = best.iter().map(|t| t.tensor.clone()).collect();
    let folder = tempfile::tempdir().unwrap();
    let kl = |names: &[String]| {
        let upgraded: BTreeMap<String, (TensorType, Vec<u8>)> = (names.iter())
            .map(|name| {
                let entry = better.tensor(name).unwrap();
                (name.clone(), (entry.tensor_type, better.bytes(entry).to_vec()))
            })
            .collect();
        let file = folder.path().join("upgraded.gguf");
        replaced(&q4, &upgraded, &file);
        explained(&f16, &file, &prompts, Detail::Layers).kl
    };
    let (with_best, with_others) = (kl(&best), kl(&others));
    println!("KL {} as it is; {with_best} with {best:?} in Q6_K; {with_others} with {others:?}", record.kl);
    assert!(with_best < with_others && with_best < record.kl, "{with_best} {with_others} {}", record.kl);
}
