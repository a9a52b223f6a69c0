//! Tensor names: ggml's, and Hugging Face's, which `.apr` uses.
//!
//! Source of the pairs: gguf-py's tensor mapping for the Llama, Mistral, Qwen2 and Qwen3 families. A name without a
//! partner (`rope_freqs.weight`) stays as it is.

/// Tensors outside the layers: ggml's name, Hugging Face's.
const GLOBAL: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// Tensors of a layer, after `blk.N.` and `model.layers.N.`.
const LAYER: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// ggml's name of the token embedding.
pub(crate) const EMBEDDING: &str = "token_embd.weight";
/// ggml's name of the output head.
pub(crate) const HEAD: &str = "output.weight";

/// The Hugging Face name of a ggml name.
pub fn to_hf(name: &str) -> String {
    translate(name, "blk.", "model.layers.", |(ggml, hf)| (ggml, hf))
}

/// The ggml name of a Hugging Face name.
pub fn to_ggml(name: &str) -> String {
    translate(name, "model.layers.", "blk.", |(ggml, hf)| (hf, ggml))
}

fn translate(
    name: &str,
    from_layer: &str,
    to_layer: &str,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) -> String {
    let Some((stem, suffix)) = name.rsplit_once('.').filter(|(_, s)| matches!(*s, "weight" | "bias")) else {
        return name.to_owned();
    };
    let partner = |pairs: &[(&'static str, &'static str)], stem: &str| {
        pairs.iter().map(|pair| direction(*pair)).find(|(from, _)| *from == stem).map(|(_, to)| to)
    };
    if let Some((number, rest)) = stem.strip_prefix(from_layer).and_then(|s| s.split_once('.'))
        && number.bytes().all(|b| b.is_ascii_digit())
        && let Some(to) = partner(&LAYER, rest)
    {
        return format!("{to_layer}{number}.{to}.{suffix}");
    }
    match partner(&GLOBAL, stem) {
        Some(to) => format!("{to}.{suffix}"),
        None => name.to_owned(),
    }
}
