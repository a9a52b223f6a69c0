//! Conversion keeps bytes and metadata, or refuses.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{apr_metadata, every_type, gguf_bytes, llama_plans, zoo};
use twinpath_formats::apr::Apr;
use twinpath_formats::convert::{ConvertReport, Dequantize, Options, convert, to_ggml, to_hf};
use twinpath_formats::gguf::{Gguf, Value};
use twinpath_formats::{Container, Fault, FormatError, TensorPlan, TensorType, Verify, apr, gguf};

fn run(input: &Path, output: &Path) -> Result<ConvertReport, FormatError> {
    convert(input, output, &Options::default(), &mut |_, _| ())
}

/// gguf -> apr -> gguf in `folder`; gives the bytes before and after.
fn there_and_back(folder: &Path, input: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let [a, b, c] = ["in.gguf", "mid.apr", "out.gguf"].map(|n| folder.join(n));
    std::fs::write(&a, input).unwrap();
    assert!(run(&a, &b).unwrap().tensors.iter().all(|t| t.kept));
    run(&b, &c).unwrap();
    (input.to_vec(), std::fs::read(&c).unwrap())
}

#[test]
fn the_teacher_comes_back_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let input = std::fs::read(zoo("teacher-q4_k_m.gguf")).unwrap();
    let (before, after) = there_and_back(folder.path(), &input);
    assert_eq!(before.len(), after.len());
    assert!(before == after, "first difference at {:?}", before.iter().zip(&after).position(|(a, b)| a != b));
}

#[test]
fn the_bundled_apr_holds_the_bytes_of_the_bundled_gguf() {
    let gguf = Gguf::open(&zoo("teacher-q4_k_m.gguf")).unwrap();
    let apr = Apr::open(&zoo("teacher-q4_k_m.apr"), Verify::All).unwrap();
    assert_eq!(apr.warnings(), [] as [&str; 0]);
    assert_eq!(gguf.tensors().len(), apr.tensors().len());
    for entry in gguf.tensors() {
        let twin = apr.tensor(&to_hf(&entry.name)).unwrap();
        assert_eq!((entry.tensor_type, &entry.shape), (twin.tensor_type, &twin.shape), "{}", entry.name);
        assert!(gguf.bytes(entry) == apr.bytes(twin), "{}", entry.name);
    }
    assert_eq!(apr.u64("num_layers").unwrap(), Some(6));
    assert_eq!(apr.f64("rms_norm_eps").unwrap(), Some(1e-6));
    gguf.check_finite().unwrap();
}

#[test]
fn the_bundled_apr_is_what_convert_makes() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("made.apr");
    run(&zoo("teacher-q4_k_m.gguf"), &output).unwrap();
    assert!(std::fs::read(output).unwrap() == std::fs::read(zoo("teacher-q4_k_m.apr")).unwrap());
}

#[test]
fn every_metadata_type_and_unmapped_tensor_comes_back_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let mut metadata = every_type();
    metadata.set("general.alignment", Value::U32(64));
    metadata.set("a.f32.nan", Value::F32(f32::from_bits(0x7fc0_1234)));
    metadata.set("tokenizer.ggml.eos_token_id", Value::String("not a number".into()));
    let (before, after) = there_and_back(folder.path(), &gguf_bytes(&metadata, &llama_plans()));
    assert_eq!(before, after);
    let apr = Apr::open(&folder.path().join("mid.apr"), Verify::All).unwrap();
    assert!(apr.tensor("model.layers.0.self_attn.q_proj.bias").is_some() && apr.tensor("rope_freqs.weight").is_some());
    assert_eq!(apr.u64("rope_type").unwrap(), Some(0));
    assert_eq!(apr.u64("hidden_size").unwrap(), Some(256));
    assert_eq!(apr.get("num_heads"), None, "an array is no home for other readers' single number");
    assert_eq!(apr.get("tokenizer.eos_token_id"), None);
}

