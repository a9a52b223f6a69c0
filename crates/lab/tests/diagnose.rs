//! Planted mistakes that must be named, and faithful runs in which nothing may be.

use std::path::{Path as FilePath, PathBuf};

use safetensors::SafeTensors;
use twinpath_engine::Model;
use twinpath_evidence::{Diagnosis, SiteDiagnosis, Verdict};
use twinpath_formats::Verify;
use twinpath_lab::diagnose::{DiagnoseOptions, Plant, diagnose};
use twinpath_lab::party::Source;
use twinpath_lab::suspects::{HEADINGS, SUSPECTS};
use twinpath_lab::trace::{Selection, Trace, record};
use twinpath_lab::{Arithmetic, Party};
use twinpath_paths::{FusedQ8k, Path, Standalone};

const OPTIONS: DiagnoseOptions = DiagnoseOptions { alpha: 1e-3, hash: false, keep: 5 };
const TOKENS: [u32; 12] = [636, 864, 1548, 1547, 2206, 199, 257, 12, 90, 1111, 2222, 3333];

fn open(path: &str) -> Model {
    let path: PathBuf = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    Model::open(&path, Verify::All).expect("the test models are sound")
}

fn teacher() -> Model {
    open("zoo/teacher-q4_k_m.gguf")
}

fn party<'m>(model: &'m Model, arithmetic: &'m Arithmetic) -> Party<'m> {
    Party { label: "m".into(), source: Source::Model(model, arithmetic) }
}

/// `model` against itself with a mistake in it.
fn planted(model: &Model, path: fn() -> Box<dyn Path>, mistake: &str, tokens: &[u32]) -> Diagnosis {
    let right = Arithmetic::Path(path());
    let a = party(model, &right);
    let wrong = Plant::parse(mistake).plant(&a, path(), tokens).expect("the model has such a site");
    let wrong = Arithmetic::Path(Box::new(wrong));
    diagnose(&a, &party(model, &wrong), tokens, OPTIONS, &mut |_, _| {}).expect("the tokens fit")
}

fn names(record: &Diagnosis) -> Vec<String> {
    record.named.iter().map(|n| format!("{}: {} at {}", n.suspect, n.parameter, n.sites.join(" "))).collect()
}

#[test]
fn every_suspect_has_its_page() {
    for suspect in SUSPECTS {
        for heading in HEADINGS {
            assert!(!suspect.section(heading).is_empty(), "{} has no `{heading}`", suspect.name);
        }
        assert_eq!(SUSPECTS.iter().filter(|s| s.name == suspect.name).count(), 1, "{}", suspect.name);
    }
}

/// Mistakes at one site of the bundled model, as packed.
const OF_TEACHER: [&str; 27] = [
    "rope-pairing=2i with 2i + 1@blk.1.q_rope",
    "rope-theta=theta 10000@blk.2.k_rope",
    "rope-theta=theta 500000@blk.2.k_rope",
    "rope-scaling=linear, factor 4@blk.0.q_rope",
    "rope-dims=not turned, or all at position 0@blk.3.q_rope",
    "position-offset=off by +1@blk.4.k_rope",
    "rope-precision=angles in bf16@blk.4.q_rope",
    "bias=left out@blk.1.q",
    "bias=added twice@blk.5.k",
    "head-rows=halves interleaved, by 4 heads@blk.2.q",
    "norm-offset=weight + 1@blk.3.attn_norm",
    "norm-order=mean subtracted@blk.3.ffn_norm",
    "activation=GELU (tanh)@blk.0.ffn_silu",
    "activation=GELU (erf)@blk.0.ffn_silu",
    "gate-up=taken for one another@blk.2.ffn_up",
    "head-mapping=h mod kv heads@blk.1.attn_scores",
    "attention-scale=1 / head dimension@blk.1.attn_scores",
    "softcap=cap 50@blk.1.attn_scores",
    "window=window 4 imposed@blk.5.attn_probs",
    "embedding-scale=times sqrt(hidden)@embed",
    "scale-bits=high bits of groups 4 to 7 lost@blk.2.ffn_gate",
    "nibbles=halves of each byte exchanged@blk.2.k",
    "tail=last 32 of 256 columns left out@blk.1.ffn_up",
    "other-layer=blk.2.ffn_up used@blk.1.ffn_up",
    "number-type=kept in bf16@blk.3.ffn_swiglu",
    "bos=doubled@embed",
    "stored-bytes=byte 55368 is 88, not 80@blk.4.ffn_gate",
];

