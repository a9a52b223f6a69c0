//! Greedy continuations against those recorded from transformers and llama.cpp.
//!
//! Two engines that round activations to 8 bits may part although both are right: a rounding that falls the other way moves
//! the logits of this model by up to about 1.5 % (zoo/MODEL_CARD.md). So the tokens must be equal, or the margin
//! between the two best logits at the first difference must be below the drift measured there.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests, which show what they measured"
)]

use std::path::{Path, PathBuf};

use serde_json::Value;
use twinpath_engine::sampling::SamplingParams;
use twinpath_engine::{Model, NoProbe, Oracle, Rows, Session};
use twinpath_formats::Verify;
use twinpath_lab::generate::{GenerateOptions, generate};
use twinpath_lab::{Arithmetic, PathName};
use twinpath_paths::simd::Isa;

fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
}

fn last_logits<N: twinpath_engine::Numerics + ?Sized>(model: &Model, numerics: &N, tokens: &[u32]) -> Vec<f64> {
    let logits = Session::new(model, numerics).forward(tokens, Rows::Last, &mut NoProbe).unwrap();
    logits.data().iter().map(|x| twinpath_engine::Elem::to_f64(*x)).collect()
}

/// Checks each prompt's continuation along `path` against the recording of `engine`.
fn continues_as(path: &str, engine: &str) {
    let model = Model::open(&repo("zoo/teacher-q4_k_m.gguf"), Verify::All).unwrap();
    let arithmetic = Arithmetic::new(PathName::find(path).unwrap(), Isa::detect());
    let Arithmetic::Path(numerics) = &arithmetic else { panic!("{path} is a path") };
    let text = std::fs::read_to_string(repo("testdata/teacher/prompts.json")).unwrap();
    let prompts: Value = serde_json::from_str(&text).unwrap();
    let greedy = prompts["greedy"].as_array().unwrap();
    assert_eq!(greedy.len(), 3, "three prompts are recorded");
    for (i, recorded) in greedy.iter().enumerate() {
        let (prompt, expected) = (ids(&recorded["prompt_ids"]), ids(&recorded[engine]["ids"]));
        let options = GenerateOptions { tokens: expected.len(), sampling: SamplingParams::default() };
        let ours = generate(&model, &arithmetic, &prompt, &options, &|_| false, &mut |_| true).unwrap().tokens;
        assert_eq!(ours.len(), expected.len());
        let Some(at) = ours.iter().zip(&expected).position(|(a, b)| a != b) else {
            println!("{path} against {engine}, prompt {i}: all {} tokens equal", ours.len());
            continue;
        };
        let context: Vec<u32> = prompt.iter().chain(&ours[..at]).copied().collect();
        let logits = last_logits(&model, numerics.as_ref(), &context);
        let exact = last_logits(&model, &Oracle, &context);
        let margin = logits[ours[at] as usize] - logits[expected[at] as usize];
        // Both engines stray from the exact logits; ours is measured, theirs is of the same kind and size.
        let drift = logits.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("{path} against {engine}, prompt {i}: part at token {at}; margin {margin:.4}, drift {drift:.4}");
        assert!(margin <= drift, "prompt {i}, token {at}: margin {margin} is no rounding matter ({drift})");
    }
}

#[test]
fn standalone_continues_as_transformers_on_the_dequantised_weights() {
    continues_as("standalone", "hf_dequant_q4_k_m");
}

#[test]
fn fused_continues_as_llama_cpp() {
    continues_as("fused-q8k", "llama_cpp_q4_k_m");
}
