"""Third opinion on testdata/tiny and testdata/tokenizers: llama.cpp itself (build b9190, by the package cyllama 0.2.18).

Makes   nothing; fails where llama.cpp's logits or token ids are not the recorded ones.
From    testdata/tiny/*/{model.gguf, recording.safetensors}, testdata/tokenizers/*/{vocab.gguf, refs.json}
Run     pip install --no-deps cyllama==0.2.18 && python tools/check_llama_cpp.py 2>/dev/null

llama.cpp wants a tokenizer in a model and weights next to a vocabulary, so each file is loaded from a completed copy.
It ignores the sliding windows of its `llama` and `qwen2`: those two cases are compared with full attention.
"""

import json
import tempfile
from pathlib import Path

import gguf
import numpy as np
from cyllama.llama import llama_cpp
from safetensors.numpy import load_file

import np_forward

ROOT = Path("testdata")
WIDTH = 32


class Model(llama_cpp.LlamaModel):
    n_vocab = 64  # the wrapper asks for it without having it


def copy_of(source: Path, target: Path) -> gguf.GGUFWriter:
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.get_field("general.architecture").contents())
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            writer.add_key_value(key, field.contents(), field.types[0], sub_type=field.types[1] if len(field.types) > 1 else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data))
    return writer


def load(writer: gguf.GGUFWriter, path: Path) -> Model:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    params = llama_cpp.LlamaModelParams()
    params.n_gpu_layers, params.use_mmap, params.use_extra_bufts = 0, False, False
    return Model(str(path), params=params, verbose=False)


def logits(model: Model, ids: list[int]) -> np.ndarray:
    params = llama_cpp.LlamaContextParams()
    params.n_ctx, params.n_threads, params.n_threads_batch = 256, 1, 1
    params.type_k = params.type_v = 0  # f32
    params.flash_attn_type = 0  # off
    context = llama_cpp.LlamaContext(model, params=params, verbose=False)
    batch = llama_cpp.LlamaBatch(n_tokens=256, embd=0, n_seq_max=1)
    batch.add_sequence(ids, 0, True)
    context.decode(batch)
    return np.array([context.get_logits_ith(n) for n in range(len(ids))], dtype=np.float64)


def check_model(folder: Path, scratch: Path) -> None:
    writer = copy_of(folder / "model.gguf", scratch)
    writer.add_tokenizer_model("none")
    recording = load_file(folder / "recording.safetensors")
    ids, expected = recording["input_ids"], recording["logits_np64"]
    reference = np_forward.from_hf(folder)
    if windowed := any(reference.windows):
        reference.windows = [None] * len(reference.windows)
        expected = np_forward.logits(reference, ids)
    found = logits(load(writer, scratch), ids.tolist())
    error = np.abs(found - expected).max() / np.abs(expected).max()
    print(f"{folder.name}: llama.cpp vs f64 {error:.1e}{' (full attention)' if windowed else ''}")
    assert error < 1e-5


def add_zero_model(writer: gguf.GGUFWriter, tokens: int) -> None:
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-6)
    vector, matrix = np.zeros(WIDTH, np.float32), np.zeros((WIDTH, WIDTH), np.float32)
    writer.add_tensor("token_embd.weight", np.zeros((tokens, WIDTH), np.float32))
    for name in ("output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", *(f"blk.0.attn_{x}.bias" for x in "qkv")):
        writer.add_tensor(name, vector)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", matrix)


def check_tokenizer(folder: Path, scratch: Path) -> None:
    writer = copy_of(folder / "vocab.gguf", scratch)
    add_zero_model(writer, len(gguf.GGUFReader(folder / "vocab.gguf").get_field("tokenizer.ggml.tokens").contents()))
    model = load(writer, scratch)
    refs = json.loads((folder / "refs.json").read_text())
    tokenize = model.get_vocab().tokenize
    wrong = [r["text"] for r in refs if list(tokenize(r["text"], r["add_special"], True)) != r.get("ids_without_nfc", r["ids"])]
    print(f"{folder.name}: {len(refs)} encodings, {len(wrong)} differ in llama.cpp")
    assert not wrong, wrong


def main() -> None:
    llama_cpp.llama_backend_init()
    with tempfile.TemporaryDirectory() as scratch:
        for kind, check in (("tiny", check_model), ("tokenizers", check_tokenizer)):
            for folder in sorted((ROOT / kind).iterdir()):
                check(folder, Path(scratch) / f"{folder.name}.gguf")


if __name__ == "__main__":
    main()
