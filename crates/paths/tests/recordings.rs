//! The oracle and the standalone path against activations recorded by other implementations.
//!
//! `tools/README.md` says how the recordings in the repository were made; those of the teacher model come from
//! transformers in f32 and from a numpy forward pass in f64.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests, which show what they measured"
)]

mod support;

use std::path::Path;

use support::{Keep, Recording, in_hf_order, relative_l2, repo, shared_teacher, top1};
use twinpath_engine::{Model, Numerics, Oracle, Rows, Session, Site, Tensor};
use twinpath_formats::Verify;
use twinpath_paths::Standalone;

/// Relative L2 between two f32 evaluations of one site, each with its own order of additions.
///
/// One f32 dot of length n errs by about sqrt(n) u relative to its terms (u = 2^-24), 1.7e-6 at n = 768; some twenty of
/// them in sequence, with the residual stream carrying the error on, stay below 1e-5. The same bound is 2000 times below
/// the drift of an 8-bit path.
const F32_BOUND: f64 = 1e-5;

/// Relative L2 between two f64 evaluations of the same weights: the f32 reasoning with u = 2^-53 gives 2e-14; the factor
/// left is for the different exp and pow of two libraries and is 10^5 below any f32 mistake.
const F64_BOUND: f64 = 1e-11;

/// The recordings of dequantised weights were made from weights rounded to f32, a relative change of at most 6e-8 each,
/// which a forward pass carries on with the gain of an f32 error.
const ROUNDED_WEIGHTS_BOUND: f64 = 1e-6;

fn run<N: Numerics>(model: &Model, numerics: &N, tokens: &[u32]) -> (Keep, Tensor<N::Elem>) {
    let mut keep = Keep::default();
    let logits = Session::new(model, numerics).forward(tokens, Rows::All, &mut keep).unwrap();
    (keep, logits)
}

