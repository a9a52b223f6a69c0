//! Hugging Face folders: read as they are, and each way in which they can lie is refused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{fault, safetensors_bytes};
use twinpath_formats::hf::HfFolder;
use twinpath_formats::{Container, Fault, FormatError, ModelFile, TensorType, Verify};

const TWO: &str = r#"{"b":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"a":{"dtype":"BF16","shape":[2],"data_offsets":[16,20]}}"#;

fn read(header: &str, data: usize) -> Result<HfFolder, FormatError> {
    HfFolder::from_parts("folder", b"{}", safetensors_bytes(header, &vec![0; data]))
}

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, bytes)| std::fs::write(folder.path().join(name), bytes).unwrap());
    folder
}

fn one(name: &str) -> Vec<u8> {
    safetensors_bytes(&format!(r#"{{"{name}":{{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}}}"#), &[1, 2, 3, 4])
}

#[test]
fn a_folder_is_read_in_the_order_of_its_bytes() {
    let files = [("config.json", &br#"{"model_type":"qwen2"}"#[..]), ("tokenizer.json", b"{}")];
    let made = folder(&files);
    let data: Vec<u8> = (0..20).collect();
    std::fs::write(made.path().join("model.safetensors"), safetensors_bytes(TWO, &data)).unwrap();
    let ModelFile::HuggingFace(model) = ModelFile::open(made.path(), Verify::All).unwrap() else { panic!("kind") };
    assert_eq!(model.config()["model_type"], "qwen2");
    assert_eq!(model.tokenizer_json(), Some(&b"{}"[..]));
    let names: Vec<&str> = model.tensors().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(model.bytes(model.tensor("a").unwrap()), [16, 17, 18, 19]);
    assert_eq!(model.tensor("a").unwrap().tensor_type, TensorType::BF16);
    assert_eq!(model.matrix("b").unwrap().rows(), 2);
}

#[test]
fn shards_are_read_through_their_index() {
    let index = br#"{"weight_map":{"x":"one.safetensors","y":"two.safetensors"}}"#;
    let (x, y) = (one("x"), one("y"));
    let made = folder(&[
        ("config.json", b"{}"),
        ("model.safetensors.index.json", index),
        ("one.safetensors", &x),
        ("two.safetensors", &y),
    ]);
    let model = HfFolder::open(made.path()).unwrap();
    assert_eq!((model.tensors().len(), model.bytes(model.tensor("y").unwrap())), (2, &[1, 2, 3, 4][..]));
    // The index and a shard disagree, both ways round.
    std::fs::write(made.path().join("two.safetensors"), one("z")).unwrap();
    assert!(matches!(fault(HfFolder::open(made.path())), Fault::BadShard { .. }));
    let index = br#"{"weight_map":{"x":"one.safetensors"}}"#;
    std::fs::write(made.path().join("model.safetensors.index.json"), index).unwrap();
    assert_eq!(HfFolder::open(made.path()).unwrap().tensors().len(), 1);
    std::fs::write(made.path().join("one.safetensors"), {
        let two = r#"{"x":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"w":{"dtype":"F16","shape":[1],"data_offsets":[2,4]}}"#;
        safetensors_bytes(two, &[0; 4])
    })
    .unwrap();
    assert!(matches!(fault(HfFolder::open(made.path())), Fault::BadShard { .. }));
    std::fs::remove_file(made.path().join("one.safetensors")).unwrap();
    assert!(matches!(fault(HfFolder::open(made.path())), Fault::Io { .. }));
}

#[test]
fn an_index_cannot_reach_out_of_its_folder() {
    for name in ["../secret.safetensors", "/etc/passwd", "sub/x.safetensors", "..", "", "a\\\\b"] {
        let index = format!(r#"{{"weight_map":{{"x":"{name}"}}}}"#);
        let made = folder(&[("config.json", b"{}"), ("model.safetensors.index.json", index.as_bytes())]);
        assert!(matches!(fault(HfFolder::open(made.path())), Fault::BadJson { .. }), "{name}");
    }
}

#[test]
fn the_same_tensor_in_two_shards_is_refused() {
    let index = br#"{"weight_map":{"x":"one.safetensors","y":"two.safetensors"}}"#;
    let x = one("x");
    let made = folder(&[
        ("config.json", b"{}"),
        ("model.safetensors.index.json", index),
        ("one.safetensors", &x),
        ("two.safetensors", &x),
    ]);
    assert!(matches!(fault(HfFolder::open(made.path())), Fault::DuplicateTensor { .. }));
}

#[test]
fn folders_that_are_no_model_are_refused() {
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(fault(ModelFile::open(empty.path(), Verify::All)), Fault::NotAModelFolder));
    let made = folder(&[("config.json", b"[1]")]);
    assert!(matches!(fault(HfFolder::open(made.path())), Fault::BadJson { .. }));
    let made = folder(&[("config.json", b"{}")]);
    let missing = HfFolder::open(made.path()).err().unwrap();
    assert!(missing.file.ends_with("model.safetensors") && matches!(missing.fault, Fault::Io { .. }));
    assert!(matches!(fault(ModelFile::open(Path::new("/nonexistent"), Verify::All)), Fault::Io { .. }));
}

#[test]
fn headers_that_lie_are_refused() {
    let tensor = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    read(&tensor("F32", "[2]", "[0,8]"), 8).unwrap();
    assert!(matches!(fault(read(&tensor("I64", "[1]", "[0,8]"), 8)), Fault::UnknownTensorType { .. }));
    assert!(matches!(fault(read(&tensor("F32", "[0]", "[0,0]"), 0)), Fault::ZeroDimension { .. }));
    let overlap = r#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    for (header, data) in [
        (tensor("F32", "[2]", "[0,8]"), 7),
        (tensor("F32", "[2]", "[0,8]"), 9),
        (tensor("F32", "[2]", "[4,12]"), 12),
        (tensor("F32", "[2]", "[8,0]"), 8),
        (tensor("F32", "[3]", "[0,8]"), 8),
        (tensor("F32", "[4611686018427387905,4]", "[0,16]"), 16),
        (tensor("Q4_K", "[2]", "[0,8]"), 8),
        (overlap.to_owned(), 12),
        ("[]".to_owned(), 0),
    ] {
        assert!(matches!(fault(read(&header, data)), Fault::Safetensors { .. }), "{header}");
    }
}
