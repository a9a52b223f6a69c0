"""Tiny random-weight models with every activation recorded by transformers (float32, eager attention).

Makes   testdata/tiny/<name>/{config.json, config_v4.json, model.safetensors, model.gguf, recording.safetensors}
From    fixed seeds; the logits are checked against `np_forward.py` (float64) from the Hugging Face files
        and again from the GGUF file alone.
Run     python tools/tiny_models.py [name ...]        (from the repository root; seconds)

model.gguf is F32 and follows llama.cpp's converter: architecture `llama` (also for Mistral) has the rows of
q and k permuted for adjacent-pair RoPE, llama3 scaling becomes the tensor rope_freqs.weight.
config.json is as transformers 5 saves it; config_v4.json says the same the way transformers 4 did (rope_theta and
rope_scaling at the top), which is what most published models still have.
recording.safetensors holds input_ids, one float32 [tokens, width] tensor a site, and logits_np64 (float64).
"""

import json
import math
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file

import np_forward

OUT = Path("testdata/tiny")

COMMON = dict(
    vocab_size=64, num_hidden_layers=2, max_position_embeddings=64, rms_norm_eps=1e-6,
    bos_token_id=None, eos_token_id=None, pad_token_id=None,
)  # fmt: skip


def rope(theta: float, kind: str = "default", **more) -> dict:
    return {"rope_theta": theta, "rope_type": kind, **more}


def shape(hidden: int, ffn: int, heads: int, kv_heads: int, **more) -> dict:
    return dict(
        hidden_size=hidden, intermediate_size=ffn, num_attention_heads=heads, num_key_value_heads=kv_heads, **more
    )  # fmt: skip


# name: (family, tokens in the prompt, config). The family is the first part of the transformers class names.
CASES = {
    "llama-gqa4": ("Llama", 12, shape(64, 80, 8, 2, rope_parameters=rope(10000.0), rms_norm_eps=1e-5)),
    "llama-linear": (
        "Llama", 40,
        shape(64, 80, 4, 2, tie_word_embeddings=True, rope_parameters=rope(10000.0, "linear", factor=4.0)),
    ),
    # original_max_position_embeddings stands at the top as well, because that is where llama.cpp's converter
    # looks for it (it takes 8192 otherwise, whatever rope_parameters says).
    "llama3-rope": (
        "Llama", 48,
        shape(
            64, 80, 2, 1, max_position_embeddings=256, original_max_position_embeddings=32,
            rope_parameters=rope(
                1000.0, "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=32,
            ),
        ),
    ),
    "mistral-window": ("Mistral", 24, shape(56, 96, 7, 1, sliding_window=8, rope_parameters=rope(10000.0))),
    # A small theta gives the ramp an inner point: with four frequencies it is 0, 1/2, 1, 1.
    "qwen2-yarn": (
        "Qwen2", 48,
        shape(
            56, 96, 7, 1, max_position_embeddings=128,
            rope_parameters=rope(100.0, "yarn", factor=4.0, original_max_position_embeddings=32),
        ),
    ),
    "qwen3": (
        "Qwen3", 12,
        shape(32, 64, 8, 2, head_dim=32, tie_word_embeddings=True, rope_parameters=rope(1000000.0)),
    ),
    "qwen2-window": (
        "Qwen2", 24,
        shape(
            56, 64, 7, 1, num_hidden_layers=3, use_sliding_window=True, sliding_window=8, max_window_layers=1,
            rope_parameters=rope(10000.0),
        ),
    ),
}  # fmt: skip


def build(name: str):
    """The model with seeded weights, and a prompt."""
    family, tokens, config = CASES[name]
    config = getattr(transformers, f"{family}Config")(**(COMMON | config))
    config._attn_implementation = "eager"
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    rng = np.random.default_rng([7, list(CASES).index(name)])
    for key, param in model.named_parameters():
        mean, std = (1.0, 0.1) if "norm" in key else (0.0, 0.5) if "embed" in key else (0.0, 0.2)
        param.data = torch.from_numpy(rng.normal(mean, std, param.shape).astype(np.float32))
    model.tie_weights()
    return model, rng.integers(0, config.vocab_size, tokens)


