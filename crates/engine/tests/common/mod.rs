//! Fixtures under testdata/tokenizers.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "fixtures are trusted")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use twinpath_engine::tokenizer::{Tokenizer, TokenizerKind, TokenizerSpec};

pub(crate) const FIXTURES: [&str; 3] = ["teacher", "llama-bpe", "spm"];

/// One line of refs.json, made by transformers.
#[derive(Deserialize)]
pub(crate) struct Reference {
    pub(crate) text: String,
    pub(crate) add_special: bool,
    pub(crate) ids: Vec<u32>,
    pub(crate) decoded: String,
    pub(crate) decoded_plain: String,
}

pub(crate) fn path(fixture: &str, file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tokenizers").join(fixture).join(file)
}

pub(crate) fn bytes(fixture: &str, file: &str) -> Vec<u8> {
    let path = path(fixture, file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn json<T: DeserializeOwned>(fixture: &str, file: &str) -> T {
    serde_json::from_slice(&bytes(fixture, file)).unwrap()
}

pub(crate) fn references(fixture: &str) -> Vec<Reference> {
    json(fixture, "refs.json")
}

pub(crate) fn both(fixture: &str) -> [(&'static str, Tokenizer); 2] {
    let spec = Tokenizer::from_spec(&spec(fixture)).unwrap();
    let hf = Tokenizer::from_hf(&bytes(fixture, "tokenizer.json"), None).unwrap();
    [("from_spec", spec), ("from_hf", hf)]
}

/// The spec of vocab.gguf.
pub(crate) fn spec(fixture: &str) -> TokenizerSpec {
    let fields = gguf_fields(&bytes(fixture, "vocab.gguf"));
    let get = |key: &str| fields.get(&format!("tokenizer.ggml.{key}"));
    let strings = |key: &str| get(key).map(|v| v.iter().map(Field::text).collect()).unwrap_or_default();
    let numbers = |key: &str| get(key).map(|v| v.iter().map(Field::number).collect::<Vec<f64>>()).unwrap_or_default();
    let id = |key: &str| numbers(key).first().map(|n| *n as u32);
    let flag = |key: &str| numbers(key).first().map(|n| *n != 0.0);
    TokenizerSpec {
        kind: match get("model").unwrap()[0].text().as_str() {
            "gpt2" => TokenizerKind::ByteLevelBpe,
            "llama" => TokenizerKind::SentencePieceBpe,
            other => panic!("tokenizer.ggml.model {other}"),
        },
        pre: get("pre").unwrap()[0].text(),
        tokens: strings("tokens"),
        merges: strings("merges"),
        scores: numbers("scores").into_iter().map(|n| n as f32).collect(),
        token_types: numbers("token_type").into_iter().map(|n| n as i32).collect(),
        bos: id("bos_token_id"),
        eos: id("eos_token_id"),
        unk: id("unknown_token_id"),
        add_bos: flag("add_bos_token"),
        add_eos: flag("add_eos_token"),
        add_space_prefix: flag("add_space_prefix"),
        chat_template: fields.get("tokenizer.chat_template").map(|v| v[0].text()),
        ..TokenizerSpec::default()
    }
}

enum Field {
    Text(String),
    Number(f64),
}

impl Field {
    fn text(&self) -> String {
        match self {
            Field::Text(text) => text.clone(),
            Field::Number(n) => panic!("{n} is no text"),
        }
    }

    fn number(&self) -> f64 {
        match self {
            Field::Number(n) => *n,
            Field::Text(text) => panic!("{text} is no number"),
        }
    }
}

/// The metadata of a trusted GGUF: magic, version, two counts, then key, type and value; a scalar is a list of one.
fn gguf_fields(mut bytes: &[u8]) -> BTreeMap<String, Vec<Field>> {
    let at = &mut bytes;
    assert_eq!(take(at, 8), *b"GGUF\x03\0\0\0");
    take(at, 8);
    let count = u64_of(at);
    let field = |at: &mut &[u8]| {
        let (key, kind) = (text_of(at), u32_of(at));
        let (kind, len) = if kind == 9 { (u32_of(at), u64_of(at)) } else { (kind, 1) };
        (key, (0..len).map(|_| value_of(at, kind)).collect())
    };
    (0..count).map(|_| field(at)).collect()
}

fn take<'a>(at: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (head, tail) = at.split_at(n);
    *at = tail;
    head
}

fn u32_of(at: &mut &[u8]) -> u32 {
    u32::from_le_bytes(take(at, 4).try_into().unwrap())
}

fn u64_of(at: &mut &[u8]) -> u64 {
    u64::from_le_bytes(take(at, 8).try_into().unwrap())
}

fn text_of(at: &mut &[u8]) -> String {
    let len = u64_of(at) as usize;
    String::from_utf8(take(at, len).to_vec()).unwrap()
}

fn value_of(at: &mut &[u8], kind: u32) -> Field {
    match kind {
        4 => Field::Number(f64::from(u32_of(at))),
        5 => Field::Number(f64::from(u32_of(at) as i32)),
        6 => Field::Number(f64::from(f32::from_bits(u32_of(at)))),
        7 => Field::Number(f64::from(take(at, 1)[0])),
        8 => Field::Text(text_of(at)),
        other => panic!("GGUF type {other} is not in the fixtures"),
    }
}
