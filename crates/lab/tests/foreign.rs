//! Recordings of other engines: judged op by op, and refused where they lie.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use twinpath_engine::Model;
use twinpath_evidence::{Comparison, Verdict};
use twinpath_formats::Verify;
use twinpath_lab::party::Source;
use twinpath_lab::trace::Trace;
use twinpath_lab::{Arithmetic, CompareOptions, OracleChoice, Party, PathName, compare};
use twinpath_paths::simd::Isa;

fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// `trace` against `model` along `path`.
fn judge(model: &str, path: &str, trace: &Path) -> Comparison {
    let model = Model::open(&repo(model), Verify::All).unwrap();
    let arithmetic = Arithmetic::new(PathName::find(path).unwrap(), Isa::detect());
    let trace = Trace::of(trace, model.config(), None).unwrap();
    let a = Party { label: "a".into(), source: Source::Model(&model, &arithmetic) };
    let b = Party { label: "b".into(), source: Source::Trace(&trace) };
    let options = CompareOptions {
        oracle: OracleChoice::Off,
        hash: false,
        replay: Some(1e-3),
        layers: OracleChoice::Off,
        statistical: false,
    };
    compare(&a, &b, &trace.header().tokens, options, &mut |_, _| {}).unwrap()
}

/// Verdicts of all sites by word.
fn words(record: &Comparison) -> Vec<(String, usize)> {
    record.judgement.as_ref().unwrap().counts.clone()
}

#[test]
fn every_site_of_transformers_is_explained() {
    let record =
        judge("zoo/teacher-q4_k_m.gguf", "standalone", &repo("testdata/teacher/prompt0.dequant_q4_k_m.safetensors"));
    for s in &record.sites {
        let fine = matches!(s.verdict, Some(Verdict::Explained { .. } | Verdict::Identical));
        assert!(fine, "{}: {:?}", s.site, s.verdict);
    }
    assert_eq!(record.exit_code(), 0, "{:?}", record.outcome);
    let coverage = record.coverage.unwrap();
    // Scores, probabilities and SiLU are missing in each of six layers.
    assert_eq!((coverage.recorded, coverage.judged, coverage.expected), (93, 111, 111));
    assert_eq!(coverage.unjudged, Vec::<String>::new());
}

#[test]
fn every_family_of_transformers_is_explained() {
    for folder in ["llama-gqa4", "llama-linear", "llama3-rope", "mistral-window", "qwen2-window", "qwen2-yarn", "qwen3"]
    {
        let recording = repo(&format!("testdata/tiny/{folder}/recording.safetensors"));
        for model in ["model.gguf", ""] {
            let record = judge(&format!("testdata/tiny/{folder}/{model}"), "standalone", &recording);
            for s in &record.sites {
                let fine = matches!(s.verdict, Some(Verdict::Explained { .. } | Verdict::Identical));
                assert!(fine, "{folder}/{model} {}: {:?} {:?}", s.site, s.verdict, words(&record));
            }
            assert_eq!(record.exit_code(), 0, "{folder}: {:?}", record.outcome);
        }
    }
}

#[test]
fn every_site_of_llama_cpp_is_explained_on_the_fused_path() {
    let record = judge("zoo/teacher-q4_k_m.gguf", "fused-q8k", &repo("testdata/recordings/llama_cpp.safetensors"));
    for s in &record.sites {
        let fine = matches!(s.verdict, Some(Verdict::Explained { .. } | Verdict::Identical));
        assert!(fine, "{}: {:?}", s.site, s.verdict);
    }
    assert_eq!(record.exit_code(), 0, "{:?}", record.outcome);
    let coverage = record.coverage.unwrap();
    // Its graph has one node for SiLU and its product.
    assert_eq!((coverage.recorded, coverage.judged, coverage.expected), (105, 111, 111));
}

#[test]
fn a_hugging_face_recording_with_scores_and_activations_is_whole() {
    let record = judge("zoo/teacher-q4_k_m.gguf", "standalone", &repo("testdata/recordings/transformers.safetensors"));
    assert_eq!(record.exit_code(), 0, "{:?}", words(&record));
    let coverage = record.coverage.unwrap();
    assert_eq!((coverage.recorded, coverage.expected), (111, 111));
}

