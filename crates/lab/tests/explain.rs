//! Shares that sum to the total, whatever the model, the prompt, the detail and the order.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use twinpath_engine::Model;
use twinpath_evidence::Attribution;
use twinpath_formats::Verify;
use twinpath_lab::explain::{Detail, ExplainOptions, explain};
use twinpath_lab::{Arithmetic, PathName};
use twinpath_paths::simd::Isa;

fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn run(model: &str, a: &str, b: &str, prompts: &[Vec<u32>], detail: Detail) -> Attribution {
    let model = Model::open(&repo(model), Verify::All).unwrap();
    let along = |name| Arithmetic::new(PathName::find(name).unwrap(), Isa::detect());
    let (arithmetic_a, arithmetic_b) = (along(a), along(b));
    let options = ExplainOptions { detail, interactions: true, seed: 1, hash: false };
    explain(&model, (a, &arithmetic_a), (b, &arithmetic_b), prompts, &options, &mut |_, _| {}).unwrap()
}

fn prompts(vocab: u32, n: u32) -> Vec<Vec<u32>> {
    (0..n).map(|p| (0..3 + p % 5).map(|i| (p * 131 + i * 977 + 5) % vocab).collect()).collect()
}

/// Each step is a difference of the logits that the next step starts from, so the sum of up to 111 projections telescopes
/// up to the rounding of f64 sums over at most 10^5 products: 10^5 * 2^-53 = 1e-11. The same holds backwards.
const SUM_BOUND: f64 = 1e-9;

#[test]
fn shares_sum_to_the_total_in_both_orders() {
    let cases = [
        ("zoo/teacher-q4_k_m.gguf", "standalone", "fused-q8k", 4096, 3),
        ("zoo/teacher-q4_k_m.gguf", "oracle", "fused-q8k", 4096, 2),
        ("testdata/tiny/qwen3/model.gguf", "oracle", "standalone", 64, 4),
        ("testdata/tiny/mistral-window/model.gguf", "standalone", "oracle", 64, 4),
    ];
    for (model, a, b, vocab, n) in cases {
        for detail in [Detail::Layers, Detail::Inside(vec![1]), Detail::Sites] {
            let name = format!("{model}: {a} to {b}, {detail:?}");
            let record = run(model, a, b, &prompts(vocab, n), detail);
            assert!((record.sum - 1.0).abs() <= SUM_BOUND, "{name}: forward sums to {}", record.sum);
            let interaction = record.interaction.unwrap();
            let reverse: f64 = record.groups.iter().filter_map(|g| g.reverse).sum();
            // The reverse chain ends at all residuals injected, which is B up to `closure`.
            assert!((reverse - 1.0).abs() <= SUM_BOUND + interaction.closure, "{name}: reverse sums to {reverse}");
            let kl: f64 = record.groups.iter().map(|g| g.kl).sum();
            assert!((kl - record.kl).abs() <= SUM_BOUND, "{name}: KL steps sum to {kl}, not {}", record.kl);
            let energy: f64 = record.groups.iter().map(|g| g.energy).sum();
            assert!((energy - 1.0).abs() <= SUM_BOUND, "{name}: energies sum to {energy}");
        }
    }
}

#[test]
fn opening_a_layer_splits_its_share_and_leaves_the_others() {
    let all = prompts(4096, 3);
    let closed = run("zoo/teacher-q4_k_m.gguf", "standalone", "fused-q8k", &all, Detail::Layers);
    let opened = run("zoo/teacher-q4_k_m.gguf", "standalone", "fused-q8k", &all, Detail::Inside(vec![2]));
    let share = |r: &Attribution, name: &str| r.groups.iter().find(|g| g.group == name).map(|g| g.share.mean);
    assert_eq!(share(&closed, "blk.1"), share(&opened, "blk.1"));
    let inside: f64 = opened.groups.iter().filter(|g| g.group.starts_with("blk.2.")).map(|g| g.share.mean).sum();
    let whole = share(&closed, "blk.2").unwrap();
    assert!((inside - whole).abs() <= SUM_BOUND, "{inside} is not {whole}");
}

#[test]
fn a_path_against_itself_has_nothing_to_share() {
    let record = run("zoo/teacher-q4_k_m.gguf", "fused-q8k", "fused-q8k", &prompts(4096, 2), Detail::Layers);
    assert!(record.groups.iter().all(|g| g.energy == 0.0 && g.share.mean == 0.0));
    assert_eq!((record.relative_l2, record.kl), (0.0, 0.0));
}