/// Every recorded site of every layer against ours; returns the worst.
fn worst_site(model: &Model, keep: &Keep, recording: &Recording) -> (f64, Site) {
    let sites = recording.sites();
    let layers = model.config().layers;
    // 16 sites of a layer are recorded, or 18 with q and k norms.
    assert!(sites.len() >= 3 + 15 * layers, "only {} sites are recorded", sites.len());
    let drift = |(site, recorded): (&Site, &&Tensor<f32>)| {
        let ours = keep.0.get(site).unwrap_or_else(|| panic!("{site} was not computed"));
        (relative_l2(&in_hf_order(model.config(), *site, ours), recorded), *site)
    };
    sites.iter().map(drift).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

fn agrees_everywhere(name: &str, model: &Model, recording: &Recording, logits_bound: f64) {
    let (keep, logits) = run(model, &Oracle, &recording.tokens);
    let exact = relative_l2(&logits, &recording.logits);
    assert!(exact <= logits_bound, "{name}: oracle logits are {exact:e} from the f64 recording");
    let (worst, site) = worst_site(model, &keep, recording);
    println!("{name}: oracle: logits {exact:.1e} from f64; worst site against f32 {site} {worst:.1e}");
    assert!(worst <= F32_BOUND, "{name}: oracle at {site}: {worst:e}");

    let (keep, logits) = run(model, &Standalone::new(), &recording.tokens);
    let (worst, site) = worst_site(model, &keep, recording);
    println!("{name}: standalone: worst site {site} {worst:.1e}");
    assert!(worst <= F32_BOUND, "{name}: standalone at {site}: {worst:e}");
    assert_eq!(top1(&logits), top1(&recording.logits), "{name}: most likely tokens");
}

fn tiny(name: &str, logits_bound: f64) {
    let folder = repo("testdata/tiny").join(name);
    let recording = Recording::open(&folder.join("recording.safetensors"));
    let hf = Model::open(&folder, Verify::All).unwrap();
    agrees_everywhere(&format!("{name} (hf)"), &hf, &recording, F64_BOUND);
    let gguf = Model::open(&folder.join("model.gguf"), Verify::All).unwrap();
    agrees_everywhere(&format!("{name} (gguf)"), &gguf, &recording, logits_bound);
}

#[test]
fn llama_with_grouped_queries_and_adjacent_pairs() {
    tiny("llama-gqa4", GGUF_F64_BOUND);
}

/// GGUF holds eps as f32, 2.5e-8 off 1e-6 in relative terms; it enters a norm as eps / (2 mean square), so below 1e-8.
const GGUF_F64_BOUND: f64 = 1e-8;

#[test]
fn llama_with_linear_scaling_and_tied_head() {
    tiny("llama-linear", GGUF_F64_BOUND);
}

/// `rope_freqs.weight` holds the factors as f32: angles up to 48 rad move by 48 * 6e-8 = 3e-6 rad at most, and the logits
/// by as much in relative terms.
const ROUNDED_FACTORS_BOUND: f64 = 3e-6;

#[test]
fn llama_3_scaling() {
    tiny("llama3-rope", ROUNDED_FACTORS_BOUND);
}

#[test]
fn mistral_with_sliding_window() {
    tiny("mistral-window", GGUF_F64_BOUND);
}

#[test]
fn qwen2_with_yarn() {
    tiny("qwen2-yarn", GGUF_F64_BOUND);
}

#[test]
fn qwen2_with_window_in_some_layers() {
    tiny("qwen2-window", GGUF_F64_BOUND);
}

#[test]
fn qwen3_with_head_norms() {
    tiny("qwen3", GGUF_F64_BOUND);
}

#[test]
fn older_spelling_of_the_config_means_the_same() {
    for name in ["llama-linear", "llama3-rope", "mistral-window", "qwen2-yarn", "qwen2-window"] {
        let folder = repo("testdata/tiny").join(name);
        let scratch = tempfile::tempdir().unwrap();
        std::fs::copy(folder.join("config_v4.json"), scratch.path().join("config.json")).unwrap();
        std::fs::copy(folder.join("model.safetensors"), scratch.path().join("model.safetensors")).unwrap();
        let old = Model::open(scratch.path(), Verify::All).unwrap();
        assert_eq!(old.config(), Model::open(&folder, Verify::All).unwrap().config(), "{name}");
    }
}

#[test]
fn teacher_q4_k_m_against_transformers_on_the_dequantised_weights() {
    let model = Model::open(&repo("zoo/teacher-q4_k_m.gguf"), Verify::All).unwrap();
    let recording = Recording::open(&repo("testdata/teacher/prompt0.dequant_q4_k_m.safetensors"));
    agrees_everywhere("teacher Q4_K_M, prompt 0", &model, &recording, ROUNDED_WEIGHTS_BOUND);
    if let Some(folder) = shared_teacher("teacher Q4_K_M, prompt 1") {
        let recording = Recording::open(&folder.join("oracle/prompt1.dequant_q4_k_m.safetensors"));
        agrees_everywhere("teacher Q4_K_M, prompt 1", &model, &recording, ROUNDED_WEIGHTS_BOUND);
    }
}

#[test]
fn teacher_in_f32_against_transformers() {
    let Some(folder) = shared_teacher("teacher in f32, two prompts") else { return };
    let model = Model::open(&folder.join("hf"), Verify::All).unwrap();
    for prompt in ["prompt0", "prompt1"] {
        let recording = Recording::open(&folder.join("oracle").join(format!("{prompt}.f32.safetensors")));
        agrees_everywhere(&format!("teacher f32, {prompt}"), &model, &recording, F64_BOUND);
    }
}

/// `standalone` against the oracle on one file: both decode the same numbers, so all that is left is f32 arithmetic.
#[test]
fn teacher_in_other_types_along_standalone_is_f32_close_to_the_oracle() {
    let Some(folder) = shared_teacher("teacher in F16, Q8_0 and Q6_K") else { return };
    let tokens = Recording::open(&folder.join("oracle/prompt0.f32.safetensors")).tokens;
    for name in ["teacher-f16.gguf", "teacher-q8_0.gguf", "teacher-q6_k.gguf"] {
        let model = Model::open(Path::new(&folder.join(name)), Verify::All).unwrap();
        let (oracle, _) = run(&model, &Oracle, &tokens);
        let (ours, _) = run(&model, &Standalone::new(), &tokens);
        let drift = |site: &Site| relative_l2(&ours.0[site], &oracle.0[site]);
        let (worst, site) = oracle.0.keys().map(|s| (drift(s), *s)).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        println!("{name}: worst site {site} {worst:.1e}");
        assert!(worst <= F32_BOUND, "{name}: {site}: {worst:e}");
    }
}