#[test]
fn mistakes_planted_in_one_site_are_named_there() {
    let model = teacher();
    let mut wrong = Vec::new();
    for path in [|| Box::new(Standalone::new()) as Box<dyn Path>, || Box::new(FusedQ8k::new()) as Box<dyn Path>] {
        for mistake in OF_TEACHER {
            let record = planted(&model, path, mistake, &TOKENS);
            let (rest, site) = mistake.rsplit_once('@').unwrap();
            let (name, parameter) = rest.split_once('=').unwrap();
            let answer = (names(&record), record.unnamed.len(), record.exit_code(), record.first_unexplained.clone());
            if answer != (vec![format!("{name}: {parameter} at {site}")], 0, 1, Some(site.to_owned())) {
                wrong.push(format!("{mistake} along {}: {answer:?}", record.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_faithful_run_has_nothing_to_name() {
    let model = teacher();
    for path in [Arithmetic::Path(Box::new(Standalone::new())), Arithmetic::Path(Box::new(FusedQ8k::new()))] {
        let record = diagnose(&party(&model, &path), &party(&model, &path), &TOKENS, OPTIONS, &mut |_, _| {}).unwrap();
        assert_eq!((names(&record), record.exit_code()), (Vec::new(), 0));
        assert_eq!(record.sites.len(), 111);
        assert!(record.sites.iter().all(|s| s.limit.is_none_or(|l| l < 1e-4)), "a site's limit is no f32");
    }
}

#[test]
fn one_mistake_in_all_layers_is_named_once() {
    let model = open("testdata/tiny/llama-gqa4/model.gguf");
    let path = || Box::new(Standalone::new()) as Box<dyn Path>;
    let record = planted(&model, path, "rope-theta=theta 1e6@q_rope", &[1, 2, 3, 4, 5, 6]);
    assert_eq!((record.named.len(), record.named[0].suspect.as_str()), (1, "rope-theta"), "{:?}", names(&record));
    assert_eq!(record.named[0].sites.len(), model.config().layers);
}

/// A recording of another engine, judged by the bundled model.
fn of_engine(file: &FilePath) -> Diagnosis {
    let model = teacher();
    let path = Arithmetic::Path(Box::new(FusedQ8k::new()));
    let trace = Trace::of(file, model.config(), None).expect("its names are known");
    let b = Party { label: "t".into(), source: Source::Trace(&trace) };
    diagnose(&party(&model, &path), &b, &trace.header().tokens, OPTIONS, &mut |_, _| {}).expect("it fits")
}

fn recording(name: &str) -> PathBuf {
    FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

#[test]
fn faithful_engines_are_blamed_for_nothing() {
    for name in ["recordings/llama_cpp", "recordings/transformers", "teacher/prompt0.dequant_q4_k_m"] {
        let record = of_engine(&recording(&format!("{name}.safetensors")));
        assert_eq!((names(&record), record.unnamed.len(), record.exit_code()), (Vec::new(), 0, 0), "{name}");
        assert_eq!(record.first_unexplained, None);
        assert!(record.sites.len() >= 93, "{name}: {} sites", record.sites.len());
    }
    for name in ["flash", "kv-f16"] {
        // One layer only: of the others nothing can be said.
        let record = of_engine(&recording(&format!("recordings/llama_cpp-{name}.safetensors")));
        assert_eq!((names(&record), record.unnamed.len(), record.exit_code()), (Vec::new(), 0, 3), "{name}");
    }
}

#[test]
fn llama_cpp_with_another_rope_base_is_named() {
    let record = of_engine(&recording("recordings/llama_cpp-theta.safetensors"));
    assert_eq!(names(&record), ["rope-theta: theta 500000 at blk.0.q_rope blk.0.k_rope"]);
    assert_eq!((record.unnamed.len(), record.exit_code()), (0, 1));
}

#[test]
fn llama_cpp_with_another_eps_is_named() {
    let record = of_engine(&recording("recordings/llama_cpp-eps.safetensors"));
    let first = (record.named[0].suspect.as_str(), record.named[0].parameter.as_str());
    assert_eq!(first, ("norm-eps", "eps 1e-5"), "{:?}", names(&record));
    assert_eq!((record.named.len(), record.unnamed.len(), record.exit_code()), (1, 0, 1));
    assert_eq!(record.first_unexplained.as_deref(), Some("blk.0.attn_norm"));
}

#[test]
fn llama_cpp_with_an_edited_tensor_is_named_with_the_byte() {
    let record = of_engine(&recording("recordings/llama_cpp-edited.safetensors"));
    // `--edit blk.2.ffn_up.weight:148:200`.
    assert_eq!(record.named.len(), 1, "{:?}", names(&record));
    assert!(names(&record)[0].starts_with("stored-bytes: byte 148 is 200, not "), "{:?}", names(&record));
    assert!(names(&record)[0].ends_with(" at blk.2.ffn_up") && record.unnamed.is_empty());
}

#[test]
fn a_mistake_in_a_value_that_an_engine_does_not_show_is_named_where_it_shows() {
    let model = teacher();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.safetensors");
    drop(recorded(&model, "activation=GELU (tanh)@blk.3.ffn_silu", &[], &file));
    // As of another engine: without our header and without SiLU.
    let bytes = std::fs::read(&file).unwrap();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    let ids: Vec<u8> = TOKENS.iter().flat_map(|t| i64::from(*t).to_le_bytes()).collect();
    let ids = safetensors::tensor::TensorView::new(safetensors::Dtype::I64, vec![TOKENS.len()], &ids).unwrap();
    let mut kept: Vec<_> = all.tensors().into_iter().filter(|(name, _)| !name.ends_with("ffn_silu")).collect();
    kept.push(("input_ids".to_owned(), ids));
    let foreign = folder.path().join("foreign.safetensors");
    safetensors::serialize_to_file(kept, None, &foreign).unwrap();
    assert_eq!(names(&of_engine(&foreign)), ["activation: GELU (tanh) at blk.3.ffn_swiglu"]);
}

/// A recording of `model` with a mistake in it, without the values of some sites.
fn recorded(model: &Model, mistake: &str, without: &[&str], file: &FilePath) -> Trace {
    let right = Arithmetic::Path(Box::new(Standalone::new()));
    let wrong = Plant::parse(mistake).plant(&party(model, &right), Box::new(Standalone::new()), &TOKENS);
    let wrong = Arithmetic::Path(Box::new(wrong.expect("the model has such a site")));
    record(&party(model, &wrong), model, &TOKENS, Selection::All, file, &mut |_, _| {}).expect("there is room");
    let bytes = std::fs::read(file).expect("it was written");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("it is sound");
    let all = SafeTensors::deserialize(&bytes).expect("it is sound");
    let kept = all.tensors().into_iter().filter(|(name, _)| !without.contains(&name.as_str()));
    safetensors::serialize_to_file(kept, header.metadata().clone(), file).expect("there is room");
    Trace::open(file).expect("it is a recording")
}

#[test]
fn a_recording_is_judged_where_inputs_were_recorded_and_is_inconclusive_elsewhere() {
    let model = teacher();
    let folder = tempfile::tempdir().unwrap();
    let path = Arithmetic::Path(Box::new(Standalone::new()));
    let judge = |trace: &Trace| {
        let b = Party { label: "t".into(), source: Source::Trace(trace) };
        diagnose(&party(&model, &path), &b, &TOKENS, OPTIONS, &mut |_, _| {}).unwrap()
    };
    let mistake = "norm-offset=weight + 1@blk.3.attn_norm";
    let record = judge(&recorded(&model, mistake, &[], &folder.path().join("all.safetensors")));
    assert_eq!(names(&record), ["norm-offset: weight + 1 at blk.3.attn_norm"]);
    assert_eq!(record.exit_code(), 1);
    // Keys, a block's end and the norm itself are missing: what is made of them is not judged, and nothing is blamed.
    let without = ["blk.1.k_rope", "blk.2.output", "blk.3.attn_norm", "blk.5.output"];
    let record = judge(&recorded(&model, mistake, &without, &folder.path().join("some.safetensors")));
    assert_eq!((names(&record), record.unnamed.len(), record.exit_code()), (Vec::new(), 0, 3));
    let blind = |s: &&SiteDiagnosis| matches!(s.verdict, Verdict::Inconclusive { .. });
    let blind: Vec<&str> = record.sites.iter().filter(blind).map(|s| s.site.as_str()).collect();
    let expected = [
        "blk.1.k_rope",
        "blk.1.attn_scores",
        "blk.2.output",
        "blk.3.attn_norm",
        "blk.3.q",
        "blk.3.k",
        "blk.3.v",
        "blk.3.attn_residual",
        "blk.5.output",
        "final_norm",
    ];
    assert_eq!(blind, expected);
}
