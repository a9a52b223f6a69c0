//! A file cut at any byte is refused, and never a panic.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{apr_bytes, apr_metadata, apr_plans, every_type, gguf_bytes, llama_plans, safetensors_bytes};
use twinpath_formats::apr::Apr;
use twinpath_formats::gguf::Gguf;
use twinpath_formats::hf::HfFolder;
use twinpath_formats::{Fault, FormatError, Verify};

/// Reads every proper beginning of `bytes` and gives the lengths that were accepted.
fn accepted<T>(bytes: &[u8], read: impl Fn(&[u8]) -> Result<T, FormatError>) -> Vec<usize> {
    assert!(read(bytes).is_ok(), "the whole file is sound");
    (0..bytes.len()).filter(|n| read(&bytes[..*n]).is_ok()).collect()
}

#[test]
fn a_gguf_cut_at_any_byte_is_refused() {
    let bytes = gguf_bytes(&every_type(), &llama_plans());
    assert_eq!(accepted(&bytes, |b| Gguf::from_bytes("cut.gguf", b)), [] as [usize; 0]);
}

#[test]
fn a_gguf_without_the_padding_of_its_last_tensor_is_whole() {
    // Some writers leave that padding out; nothing of the model is missing.
    let plans = &llama_plans()[..4];
    let bytes = gguf_bytes(&every_type(), plans);
    let padding: Vec<usize> = (bytes.len() - 2..bytes.len()).collect();
    assert_eq!(accepted(&bytes, |b| Gguf::from_bytes("cut.gguf", b)), padding);
}

#[test]
fn an_apr_cut_at_any_byte_is_refused() {
    let bytes = apr_bytes(&apr_metadata(), &apr_plans());
    for verify in [Verify::All, Verify::Header] {
        assert_eq!(accepted(&bytes, |b| Apr::from_bytes("cut.apr", b, verify)), [] as [usize; 0]);
    }
}

#[test]
fn an_apr_cut_on_purpose_still_needs_every_tensor() {
    let plans = apr_plans();
    let bytes = apr_bytes(&apr_metadata(), &plans);
    // The last tensor is one Q4_K block of 144 bytes, padded to 192, and the footer.
    let whole = bytes.len() - 4 - 48;
    let expected: Vec<usize> = (whole..bytes.len()).collect();
    assert_eq!(accepted(&bytes, |b| Apr::from_bytes("cut.apr", b, Verify::None)), expected);
}

#[test]
fn a_safetensors_file_cut_at_any_byte_is_refused() {
    let header = r#"{"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
    let bytes = safetensors_bytes(header, &[0; 24]);
    assert_eq!(accepted(&bytes, |b| HfFolder::from_parts("cut", b"{}", b)), [] as [usize; 0]);
    let config = br#"{"a":[1,{"b":null}]}"#;
    assert_eq!(accepted(config, |c| HfFolder::from_parts("cut", c, &bytes[..])), [] as [usize; 0]);
}

#[test]
fn the_message_names_the_byte() {
    let bytes = gguf_bytes(&every_type(), &[]);
    let refused = Gguf::from_bytes("cut.gguf", &bytes[..30]).err().unwrap();
    assert!(matches!(refused.fault, Fault::Truncated { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.starts_with("cut.gguf: cut short at byte 24: the metadata count"), "{text}");
}
