//! Bad input: one clear line, exit code 2, at once.

use std::path::{Path, PathBuf};

use twinpath_formats::gguf::Gguf;
use twinpath_formats::{Container, TensorType};

use super::common::{apr, gguf, misused, refused, text, tiny, twinpath};

/// A folder for files that lie.
struct Lies {
    folder: tempfile::TempDir,
    sound: Vec<u8>,
}

impl Lies {
    fn new() -> Lies {
        Lies { folder: tempfile::tempdir().unwrap(), sound: std::fs::read(gguf()).unwrap() }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        text(&path)
    }

    /// The bundled model with every `from` replaced by `to`, of the same length.
    fn renamed(&self, from: &str, to: &str) -> String {
        assert_eq!(from.len(), to.len());
        let mut bytes = self.sound.clone();
        let places: Vec<usize> = find_all(&bytes, from.as_bytes());
        assert!(!places.is_empty(), "{from}");
        for i in places {
            bytes[i..i + to.len()].copy_from_slice(to.as_bytes());
        }
        self.write("renamed.gguf", &bytes)
    }

    /// The bundled model with another 32-bit value of a metadata key.
    fn changed(&self, key: &str, value: [u8; 4]) -> String {
        let named = [&(key.len() as u64).to_le_bytes()[..], key.as_bytes()].concat();
        let [place] = find_all(&self.sound, &named)[..] else { panic!("{key} is not there once") };
        let value_at = place + named.len() + 4;
        let mut bytes = self.sound.clone();
        bytes[value_at..value_at + 4].copy_from_slice(&value);
        self.write("changed.gguf", &bytes)
    }
}

fn find_all(bytes: &[u8], needle: &[u8]) -> Vec<usize> {
    (0..bytes.len() - needle.len()).filter(|i| bytes[*i..].starts_with(needle)).collect()
}

#[test]
fn truncated_models() {
    let lies = Lies::new();
    for (sound, name) in [(gguf(), "cut.gguf"), (apr(), "cut.apr")] {
        let bytes = std::fs::read(sound).unwrap();
        for len in [1, 3, 4, 8, 23, 63, 100, 5000, 90_000, 200_000, bytes.len() / 2, bytes.len() - 1] {
            let cut = lies.write(name, &bytes[..len]);
            for args in [&["run", &cut, "--tokens", "1"][..], &["inspect", &cut], &["compare", &cut, &cut]] {
                refused(args, &[name]);
            }
        }
    }
    let whole = std::fs::read(tiny("llama-gqa4/model.safetensors")).unwrap();
    std::fs::copy(tiny("llama-gqa4/config.json"), lies.folder.path().join("config.json")).unwrap();
    for len in [1, 8, 400, whole.len() - 1] {
        lies.write("model.safetensors", &whole[..len]);
        refused(&["run", &text(lies.folder.path()), "--tokens", "1"], &["model.safetensors"]);
    }
}

#[test]
fn files_that_are_no_model() {
    let lies = Lies::new();
    let folder = text(lies.folder.path());
    let run = |model: &str, needles: &[&str]| refused(&["run", model, "--tokens", "1"], needles);
    run(&lies.write("zip.gguf", b"PK\x03\x04 and so on"), &["zip.gguf", "neither GGUF nor .apr"]);
    run(&lies.write("big.gguf", &[b"GGUF\0\0\0\x03", &[0; 64][..]].concat()), &["big.gguf", "big-endian"]);
    run(&lies.write("old.gguf", &[b"GGUF\x01\0\0\0", &[0; 64][..]].concat()), &["old.gguf", "version"]);
    run(&lies.write("empty.gguf", b""), &["empty.gguf", "is empty"]);
    run(&folder, &["config.json"]);
    run("/dev/null", &["/dev/null", "is a device"]);
    run("nowhere.gguf", &["nowhere.gguf", "No such file"]);
    run("@standalone", &["names no model"]);
    let fifo = lies.folder.path().join("pipe.gguf");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    run(&text(&fifo), &["pipe.gguf", "is a FIFO"]);
    refused(&["compare", &text(&gguf()), &text(&fifo)], &["is a FIFO"]);
    refused(&["convert", &text(&fifo), &format!("{folder}/x.apr")], &["is a FIFO"]);
    refused(&["inspect", &text(&fifo)], &["is a FIFO"]);
}

