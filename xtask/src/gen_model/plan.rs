//! Which tensors a qwen2 model of some size has, and how llama.cpp's Q4_K_M codes each.

use twinpath_formats::gguf::{Metadata, Value};
use twinpath_formats::{TensorPlan, TensorType};

/// The sizes of one model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dims {
    /// The name for `--dims`.
    pub(super) name: &'static str,
    layers: usize,
    hidden: usize,
    ffn: usize,
    heads: usize,
    kv_heads: usize,
    vocab: usize,
    /// Whether the embedding is the head too.
    tied: bool,
}

/// Every size: those of the models' published config.json, and one that a test can hold.
pub(super) const DIMS: &[Dims] = &[
    Dims { name: "tiny", layers: 2, hidden: 256, ffn: 768, heads: 4, kv_heads: 2, vocab: 512, tied: false },
    Dims {
        name: "qwen2.5-0.5b",
        layers: 24,
        hidden: 896,
        ffn: 4864,
        heads: 14,
        kv_heads: 2,
        vocab: 151_936,
        tied: true,
    },
    Dims {
        name: "qwen2.5-1.5b",
        layers: 28,
        hidden: 1536,
        ffn: 8960,
        heads: 12,
        kv_heads: 2,
        vocab: 151_936,
        tied: true,
    },
    Dims {
        name: "qwen2.5-7b",
        layers: 28,
        hidden: 3584,
        ffn: 18_944,
        heads: 28,
        kv_heads: 4,
        vocab: 152_064,
        tied: false,
    },
];

/// What a tensor is filled with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Content {
    /// Blocks of mean 0 and standard deviation `1 / sqrt(fan_in)`: outputs are about as large as inputs.
    Weights {
        /// Values of a row.
        fan_in: usize,
    },
    /// F32 within 0.1 of 1.
    Norm,
    /// F32 within 0.1 of 0.
    Bias,
}

impl Dims {
    /// The tensors, in file order.
    pub(super) fn tensors(&self) -> Vec<(TensorPlan, Content)> {
        let Dims { hidden, ffn, vocab, .. } = *self;
        let kv = hidden / self.heads * self.kv_heads;
        let head = if hidden.is_multiple_of(256) { TensorType::Q6K } else { TensorType::Q8_0 };
        let mut all = vec![weights(
            "token_embd",
            if self.tied { head } else { fallback(TensorType::Q4K, hidden) },
            vocab,
            hidden,
        )];
        for layer in 0..self.layers {
            let more = if use_more_bits(layer, self.layers) { TensorType::Q6K } else { TensorType::Q4K };
            let mut matrix = |name: &str, wanted, rows, cols| {
                all.push(weights(&format!("blk.{layer}.{name}"), fallback(wanted, cols), rows, cols));
            };
            matrix("attn_q", TensorType::Q4K, hidden, hidden);
            matrix("attn_k", TensorType::Q4K, kv, hidden);
            matrix("attn_v", more, kv, hidden);
            matrix("attn_output", TensorType::Q4K, hidden, hidden);
            matrix("ffn_gate", TensorType::Q4K, ffn, hidden);
            matrix("ffn_up", TensorType::Q4K, ffn, hidden);
            matrix("ffn_down", more, hidden, ffn);
            let vectors = [
                ("attn_norm.weight", hidden, Content::Norm),
                ("ffn_norm.weight", hidden, Content::Norm),
                ("attn_q.bias", hidden, Content::Bias),
                ("attn_k.bias", kv, Content::Bias),
                ("attn_v.bias", kv, Content::Bias),
            ];
            all.extend(vectors.map(|(name, len, content)| vector(&format!("blk.{layer}.{name}"), len, content)));
        }
        all.push(vector("output_norm.weight", hidden, Content::Norm));
        if !self.tied {
            all.push(weights("output", head, vocab, hidden));
        }
        all
    }