#[test]
fn a_tied_head_is_copied_for_apr_and_dropped_on_the_way_back() {
    let folder = tempfile::tempdir().unwrap();
    let plans: Vec<TensorPlan> = llama_plans().into_iter().filter(|p| p.name != "output.weight").collect();
    let (before, after) = there_and_back(folder.path(), &gguf_bytes(&every_type(), &plans));
    assert_eq!(before, after);
    let mid = folder.path().join("mid.apr");
    let apr = Apr::open(&mid, Verify::All).unwrap();
    assert_eq!(apr.bool("tied_embeddings").unwrap(), Some(true));
    let [head, embedding] = ["lm_head.weight", "model.embed_tokens.weight"].map(|n| apr.tensor(n).unwrap());
    assert_eq!(apr.bytes(head), apr.bytes(embedding));
    // A head that was edited since is no copy: it stays.
    let offset = head.file_offset() as usize;
    let mut edited = std::fs::read(&mid).unwrap();
    edited[offset + 20] ^= 1;
    common::reseal(&mut edited);
    std::fs::write(&mid, edited).unwrap();
    let back = folder.path().join("edited.gguf");
    run(&mid, &back).unwrap();
    assert!(Gguf::open(&back).unwrap().tensor("output.weight").is_some());
}

#[test]
fn a_type_without_an_apr_code_is_refused_by_name_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let [input, output] = ["in.gguf", "out.apr"].map(|n| folder.path().join(n));
    let plans = [
        TensorPlan::new("output_norm.weight", TensorType::F32, &[32]),
        TensorPlan::new("output.weight", TensorType::Q8_0, &[2, 32]),
    ];
    std::fs::write(&input, gguf_bytes(&every_type(), &plans)).unwrap();
    let refused = run(&input, &output).unwrap_err();
    assert!(matches!(&refused.fault, Fault::NoAprCode { tensor, tensor_type: "Q8_0" } if tensor == "output.weight"));
    assert!(refused.to_string().contains("--dequantize f16"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn dequantising_decodes_exactly_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let [input, output] = ["in.gguf", "out.apr"].map(|n| folder.path().join(n));
    let plans = [
        TensorPlan::new("output.weight", TensorType::Q8_0, &[3, 64]),
        TensorPlan::new("output_norm.weight", TensorType::F32, &[32]),
    ];
    let mut metadata = every_type();
    metadata.set("general.file_type", Value::U32(7));
    std::fs::write(&input, gguf_bytes(&metadata, &plans)).unwrap();
    let gguf = Gguf::open(&input).unwrap();
    for target in [Dequantize::F16, Dequantize::F32] {
        let options = Options { dequantize: Some(target), ..Options::default() };
        let report = convert(&input, &output, &options, &mut |_, _| ()).unwrap();
        assert_eq!(report.tensors.iter().map(|t| t.kept).collect::<Vec<_>>(), [false, true]);
        assert_eq!((report.tensors[0].from_type, report.tensors[0].to_type), ("Q8_0", target.tensor_type().name()));
        assert_eq!(report.dropped_keys, ["general.file_type"]);
        let apr = Apr::open(&output, Verify::All).unwrap();
        let (a, b) = (gguf.matrix("output.weight").unwrap(), apr.matrix("lm_head.weight").unwrap());
        let (mut exact, mut stored) = ([0.0; 64], [0.0; 64]);
        for row in 0..3 {
            a.decode_row(row, &mut exact);
            b.decode_row(row, &mut stored);
            for (x, y) in exact.iter().zip(&stored) {
                // A Q8_0 value is an f16 times 8 bits: 19 bits, exact in f32. In f16 the error is at most half a unit in
                // the last place: 2^-11 of the value, or 2^-25 among subnormals.
                let bound =
                    if target == Dequantize::F32 { 0.0 } else { (x.abs() * 2f64.powi(-11)).max(2f64.powi(-25)) };
                assert!((x - y).abs() <= bound, "{x} {y}");
            }
        }
    }
}

#[test]
fn a_value_too_large_for_f16_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [input, output] = ["in.gguf", "out.apr"].map(|n| folder.path().join(n));
    let plans = [TensorPlan::new("output.weight", TensorType::Q8_0, &[1, 32])];
    // Scale 65504, the largest f16, times 127.
    let block: Vec<u8> = [0xff, 0x7b].into_iter().chain([127; 32]).collect();
    let bytes = gguf::to_bytes(&every_type(), &plans, &mut |_, out| {
        out.write_all(&block).unwrap();
        Ok(())
    });
    std::fs::write(&input, bytes.unwrap()).unwrap();
    let try_with = |target| {
        let options = Options { dequantize: Some(target), ..Options::default() };
        convert(&input, &output, &options, &mut |_, _| ())
    };
    let refused = try_with(Dequantize::F16).unwrap_err();
    assert!(matches!(&refused.fault, Fault::DoesNotFit { tensor, .. } if tensor == "output.weight"), "{refused}");
    assert!(!output.exists());
    try_with(Dequantize::F32).unwrap();
}