#[test]
fn a_missing_value_that_two_ops_read_is_counted_once() {
    let whole = repo("testdata/tiny/qwen3/recording.safetensors");
    let bytes = std::fs::read(&whole).unwrap();
    let arrays = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let others = arrays.tensors().into_iter().filter(|(name, _)| name != "model.layers.0.resid_mid");
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.safetensors");
    std::fs::write(&cut, safetensors::serialize(others, None).unwrap()).unwrap();
    let [whole, cut] =
        [whole, cut].map(|file| judge("testdata/tiny/qwen3/model.gguf", "standalone", &file).coverage.unwrap());
    let readers: Vec<&String> =
        cut.judged_with.iter().filter(|(m, _)| m == "blk.0.attn_residual").map(|p| &p.1).collect();
    assert_eq!(readers, ["blk.0.ffn_norm", "blk.0.output"]);
    assert_eq!((cut.recorded, cut.judged, cut.expected), (whole.recorded - 1, whole.judged, whole.expected));
    assert_eq!(cut.judged, cut.expected);
}

/// The first unexplained site.
fn first(record: &Comparison) -> Option<&str> {
    assert_eq!(record.exit_code(), 1, "{:?}", words(record));
    record.judgement.as_ref().unwrap().first_unexplained.as_deref()
}

#[test]
fn llama_cpp_with_another_rope_base_is_wrong_first_at_the_first_rope() {
    let record =
        judge("zoo/teacher-q4_k_m.gguf", "fused-q8k", &repo("testdata/recordings/llama_cpp-theta.safetensors"));
    assert_eq!(first(&record), Some("blk.0.q_rope"));
    let wrong = |s: &&twinpath_evidence::SiteRecord| matches!(s.verdict, Some(Verdict::Unexplained { .. }));
    let wrong: Vec<&str> = record.sites.iter().filter(wrong).map(|s| s.site.as_str()).collect();
    assert_eq!(wrong, ["blk.0.q_rope", "blk.0.k_rope"], "what is made of the rotated values is right again");
}

#[test]
fn llama_cpp_with_another_eps_is_wrong_first_at_the_first_norm() {
    let record = judge("zoo/teacher-q4_k_m.gguf", "fused-q8k", &repo("testdata/recordings/llama_cpp-eps.safetensors"));
    assert_eq!(first(&record), Some("blk.0.attn_norm"));
}

#[test]
fn llama_cpp_with_one_edited_byte_of_one_tensor_is_wrong_at_its_op() {
    let record =
        judge("zoo/teacher-q4_k_m.gguf", "fused-q8k", &repo("testdata/recordings/llama_cpp-edited.safetensors"));
    assert_eq!(first(&record), Some("blk.2.ffn_up"));
    let wrong = record.sites.iter().filter(|s| matches!(s.verdict, Some(Verdict::Unexplained { .. }))).count();
    assert_eq!(wrong, 1);
}

#[test]
fn flash_attention_is_explained_as_one_op() {
    let path = repo("testdata/recordings/llama_cpp-flash.safetensors");
    let record = judge("zoo/teacher-q4_k_m.gguf", "fused-q8k", &path);
    let mix = record.sites.iter().find(|s| s.site == "blk.0.attn_ctx").unwrap();
    assert_eq!(mix.covers, ["blk.0.attn_scores", "blk.0.attn_probs"]);
    assert!(matches!(mix.verdict, Some(Verdict::Explained { .. })), "{:?}", mix.verdict);
}

#[test]
fn a_cache_of_another_type_than_declared_is_seen_at_the_scores() {
    // The recording says f16, and nothing in it is unexplained; read as f32 it is.
    let path = repo("testdata/recordings/llama_cpp-kv-f16.safetensors");
    let record = judge("zoo/teacher-q4_k_m.gguf", "fused-q8k", &path);
    let words = words(&record);
    assert!(words.iter().all(|(word, _)| word != "UNEXPLAINED"), "{words:?}");
    let folder = tempfile::tempdir().unwrap();
    let lying = folder.path().join("lying.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let (from, to) = (br#"kv\": \"f16"#, br#"kv\": \"f32"#);
    let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
    let mut changed = bytes.clone();
    changed[at..at + to.len()].copy_from_slice(to);
    std::fs::write(&lying, changed).unwrap();
    assert_eq!(first(&judge("zoo/teacher-q4_k_m.gguf", "fused-q8k", &lying)), Some("blk.0.attn_scores"));
}
