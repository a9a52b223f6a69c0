//! Small models for the tests of the containers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::Write;
use std::path::PathBuf;

use serde_json::{Map, Value as Json, json};
use twinpath_formats::gguf::{self, Array, Metadata, Value};
use twinpath_formats::{Fault, FormatError, TensorPlan, TensorType, apr};

/// A file of the repository's `zoo`.
pub(crate) fn zoo(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../zoo").join(name)
}

/// Bytes for tensor `i`, different for each tensor and position, with no infinite or NaN scale or value: every
/// 16-bit word stays below 0x3c00, so neither an f16 nor the upper half of an f32 has its exponent full.
pub(crate) fn fill_bytes(i: usize, len: usize) -> Vec<u8> {
    (0..len).map(|j| ((i * 31 + j * 7) % 0x3b) as u8).collect()
}

/// Fills planned tensors with [`fill_bytes`].
pub(crate) fn fill(plans: &[TensorPlan]) -> impl FnMut(usize, &mut dyn Write) -> Result<(), FormatError> {
    let lens: Vec<usize> = plans.iter().map(plan_len).collect();
    move |i, out| {
        out.write_all(&fill_bytes(i, lens[i])).unwrap();
        Ok(())
    }
}

/// Bytes of a planned tensor.
pub(crate) fn plan_len(plan: &TensorPlan) -> usize {
    plan.tensor_type.bytes_of(plan.shape.iter().product::<usize>() as u64).unwrap() as usize
}

/// Metadata with every value type, nested arrays, and floats that JSON cannot hold.
pub(crate) fn every_type() -> Metadata {
    let mut m = Metadata::default();
    m.set("general.architecture", Value::String("llama".into()));
    m.set("a.u8", Value::U8(255));
    m.set("a.i8", Value::I8(-128));
    m.set("a.u16", Value::U16(65535));
    m.set("a.i16", Value::I16(-32768));
    m.set("a.u32", Value::U32(u32::MAX));
    m.set("a.i32", Value::I32(i32::MIN));
    m.set("a.f32", Value::F32(1e-6));
    m.set("a.f32.infinite", Value::F32(f32::NEG_INFINITY));
    m.set("a.f32.zero", Value::F32(-0.0));
    m.set("a.bool", Value::Bool(true));
    m.set("a.string", Value::String("naïve \"quotes\" \u{0}".into()));
    m.set("a.u64", Value::U64(u64::MAX));
    m.set("a.i64", Value::I64(i64::MIN));
    m.set("a.f64", Value::F64(0.1 + 0.2));
    m.set("a.u8s", Value::Array(Array::U8(vec![1, 2, 3])));
    m.set("a.empty", Value::Array(Array::I16(vec![])));
    m.set("a.bools", Value::Array(Array::Bool(vec![true, false])));
    m.set("a.f64s", Value::Array(Array::F64(vec![f64::INFINITY, f64::MIN_POSITIVE])));
    let inner = vec![Array::String(vec!["x".into(), String::new()]), Array::F32(vec![0.5]), Array::U64(vec![])];
    m.set("a.nested", Value::Array(Array::Array(inner)));
    m.set("llama.attention.head_count", Value::Array(Array::U32(vec![4, 8])));
    m.set("llama.rope.scaling.type", Value::String("yarn".into()));
    m.set("llama.rope.scaling.factor", Value::F32(4.0));
    m.set("llama.embedding_length", Value::U64(256));
    m.set("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    m.set("tokenizer.ggml.tokens", Value::Array(Array::String(vec!["bits:0".into(), "<s>".into()])));
    m.set("tokenizer.ggml.scores", Value::Array(Array::F32(vec![-1.5, 0.1])));
    m.set("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![1, 3])));
    m.set("tokenizer.ggml.bos_token_id", Value::U32(1));
    m.set("tokenizer.chat_template", Value::String("{{ messages }}".into()));
    m
}

/// Tensors of a Llama model with one layer; the last one ends at a multiple of 64.
pub(crate) fn llama_plans() -> Vec<TensorPlan> {
    vec![
        TensorPlan::new("token_embd.weight", TensorType::Q4K, &[2, 256]),
        TensorPlan::new("output.weight", TensorType::Q6K, &[2, 256]),
        TensorPlan::new("output_norm.weight", TensorType::F32, &[256]),
        TensorPlan::new("blk.0.attn_q.weight", TensorType::F16, &[3, 5]),
        TensorPlan::new("blk.0.attn_q.bias", TensorType::F32, &[3]),
        TensorPlan::new("rope_freqs.weight", TensorType::F32, &[7]),
        TensorPlan::new("blk.0.attn_k.weight", TensorType::BF16, &[4, 8]),
    ]
}

/// A small GGUF model with the given metadata.
pub(crate) fn gguf_bytes(metadata: &Metadata, plans: &[TensorPlan]) -> Vec<u8> {
    gguf::to_bytes(metadata, plans, &mut fill(plans)).unwrap()
}

/// Metadata of a complete `.apr` file.
pub(crate) fn apr_metadata() -> Map<String, Json> {
    let map = json!({
        "model_type": "qwen2", "architecture": "qwen2", "hidden_size": 4, "num_layers": 1, "num_heads": 1,
        "num_kv_heads": 1, "vocab_size": 2, "intermediate_size": 8, "max_position_embeddings": 16,
        "rope_theta": 1e6, "rope_type": 2, "rms_norm_eps": 1e-6,
        "tokenizer.vocabulary": ["a", "b"], "tokenizer.merges": [],
    });
    map.as_object().unwrap().clone()
}

/// Tensors of a small `.apr` model, not in the order of their names.
pub(crate) fn apr_plans() -> Vec<TensorPlan> {
    vec![
        TensorPlan::new("model.norm.weight", TensorType::F32, &[4]),
        TensorPlan::new("lm_head.weight", TensorType::F16, &[2, 4]),
        TensorPlan::new("model.embed_tokens.weight", TensorType::Q4K, &[1, 256]),
    ]
}

/// A small `.apr` model.
pub(crate) fn apr_bytes(metadata: &Map<String, Json>, plans: &[TensorPlan]) -> Vec<u8> {
    apr::to_bytes(metadata, plans, &mut fill(plans)).unwrap()
}

/// Recomputes header checksum and footer, so that a test reaches the check behind them.
pub(crate) fn reseal(apr: &mut [u8]) {
    let header: Vec<u8> = apr[..40].iter().chain(&apr[44..64]).copied().collect();
    let crc = crc32(&header);
    apr[40..44].copy_from_slice(&crc.to_le_bytes());
    let end = apr.len() - 4;
    let crc = crc32(&apr[..end]);
    apr[end..].copy_from_slice(&crc.to_le_bytes());
}

/// CRC-32 bit by bit, from its definition: independent of the crate that the readers use.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// A safetensors file from its header's JSON and data.
pub(crate) fn safetensors_bytes(header: &str, data: &[u8]) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

/// The fault of a refusal; panics where there is none.
pub(crate) fn fault<T>(result: Result<T, FormatError>) -> Fault {
    result.err().expect("must be refused").fault
}