#[test]
fn an_apr_of_another_tool_becomes_gguf_with_conventional_types() {
    let folder = tempfile::tempdir().unwrap();
    let [input, output, again] = ["in.apr", "out.gguf", "again.apr"].map(|n| folder.path().join(n));
    let mut metadata = apr_metadata();
    metadata.remove("hidden_size");
    metadata.insert("n_embd".into(), 4.into());
    metadata.insert("created_at".into(), "2026-01-01".into());
    metadata.insert("model.hidden_size".into(), 4.into());
    metadata.insert("license".into(), serde_json::Value::Null);
    metadata.insert("data_source".into(), "a crawl".into());
    metadata.insert("chat_template".into(), "{{ x }}".into());
    metadata.insert("tokenizer.model_type".into(), "BPE".into());
    std::fs::write(&input, common::apr_bytes(&metadata, &common::apr_plans())).unwrap();
    run(&input, &output).unwrap();
    let gguf = Gguf::open(&output).unwrap();
    assert_eq!(gguf.get("general.architecture"), Some(&Value::String("qwen2".into())));
    assert_eq!(gguf.get("qwen2.embedding_length"), Some(&Value::U32(4)));
    assert_eq!(gguf.get("qwen2.attention.layer_norm_rms_epsilon"), Some(&Value::F32(1e-6)));
    assert_eq!(gguf.get("general.quantization_version"), Some(&Value::U32(2)));
    assert_eq!(gguf.str("tokenizer.ggml.model").unwrap(), Some("gpt2"));
    assert_eq!(gguf.str("tokenizer.chat_template").unwrap(), Some("{{ x }}"));
    let extra = r#"{"created_at":"2026-01-01","data_source":"a crawl","tokenizer.model_type":"BPE"}"#;
    assert_eq!(gguf.str("apr.metadata").unwrap(), Some(extra));
    let names: Vec<&str> = gguf.tensors().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["output_norm.weight", "output.weight", "token_embd.weight"], "the order of the data");
    run(&output, &again).unwrap();
    let apr = Apr::open(&again, Verify::All).unwrap();
    assert_eq!(apr.str("created_at").unwrap(), Some("2026-01-01"));
    assert_eq!(apr.str("data_source").unwrap(), Some("a crawl"));
    assert_eq!(apr.str("chat_template").unwrap(), Some("{{ x }}"));
    let first = Apr::open(&input, Verify::All).unwrap();
    for entry in first.tensors() {
        assert_eq!(first.bytes(entry), apr.bytes(apr.tensor(&entry.name).unwrap()));
    }
}

#[test]
fn what_was_edited_in_the_apr_reaches_the_gguf() {
    let folder = tempfile::tempdir().unwrap();
    let [mid, output] = ["mid.apr", "out.gguf"].map(|n| folder.path().join(n));
    let apr = Apr::open(&zoo("teacher-q4_k_m.apr"), Verify::All).unwrap();
    let mut metadata = apr.metadata().clone();
    metadata.insert("rope_theta".into(), 5e5.into());
    metadata.insert("author".into(), "somebody".into());
    apr::write(&mid, &metadata, &[], &mut |_, _| Ok(())).unwrap();
    run(&mid, &output).unwrap();
    let gguf = Gguf::open(&output).unwrap();
    assert_eq!(gguf.f32("qwen2.rope.freq_base").unwrap(), Some(5e5));
    assert_eq!(gguf.str("general.author").unwrap(), Some("somebody"));
    // A listed key whose value is gone or of another type is an error, not a gap.
    metadata.insert("rope_theta".into(), "fast".into());
    apr::write(&mid, &metadata, &[], &mut |_, _| Ok(())).unwrap();
    let refused = run(&mid, &output).unwrap_err();
    assert!(refused.to_string().contains("qwen2.rope.freq_base"), "{refused}");
}