    /// The metadata that llama.cpp's converter writes for qwen2, without a tokenizer.
    pub(super) fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::default();
        let mut set = |key: &str, value| metadata.set(key, value);
        let number = |n: usize| Value::U32(n as u32);
        set("general.architecture", Value::String("qwen2".into()));
        set("general.type", Value::String("model".into()));
        set("general.name", Value::String(format!("random weights, sizes of {}", self.name)));
        set("qwen2.block_count", number(self.layers));
        set("qwen2.context_length", number(32_768));
        set("qwen2.embedding_length", number(self.hidden));
        set("qwen2.feed_forward_length", number(self.ffn));
        set("qwen2.attention.head_count", number(self.heads));
        set("qwen2.attention.head_count_kv", number(self.kv_heads));
        set("qwen2.rope.freq_base", Value::F32(1e6));
        set("qwen2.attention.layer_norm_rms_epsilon", Value::F32(1e-6));
        set("general.file_type", number(15)); // LLAMA_FTYPE_MOSTLY_Q4_K_M
        set("general.quantization_version", number(2));
        metadata
    }
}

fn weights(name: &str, tensor_type: TensorType, rows: usize, cols: usize) -> (TensorPlan, Content) {
    (TensorPlan::new(&format!("{name}.weight"), tensor_type, &[rows, cols]), Content::Weights { fan_in: cols })
}

fn vector(name: &str, len: usize, content: Content) -> (TensorPlan, Content) {
    (TensorPlan::new(name, TensorType::F32, &[len]), content)
}

/// Layers whose attn_v and ffn_down Q4_K_M keeps at Q6_K: the first and last eighth and every third between
/// (`use_more_bits` of llama.cpp's llama-quant.cpp).
fn use_more_bits(layer: usize, layers: usize) -> bool {
    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2
}

/// What llama-quantize takes where a row is no whole number of 256-value blocks.
fn fallback(wanted: TensorType, cols: usize) -> TensorType {
    match wanted {
        _ if cols.is_multiple_of(256) => wanted,
        TensorType::Q6K => TensorType::Q8_0,
        _ => TensorType::Q5_0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tensors by type, as llama.cpp lists them when it loads the published Q4_K_M files.
    #[test]
    fn type_counts_are_those_of_the_published_files() {
        use TensorType::{F32, Q4K, Q5_0, Q6K, Q8_0};
        let expected: [(&str, &[(TensorType, usize)]); 3] = [
            ("qwen2.5-0.5b", &[(F32, 121), (Q5_0, 132), (Q8_0, 13), (Q4K, 12), (Q6K, 12)]),
            ("qwen2.5-1.5b", &[(F32, 141), (Q4K, 168), (Q6K, 29)]),
            ("qwen2.5-7b", &[(F32, 141), (Q4K, 169), (Q6K, 29)]),
        ];
        for (name, counts) in expected {
            let tensors = DIMS.iter().find(|d| d.name == name).unwrap().tensors();
            for (tensor_type, count) in counts {
                let found = tensors.iter().filter(|(t, _)| t.tensor_type == *tensor_type).count();
                assert_eq!(found, *count, "{name} {}", tensor_type.name());
            }
            assert_eq!(tensors.len(), counts.iter().map(|(_, n)| n).sum::<usize>(), "{name}");
        }
    }

    #[test]
    fn parameter_counts_are_the_published_ones() {
        // The models' cards: 0.49, 1.54 and 7.61 billion, the last one cut and not rounded.
        for (name, billions) in [("qwen2.5-0.5b", 0.49), ("qwen2.5-1.5b", 1.54), ("qwen2.5-7b", 7.62)] {
            let tensors = DIMS.iter().find(|d| d.name == name).unwrap().tensors();
            let values: usize = tensors.iter().map(|(t, _)| t.shape.iter().product::<usize>()).sum();
            assert_eq!((values as f64 / 1e7).round() / 100.0, billions, "{name}: {values}");
        }
    }
}