def record(model, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Run once with hooks on every module of interest. Sites are named after the Hugging Face modules."""
    sites: dict[str, torch.Tensor] = {}

    def keep(site: str, value: torch.Tensor) -> None:
        assert site not in sites, site
        sites[site] = value.detach().reshape(len(ids), -1).clone()

    def on_output(site):
        return lambda _, __, out: keep(site, out[0] if isinstance(out, tuple) else out)

    def on_input(site):
        return lambda _, args: keep(site, args[0])

    hooks = []
    inputs = {name: f"{name}.in" for name in ("self_attn.o_proj", "mlp.down_proj")} | {"post_attention_layernorm": "resid_mid"}
    outputs = [
        "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.q_norm",
        "self_attn.k_norm", "self_attn.o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp",
    ]  # fmt: skip
    for path, module in model.named_modules():
        _, _, inner = path.removeprefix("model.layers.").partition(".")
        if path in ("model.embed_tokens", "model.norm"):
            hooks.append(module.register_forward_hook(on_output(f"{path}.out")))
        elif path.startswith("model.layers.") and (inner in outputs or not inner):
            hooks.append(module.register_forward_hook(on_output(f"{path}.out")))
        if path == "model.norm":
            hooks.append(module.register_forward_pre_hook(on_input(f"{path}.in")))
        elif path.startswith("model.layers.") and inner in inputs:
            layer = path.removesuffix(inner)
            hooks.append(module.register_forward_pre_hook(on_input(layer + inputs[inner])))

    # RoPE is a function, not a module: wrap it, and count layers as it is called.
    code = sys.modules[type(model).__module__]
    original, layers = code.apply_rotary_pos_emb, iter(range(model.config.num_hidden_layers))

    def rotary(q, k, *args, **kwargs):
        rotated = original(q, k, *args, **kwargs)
        layer = next(layers)
        for letter, value in zip("qk", rotated):  # [1, heads, tokens, head_dim]
            keep(f"model.layers.{layer}.self_attn.{letter}_rope", value.transpose(1, 2))
        return rotated

    code.apply_rotary_pos_emb = rotary
    try:
        with torch.no_grad():
            keep("logits", model(input_ids=torch.from_numpy(ids)[None], use_cache=False).logits)
    finally:
        code.apply_rotary_pos_emb = original
        for hook in hooks:
            hook.remove()
    return {site: value.contiguous().numpy() for site, value in sites.items()}


def permute(weights: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's row order for adjacent-pair RoPE: new row 2i+s of a head is its old row s*half+i."""
    halves = weights.reshape(heads, 2, len(weights) // heads // 2, *weights.shape[1:])
    return halves.swapaxes(1, 2).reshape(weights.shape)


def llama3_factors(params: dict, head_dim: int) -> np.ndarray:
    """What llama.cpp's converter stores as rope_freqs.weight: divisors of the frequencies, computed in f32."""
    freqs = 1.0 / (params["rope_theta"] ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim))
    original, low, high = (params[k] for k in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor"))
    factors = []
    for freq in freqs:
        wavelength = 2 * math.pi / freq
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(params["factor"])
        else:
            smooth = (original / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / params["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def add_parameters(writer: gguf.GGUFWriter, config: dict, arch: str) -> None:
    head_dim = config.get("head_dim")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    params = config["rope_parameters"]
    if params["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(params["factor"])
    elif params["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(params["factor"])
        writer.add_rope_scaling_orig_ctx_len(params["original_max_position_embeddings"])
    writer.add_rope_freq_base(params["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if head_dim is not None:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(config["vocab_size"])
    if arch == "llama":
        writer.add_rope_dimension_count(head_dim or config["hidden_size"] // config["num_attention_heads"])
    if config.get("sliding_window") is not None:
        # Not written by llama.cpp's converter for these architectures, and not read by its qwen2 or llama.
        writer.add_sliding_window(config["sliding_window"])
        if arch == "qwen2":
            writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in config["layer_types"]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def write_gguf(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    arch = {"mistral": "llama"}.get(config["model_type"], config["model_type"])
    writer = gguf.GGUFWriter(folder / "model.gguf", arch)
    writer.add_type("model")
    writer.add_name(folder.name)
    add_parameters(writer, config, arch)
    names = gguf.get_tensor_name_map({v: k for k, v in gguf.MODEL_ARCH_NAMES.items()}[arch], config["num_hidden_layers"])
    if config["rope_parameters"]["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(config["rope_parameters"], config["head_dim"]))
    for name, data in load_file(folder / "model.safetensors").items():
        if arch == "llama" and "q_proj" in name:
            data = permute(data, config["num_attention_heads"])
        if arch == "llama" and "k_proj" in name:
            data = permute(data, config["num_key_value_heads"])
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), np.ascontiguousarray(data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_v4_config(folder: Path, config_class) -> None:
    """The older spelling, checked by reading it back with transformers 5."""
    config = json.loads((folder / "config.json").read_text())
    params = dict(config.pop("rope_parameters"))
    old = config | {"rope_theta": params.pop("rope_theta"), "torch_dtype": config.pop("dtype")}
    old["rope_scaling"] = params if params["rope_type"] != "default" else None
    for key in ("layer_types", "dtype"):
        old.pop(key, None)
    (folder / "config_v4.json").write_text(json.dumps(dict(sorted(old.items())), indent=2) + "\n")
    read_back = config_class.from_dict(old).to_dict()
    expected = config_class.from_dict(json.loads((folder / "config.json").read_text())).to_dict()
    assert read_back == expected, {k: (read_back.get(k), v) for k, v in expected.items() if read_back.get(k) != v}


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


def make(name: str) -> None:
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    model, ids = build(name)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    write_v4_config(folder, type(model.config))
    write_gguf(folder)

    recording = record(model, ids)
    exact = np_forward.logits(np_forward.from_hf(folder), ids)
    from_gguf = np_forward.logits(np_forward.from_gguf(folder / "model.gguf"), ids)
    errors = relative(recording["logits"], exact), relative(from_gguf, exact)
    assert max(errors) < 1e-5, errors
    recording |= {"input_ids": ids, "logits_np64": exact}
    save_file(recording, folder / "recording.safetensors", metadata={"transformers": transformers.__version__})
    for file in folder.iterdir():
        file.chmod(0o644)
    print(f"{name:15} {len(ids)} tokens, {len(recording)} tensors, f32 vs f64 {errors[0]:.1e}, gguf vs f64 {errors[1]:.1e}")


def main() -> None:
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for name in sys.argv[1:] or CASES:
        make(name)


if __name__ == "__main__":
    main()