#[test]
fn models_that_are_not_what_they_say() {
    let lies = Lies::new();
    let run = |model: &str, needles: &[&str]| refused(&["run", model, "--tokens", "1"], needles);
    run(&lies.renamed("qwen2", "qwenX"), &["architecture `qwenX`", "twinpath list archs"]);
    run(&lies.renamed("blk.1.attn_q.weight", "blk.1.attn_Q.weight"), &["`blk.1.attn_q.weight` is missing"]);
    run(&lies.renamed("blk.2.ffn_up.weight", "blk.1.ffn_up.weight"), &["blk.1.ffn_up.weight", "twice"]);
    let u32s = [
        ("embedding_length", 512, "token_embd.weight"),
        ("embedding_length", 0, "is 0"),
        ("embedding_length", 1 << 31, "head dimension is 536870912"),
        ("feed_forward_length", 1024, "blk.0.ffn_gate.weight"),
        ("feed_forward_length", u32::MAX, "feed-forward size"),
        ("attention.head_count", 8, "blk.0.attn_k.weight"),
        ("attention.head_count", 5, "does not divide"),
        ("attention.head_count_kv", 0, "is 0"),
        ("block_count", 1, "blk.1."),
        ("block_count", 7, "blk.6.attn_norm.weight"),
        ("block_count", u32::MAX, "number of layers"),
        ("context_length", 0, "context length is 0"),
    ];
    for (key, value, needle) in u32s {
        run(&lies.changed(&format!("qwen2.{key}"), u32::to_le_bytes(value)), &["changed.gguf", needle]);
    }
    for value in [f32::NAN, f32::INFINITY, 0.0, -1.0] {
        run(&lies.changed("qwen2.rope.freq_base", value.to_le_bytes()), &["RoPE theta"]);
    }
    run(&lies.changed("qwen2.attention.layer_norm_rms_epsilon", f32::NAN.to_le_bytes()), &["epsilon is NaN"]);
}

#[test]
fn scales_that_are_no_numbers() {
    let lies = Lies::new();
    let file = Gguf::open(&gguf()).unwrap();
    for (tensor_type, at) in [(TensorType::Q4K, 0), (TensorType::Q4K, 2), (TensorType::Q6K, 208), (TensorType::F32, 2)]
    {
        let entry = file.tensors().iter().find(|t| t.tensor_type == tensor_type).unwrap();
        let mut bytes = lies.sound.clone();
        let place = entry.file_offset() as usize + at;
        bytes[place..place + 2].copy_from_slice(&[0xff, 0x7f]); // NaN as f16, and as the high half of an f32
        let model = lies.write("nan.gguf", &bytes);
        for args in
            [&["run", &model, "--tokens", "1"][..], &["compare", &model, &model], &["inspect", &model, "--deep"]]
        {
            refused(args, &["nan.gguf", &entry.name]);
        }
    }
}

