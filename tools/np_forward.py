"""A plain numpy float64 forward pass for Llama, Mistral, Qwen2 and Qwen3: no torch, no Hugging Face code.

Makes   nothing; `tiny_models.py` imports it to check and to complement its recordings.
From    a config.json + model.safetensors folder (`from_hf`), or a model.gguf alone (`from_gguf`).
        The two readers share nothing but the forward pass, so agreement checks the GGUF conventions too.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGUFReader
from safetensors.numpy import load_file


@dataclass
class Model:
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    inv_freq: np.ndarray  # float64 [head_dim / 2]
    rope_scale: float  # multiplies cos and sin (YaRN's attention factor)
    adjacent_pairs: bool  # rotate (2i, 2i+1) instead of (i, i + head_dim/2)
    windows: list[int | None]  # per layer; a token sees itself and window-1 before it
    weights: dict[str, np.ndarray]  # float64, Hugging Face names without "model."


def rope_linear(inv_freq: np.ndarray, factor: float) -> np.ndarray:
    return inv_freq / factor


def rope_yarn(inv_freq: np.ndarray, theta: float, factor: float, original: int, fast: float, slow: float) -> np.ndarray:
    """Blend of plain (fast dimensions) and interpolated (slow dimensions) frequencies; bounds are truncated."""
    dim = 2 * len(inv_freq)

    def dim_of(rotations: float) -> float:
        return dim * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    low = max(math.floor(dim_of(fast)), 0)
    high = min(math.ceil(dim_of(slow)), dim - 1)
    ramp = np.clip((np.arange(len(inv_freq)) - low) / max(high - low, 0.001), 0, 1)
    return inv_freq / factor * ramp + inv_freq * (1 - ramp)


def rope_llama3(inv_freq: np.ndarray, factor: float, low: float, high: float, original: int) -> np.ndarray:
    wavelength = 2 * math.pi / inv_freq
    smooth = np.clip((original / wavelength - low) / (high - low), 0, 1)
    return inv_freq * ((1 - smooth) / factor + smooth)


def yarn_scale(factor: float) -> float:
    return 0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0


def from_hf(folder: Path) -> Model:
    config = json.loads((folder / "config.json").read_text())
    weights = {k.removeprefix("model."): v.astype(np.float64) for k, v in load_file(folder / "model.safetensors").items()}
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    rope = config["rope_parameters"]
    inv_freq, scale = float(rope["rope_theta"]) ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim), 1.0
    match rope["rope_type"]:
        case "linear":
            inv_freq = rope_linear(inv_freq, rope["factor"])
        case "yarn":
            inv_freq = rope_yarn(
                inv_freq, rope["rope_theta"], rope["factor"], rope["original_max_position_embeddings"],
                rope.get("beta_fast", 32.0), rope.get("beta_slow", 1.0),
            )  # fmt: skip
            scale = rope.get("attention_factor") or yarn_scale(rope["factor"])
        case "llama3":
            inv_freq = rope_llama3(
                inv_freq, rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"],
                rope["original_max_position_embeddings"],
            )  # fmt: skip
        case other:
            assert other == "default", other
    layers, window = config["num_hidden_layers"], config.get("sliding_window")
    if config["model_type"] == "mistral":
        first = 0
    else:
        first = config["max_window_layers"] if config.get("use_sliding_window") else layers
    windows = [window if n >= first else None for n in range(layers)]
    return Model(heads, config["num_key_value_heads"], head_dim, config["rms_norm_eps"], inv_freq, scale, False, windows, weights)


GGUF_NAMES = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
GGUF_TOP = {"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight", "output.weight": "lm_head.weight"}


def hf_name(name: str) -> str:
    if name in GGUF_TOP:
        return GGUF_TOP[name]
    _, layer, stem, kind = name.split(".")
    return f"layers.{layer}.{GGUF_NAMES[stem]}.{kind}"


def from_gguf(path: Path) -> Model:
    reader = GGUFReader(path)
    tensors = {t.name: np.array(t.data, dtype=np.float64) for t in reader.tensors}
    factors = tensors.pop("rope_freqs.weight", 1.0)
    arch = reader.get_field("general.architecture").contents()

    def get(key: str, default=None):
        field = reader.get_field(f"{arch}.{key}")
        return default if field is None else field.contents()

    heads, layers = get("attention.head_count"), get("block_count")
    head_dim = get("attention.key_length", get("embedding_length") // heads)
    theta, factor = get("rope.freq_base", 10000.0), get("rope.scaling.factor", 1.0)
    inv_freq, scale = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim), 1.0
    match get("rope.scaling.type", "none"):
        case "linear":
            inv_freq = rope_linear(inv_freq, factor)
        case "yarn":
            fast, slow = get("rope.scaling.yarn_beta_fast", 32.0), get("rope.scaling.yarn_beta_slow", 1.0)
            inv_freq = rope_yarn(inv_freq, theta, factor, get("rope.scaling.original_context_length"), fast, slow)
            scale = yarn_scale(factor)
    window = get("attention.sliding_window")
    pattern = get("attention.sliding_window_pattern", [window is not None] * layers)
    windows = [window if windowed else None for windowed in pattern]
    weights = {hf_name(name): data for name, data in tensors.items()}
    eps = get("attention.layer_norm_rms_epsilon")
    return Model(heads, get("attention.head_count_kv"), head_dim, eps, inv_freq / factors, scale, arch == "llama", windows, weights)


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def rotate(m: Model, x: np.ndarray) -> np.ndarray:
    """x is [tokens, heads, head_dim]."""
    angle = np.arange(len(x), dtype=np.float64)[:, None, None] * m.inv_freq
    cos, sin = np.cos(angle) * m.rope_scale, np.sin(angle) * m.rope_scale
    half = m.head_dim // 2
    half_split, adjacent = (np.s_[..., :half], np.s_[..., half:]), (np.s_[..., 0::2], np.s_[..., 1::2])
    first, second = adjacent if m.adjacent_pairs else half_split
    out = np.empty_like(x)
    out[first] = x[first] * cos - x[second] * sin
    out[second] = x[second] * cos + x[first] * sin
    return out


def attention(m: Model, layer: int, x: np.ndarray) -> np.ndarray:
    tokens, prefix = len(x), f"layers.{layer}.self_attn."

    def project(name: str, heads: int) -> np.ndarray:
        y = x @ m.weights[f"{prefix}{name}_proj.weight"].T + m.weights.get(f"{prefix}{name}_proj.bias", 0.0)
        y = y.reshape(tokens, heads, m.head_dim)
        norm = m.weights.get(f"{prefix}{name}_norm.weight")
        return y if norm is None else rms_norm(y, norm, m.eps)

    q, k, v = rotate(m, project("q", m.heads)), rotate(m, project("k", m.kv_heads)), project("v", m.kv_heads)
    distance = np.arange(tokens)[:, None] - np.arange(tokens)[None, :]
    seen = (distance >= 0) & (distance < (m.windows[layer] or tokens))
    out = np.empty_like(q)
    for head in range(m.heads):
        shared = head // (m.heads // m.kv_heads)
        scores = np.where(seen, q[:, head] @ k[:, shared].T / math.sqrt(m.head_dim), -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        out[:, head] = weights / weights.sum(-1, keepdims=True) @ v[:, shared]
    return out.reshape(tokens, -1) @ m.weights[f"{prefix}o_proj.weight"].T


def feed_forward(m: Model, layer: int, x: np.ndarray) -> np.ndarray:
    gate, up, down = (m.weights[f"layers.{layer}.mlp.{name}_proj.weight"].T for name in ("gate", "up", "down"))
    z = x @ gate
    return (z / (1 + np.exp(-z)) * (x @ up)) @ down


def logits(m: Model, ids: np.ndarray) -> np.ndarray:
    """float64 [tokens, vocab]."""
    x = m.weights["embed_tokens.weight"][ids]
    for layer in range(len(m.windows)):
        x = x + attention(m, layer, rms_norm(x, m.weights[f"layers.{layer}.input_layernorm.weight"], m.eps))
        x = x + feed_forward(m, layer, rms_norm(x, m.weights[f"layers.{layer}.post_attention_layernorm.weight"], m.eps))
    head = m.weights.get("lm_head.weight", m.weights["embed_tokens.weight"])
    return rms_norm(x, m.weights["norm.weight"], m.eps) @ head.T