#[test]
fn version_2_keeps_everything_but_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let [input, mid, output] = ["in.gguf", "mid.apr", "out.gguf"].map(|n| folder.path().join(n));
    let version_3 = gguf_bytes(&every_type(), &llama_plans());
    let mut version_2 = version_3.clone();
    version_2[4] = 2;
    std::fs::write(&input, version_2).unwrap();
    let report = run(&input, &mid).unwrap();
    assert!(report.warnings[0].contains("version 2"));
    run(&mid, &output).unwrap();
    assert_eq!(std::fs::read(&output).unwrap(), version_3);
}

#[test]
fn a_foreign_row_order_for_rope_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [input, output] = ["in.apr", "out.gguf"].map(|n| folder.path().join(n));
    let mut metadata = apr_metadata();
    metadata.insert("architecture".into(), "llama".into());
    std::fs::write(&input, common::apr_bytes(&metadata, &common::apr_plans())).unwrap();
    let refused = run(&input, &output).unwrap_err();
    assert!(
        matches!(refused.fault, Fault::CannotWrite { .. }) && refused.to_string().contains("rope_type 2"),
        "{refused}"
    );
}

#[test]
fn unknown_families_and_pairs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [input, apr, other] = ["in.gguf", "out.apr", "out.bin"].map(|n| folder.path().join(n));
    let mut metadata = every_type();
    metadata.set("general.architecture", Value::String("mamba".into()));
    std::fs::write(&input, gguf_bytes(&metadata, &[])).unwrap();
    assert!(matches!(common::fault(run(&input, &apr)), Fault::UnsupportedArchitecture { .. }));
    assert!(matches!(common::fault(run(&input, &other)), Fault::UnsupportedConversion { .. }));
    assert!(matches!(
        common::fault(run(&input, &folder.path().join("same.gguf"))),
        Fault::UnsupportedConversion { .. }
    ));
}

#[test]
fn a_name_that_would_not_come_back_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.gguf");
    let plans = [TensorPlan::new("model.norm.weight", TensorType::F32, &[4])];
    std::fs::write(&input, gguf_bytes(&every_type(), &plans)).unwrap();
    let refused = common::fault(run(&input, &folder.path().join("out.apr")));
    assert!(matches!(refused, Fault::AmbiguousName { .. }), "{refused}");
}

#[test]
fn names_of_every_family_go_both_ways() {
    let pairs = [
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("output.weight", "lm_head.weight"),
        ("blk.17.attn_q.bias", "model.layers.17.self_attn.q_proj.bias"),
        ("blk.0.attn_k_norm.weight", "model.layers.0.self_attn.k_norm.weight"),
        ("blk.3.ffn_norm.weight", "model.layers.3.post_attention_layernorm.weight"),
        ("rope_freqs.weight", "rope_freqs.weight"),
        ("blk.3.unheard_of.weight", "blk.3.unheard_of.weight"),
    ];
    for (ggml, hf) in pairs {
        assert_eq!((to_hf(ggml).as_str(), to_ggml(hf).as_str()), (hf, ggml));
    }
}

#[test]
fn progress_rises_to_the_total() {
    let folder = tempfile::tempdir().unwrap();
    let mut calls = Vec::new();
    let output = folder.path().join("out.apr");
    convert(&zoo("teacher-q4_k_m.gguf"), &output, &Options::default(), &mut |done, total| calls.push((done, total)))
        .unwrap();
    assert!(calls.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 == w[1].1));
    assert!(calls.last().is_some_and(|(done, total)| done == total && *total > 4_000_000));
}