#[test]
fn damaged_checksums_are_refused_and_can_be_overruled() {
    let lies = Lies::new();
    let mut bytes = std::fs::read(apr()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let model = lies.write("flipped.apr", &bytes);
    refused(&["run", &model, "--tokens", "1"], &["flipped.apr", "checksum"]);
    let overruled = twinpath(&["run", &model, "--tokens", "1", "-n", "1", "--no-verify"]);
    assert_eq!(overruled.code, Some(0), "{overruled:?}");
}

#[test]
fn prompts_that_cannot_be_run() {
    let lies = Lies::new();
    let long = lies.write("long.txt", "a b c d e f ".repeat(2000).as_bytes());
    let binary = lies.write("binary.txt", b"\xff\xfe");
    let output = text(&lies.folder.path().join("t.safetensors"));
    for command in [&["run"][..], &["compare"], &["trace", "-o", &output]] {
        let with = |prompt: &[&str], needles: &[&str]| refused(&[command, prompt].concat(), needles);
        with(&["-p", ""], &["the prompt is empty"]);
        with(&["--tokens", "1,4096"], &["token id 4096 at position 1", "below 4096"]);
        with(&["--prompt-file", &long], &["do not fit into the model's context of 1024"]);
        with(&["--prompt-file", &binary], &["binary.txt", "UTF-8"]);
        with(&["--prompt-file", "nowhere.txt"], &["nowhere.txt"]);
    }
    refused(&["run"], &["nothing to continue", "-p TEXT"]);
    refused(&["run", "--chat", "-p", "hello"], &["no chat template", "leave --chat out"]);
    refused(&["trace", "--tokens", "1,2", "--positions", "2", "-o", &output], &["position 2"]);
    assert!(!Path::new(&output).exists());
}

#[test]
fn a_folder_without_a_tokenizer_is_refused_for_text_only() {
    let model = text(&tiny("llama-gqa4"));
    refused(&["run", &model, "-p", "text"], &["tokenizer.json", "--tokens"]);
    refused(&["compare", &model, &model], &["tokenizer.json", "--tokens"]);
    let by_ids = twinpath(&["compare", &model, &model, "--tokens", "1,2"]);
    assert_eq!(by_ids.code, Some(0), "{by_ids:?}");
}

#[test]
fn an_index_that_leaves_its_folder() {
    let lies = Lies::new();
    std::fs::copy(tiny("llama-gqa4/config.json"), lies.folder.path().join("config.json")).unwrap();
    let secret = text(&tiny("llama-gqa4/model.safetensors"));
    for file in ["../model.safetensors", &secret, "..", "a/../../b", ""] {
        let index = format!(r#"{{"weight_map": {{"lm_head.weight": "{file}"}}}}"#);
        lies.write("model.safetensors.index.json", index.as_bytes());
        let model = text(lies.folder.path());
        refused(&["run", &model, "--tokens", "1"], &["model.safetensors.index.json", "no plain file name"]);
    }
}

#[test]
fn arguments_that_make_no_sense() {
    let model = text(&gguf());
    refused(&["run", &format!("{model}@fast"), "-p", "a"], &["no path `fast`", "standalone, fused-q8k"]);
    refused(&["run", &format!("{model}@"), "-p", "a"], &["no path ``", "standalone"]);
    refused(&["run", "--path", "fast", "-p", "a"], &["no path `fast`"]);
    refused(&["run", "-p", "a", "--temp", "-1"], &["temperature is -1"]);
    refused(&["run", "-p", "a", "--temp", "nan"], &["temperature is NaN"]);
    refused(&["run", "-p", "a", "--top-p", "2"], &["top_p is 2"]);
    misused(&["run", "-p", "a", "--threads", "0"], "--threads");
    misused(&["run", "-p", "a", "--threads", "100000"], "--threads");
    misused(&["run", "-p", "a", "--isa", "sse9"], "portable");
    misused(&["run", "-p", "a", "--tokens", "1"], "cannot be used with");
    misused(&["run", "--tokens", "1,x"], "--tokens");
    misused(&["run", "--tokens", "99999999999"], "--tokens");
    misused(&["compare", &model], "<B>");
    misused(&["list", "everything"], "formats");
    misused(&["fly"], "unrecognized subcommand");
    misused(&[], "Usage");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn an_instruction_set_that_the_processor_lacks_is_refused() {
    let has = |name| match name {
        "avx2" => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        "avx512" => is_x86_feature_detected!("avx512f"),
        _ => is_x86_feature_detected!("avx512vnni"),
    };
    for name in ["avx2", "avx512", "avx512vnni"] {
        let args = ["run", "--tokens", "1", "-n", "1", "--isa", name];
        if has(name) {
            assert_eq!(twinpath(&args).code, Some(0), "{name}");
        } else {
            refused(&args, &["this processor has no", "--isa"]);
        }
    }
}

#[test]
fn outputs_that_cannot_be_written() {
    let lies = Lies::new();
    let taken = lies.write("taken.apr", b"precious");
    let model = text(&gguf());
    let outputs: [(&str, &[&str]); 5] = [
        (&taken, &["taken.apr: exists; --force replaces it"]),
        ("/nowhere/at/all.apr", &["/nowhere/at/all.apr", "no folder /nowhere/at", "make it first"]),
        ("/dev/full", &["/dev/full: is no regular file"]),
        ("/", &["is a folder"]),
        ("/proc/model.apr", &["/proc/model.apr"]),
    ];
    for (output, needles) in outputs {
        refused(&["convert", &model, output], needles);
        refused(&["trace", &model, "--tokens", "1", "-o", output], needles);
    }
    assert_eq!(std::fs::read(&taken).unwrap(), b"precious");
    let target: PathBuf = lies.folder.path().join("model.txt");
    refused(&["convert", &model, &text(&target)], &["cannot convert gguf to .txt", "supported are"]);
    refused(&["convert", &text(&tiny("qwen3")), &text(&target.with_extension("gguf"))], &["cannot convert hf"]);
    let replaced = twinpath(&["convert", &model, &taken, "--force"]);
    assert_eq!(replaced.code, Some(0), "{replaced:?}");
    assert!(std::fs::read(&taken).unwrap() == std::fs::read(apr()).unwrap());
}
