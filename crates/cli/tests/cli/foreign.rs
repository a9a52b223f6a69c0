//! Recordings of other engines on the command line.

use super::common::{gguf, ok, refused, root, text, tiny, twinpath};

fn recording(name: &str) -> String {
    text(&root().join("testdata/recordings").join(name))
}

#[test]
fn llama_cpp_is_explained_and_its_mistakes_are_found_where_they_are() {
    let model = format!("{}@fused-q8k", text(&gguf()));
    let right = twinpath(&["compare", &model, &recording("llama_cpp.safetensors"), "--oracle", "off"]);
    assert_eq!(right.code, Some(0), "{}", right.err);
    for said in [
        "111 of 111 sites judged (100.0 %), 105 of them by their own value (94.6 %)",
        "ffn_silu: not recorded, judged with ffn_swiglu",
        "worst site",
        "EXPLAINED",
    ] {
        assert!(right.out.contains(said), "{said}: {}", right.out);
    }
    let wrong = twinpath(&["compare", &model, &recording("llama_cpp-edited.safetensors"), "--oracle", "off"]);
    assert_eq!(wrong.code, Some(1), "{}", wrong.err);
    assert!(wrong.out.contains("blk.2.ffn_up"), "{}", wrong.out);
}

#[test]
fn the_mistake_of_llama_cpp_is_named_and_a_faithful_run_has_none() {
    let model = format!("{}@fused-q8k", text(&gguf()));
    let right = twinpath(&["diagnose", &model, &recording("llama_cpp.safetensors")]);
    assert_eq!(right.code, Some(0), "{}", right.err);
    assert!(right.out.contains("NOTHING UNEXPLAINED") && right.out.contains("sums in any order"), "{}", right.out);
    let wrong = twinpath(&["diagnose", &model, &recording("llama_cpp-theta.safetensors")]);
    assert_eq!(wrong.code, Some(1), "{}", wrong.err);
    assert!(wrong.out.contains("NAMED: rope-theta (theta 500000)"), "{}", wrong.out);
}

/// Every lie of a file of another program ends with an error of one sentence or with an answer that is no success.
#[test]
fn no_broken_recording_is_a_success() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    let model = text(&tiny("qwen3/model.gguf"));
    let archive = std::fs::read(root().join("testdata/recordings/qwen3-deflated.npz")).unwrap();
    let whole = std::fs::read(tiny("qwen3/recording.safetensors")).unwrap();
    let npy = |descr: &str, body: usize| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (12, 64), }}\n");
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [&b"\x93NUMPY\x01\x00"[..], &length, header.as_bytes(), &vec![0; body]].concat()
    };
    let refusals: [(&str, Vec<u8>, &str); 6] = [
        ("cut.npz", archive[..archive.len() / 2].to_vec(), "cut short"),
        ("cut.safetensors", whole[..whole.len() - 4].to_vec(), "no sound safetensors"),
        ("embed.npy", npy("|O", 12 * 64 * 8), "Python objects"),
        ("embed.npy", npy("<f4", 12 * 64 * 4 - 1), "cut short or lies"),
        ("base.kld", b"_logits_\x08\x00".to_vec(), "cut short"),
        ("empty.npz", Vec::new(), "empty"),
    ];
    for (name, bytes, needle) in refusals {
        std::fs::write(at(name), bytes).unwrap();
        refused(&["compare", &model, &at(name)], &[name, needle]);
        refused(&["diagnose", &model, &at(name)], &[name, needle]);
    }
    // Sound, but without tokens; and one value that is no number.
    std::fs::write(at("embed.npy"), npy("<f4", 12 * 64 * 4)).unwrap();
    let nothing = twinpath(&["compare", &model, &at("embed.npy")]);
    assert!(nothing.code == Some(3) || nothing.code == Some(2), "{nothing:?}");
    let mut poisoned = whole.clone();
    let end = poisoned.len() - 4;
    poisoned[end..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(at("nan.safetensors"), poisoned).unwrap();
    let ended = twinpath(&["compare", &model, &at("nan.safetensors")]);
    assert!(ended.code == Some(1) || ended.code == Some(3), "{ended:?}");
}

#[test]
fn other_tokens_are_incomparable() {
    let model = format!("{}@fused-q8k", text(&gguf()));
    let args = ["compare", &model, &recording("llama_cpp.safetensors"), "--tokens", "864,1548,1547,2206,199,257"];
    let ended = twinpath(&args);
    assert_eq!(ended.code, Some(3), "{}", ended.err);
    assert!(ended.out.contains("the first token there, 636, is missing here"), "{}", ended.out);
}

#[test]
fn a_recording_becomes_other_kinds_of_files_and_an_archive_of_numpy_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    let model = text(&tiny("qwen3/model.gguf"));
    ok(&["trace", &format!("{model}@standalone"), "--tokens", "1,2,3", "-o", &at("r.safetensors")]);
    for kind in ["npz", "jsonl", "csv", "parquet", "aprt"] {
        ok(&["trace", &at("r.safetensors"), "-o", &at(&format!("r.{kind}"))]);
    }
    refused(&["trace", &at("r.safetensors"), "-o", &at("r.aprt")], &["is a folder"]);
    ok(&["trace", &format!("{model}@standalone"), "--tokens", "1,2,3", "-o", &at("direct.npz")]);
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert_eq!(bytes("r.npz"), bytes("direct.npz"));
    let csv = String::from_utf8(bytes("r.csv")).unwrap();
    assert!(csv.starts_with("site,position,channel,value\nembed,0,0,"));
    let lines = String::from_utf8(bytes("r.jsonl")).unwrap();
    let rows: Vec<serde_json::Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((rows[0]["tokens"].to_string().as_str(), rows[1]["site"].as_str()), ("[1,2,3]", Some("embed")));
    let back = twinpath(&["compare", &format!("{model}@standalone"), &at("r.npz")]);
    assert_eq!(back.code, Some(0), "{}", back.err);
    assert!(back.out.contains("IDENTICAL"), "{}", back.out);
    refused(&["trace", &at("r.npz"), "-o", &at("x.csv")], &["compare it with the model"]);
}

#[test]
fn a_recording_without_a_model_and_a_map_that_is_none_are_refused() {
    let one = recording("llama_cpp.safetensors");
    refused(&["compare", &one, &one], &["compare it with the model"]);
    let model = text(&tiny("qwen3/model.gguf"));
    refused(&["compare", &model, &one, "--map", &text(&tiny("qwen3/config.json"))], &["is no map of names"]);
}
