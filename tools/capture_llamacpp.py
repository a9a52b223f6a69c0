"""Records every node of a llama.cpp forward pass, for `twinpath compare MODEL FILE`.

Makes   one safetensors file: the whole value of every named f32 node as NAME@OPERATION (`Qcur-3@ROPE`),
        `input_ids`, `positions`, and what made them under the key `twinpath.capture`
From    a GGUF file
Run     python tools/capture_llamacpp.py --model model.gguf --tokens 636,864,1548 -o llama.safetensors
        mistakes on purpose: --rope-freq-base 10000, --override-kv qwen2.attention.layer_norm_rms_epsilon=float:1e-4,
        --edit blk.2.ffn_up.weight:4:200 (byte 4 of the tensor becomes 200, in a temporary copy)
Needs   pip install llama-cpp-python==0.3.36 numpy==2.4.6 safetensors==0.8.0 gguf==0.19.0 blake3==1.0.11

The evaluation callback sees each node after it is computed, so nothing is fused across nodes. Flash attention is off unless
asked for, because it has no scores; keys and values are kept in f32 unless told otherwise.
"""

import argparse
import ctypes
import json
import shutil
import sys
import tempfile
from pathlib import Path

import blake3
import gguf
import llama_cpp
import numpy as np
from llama_cpp import _ggml
from safetensors.numpy import save_file

KV = {"f32": 0, "f16": 1, "bf16": 30}
# Nodes that only name values of other nodes.
NO_VALUE = {"VIEW", "RESHAPE", "PERMUTE", "TRANSPOSE", "NONE"}


class Tensor(ctypes.Structure):  # struct ggml_tensor of ggml.h
    _fields_ = [
        ("type", ctypes.c_int), ("buffer", ctypes.c_void_p), ("ne", ctypes.c_int64 * 4), ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int), ("op_params", ctypes.c_int32 * 16), ("flags", ctypes.c_int32), ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p), ("view_offs", ctypes.c_size_t), ("data", ctypes.c_void_p), ("name", ctypes.c_char * 64),
    ]


def value_of(tensor: Tensor) -> np.ndarray:
    """The value, slowest dimension first, whatever its strides."""
    shape, strides = list(tensor.ne)[::-1], list(tensor.nb)[::-1]
    extent = sum((n - 1) * s for n, s in zip(shape, strides)) + 4
    raw = np.ctypeslib.as_array((ctypes.c_uint8 * extent).from_address(tensor.data))
    whole = np.lib.stride_tricks.as_strided(raw.view(np.uint8), shape + [4], strides + [1])
    return np.array(whole, order="C").view(np.float32).reshape([n for n in shape if n != 1] or [1])


class Recorder:
    def __init__(self):
        name = _ggml.libggml.ggml_op_name
        name.argtypes, name.restype = [ctypes.c_int], ctypes.c_char_p
        self.op_name, self.values, self.callback = name, {}, llama_cpp.ggml_backend_sched_eval_callback(self.see)

    def see(self, pointer, ask, _data):
        if ask:
            return True
        tensor = ctypes.cast(pointer, ctypes.POINTER(Tensor)).contents
        op, name = self.op_name(tensor.op).decode(), tensor.name.decode()
        if name.startswith("node_") and op in ("MUL_MAT", "FLASH_ATTN_EXT"):  # without a name of their own
            source = ctypes.cast(tensor.src[op == "MUL_MAT"], ctypes.POINTER(Tensor)).contents.name.decode()
            if source.startswith("kqv_out-"):
                name = source.replace("kqv_out", "attn_out")
            elif source.startswith("Qcur-"):  # `Qcur-3 (view) (permuted)`
                name = source.split(" ")[0].replace("Qcur", "__fattn__")
        if tensor.type == 0 and tensor.data and op not in NO_VALUE and not name.startswith(("cache_", "node_")):
            key, n = f"{name}@{op}", 2
            while key in self.values:
                key, n = f"{name}@{op}#{n}", n + 1
            self.values[key] = value_of(tensor)
        return True


def overrides(texts: list[str]):
    array = (llama_cpp.llama_model_kv_override * (len(texts) + 1))()
    for slot, text in zip(array, texts):
        key, rest = text.split("=", 1)
        kind, value = rest.split(":", 1)
        if kind != "float":
            sys.exit(f"{text}: only KEY=float:VALUE is known")
        slot.key, slot.tag, slot.value.val_f64 = key.encode(), llama_cpp.LLAMA_KV_OVERRIDE_TYPE_FLOAT, float(value)
    return array


def edited(model: Path, edit: str, folder: Path) -> Path:
    name, byte, value = edit.rsplit(":", 2)
    copy = folder / model.name
    shutil.copyfile(model, copy)
    tensor = next((t for t in gguf.GGUFReader(model).tensors if t.name == name), None)
    if tensor is None:
        sys.exit(f"{model}: no tensor {name}")
    with copy.open("r+b") as file:
        file.seek(tensor.data_offset + int(byte))
        file.write(bytes([int(value)]))
    return copy


def run(args, path: Path, ids: list[int]) -> dict[str, np.ndarray]:
    recorder = Recorder()
    silence = llama_cpp.llama_log_callback(lambda *_: None)  # alive as long as the library may call it
    if args.quiet:
        llama_cpp.llama_log_set(silence, ctypes.c_void_p(0))
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers, params.use_extra_bufts = 0, args.repack
    kv_overrides = overrides(args.override_kv)
    params.kv_overrides = kv_overrides
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        sys.exit(f"{path}: llama.cpp cannot load it")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = max(256, len(ids))
    params.n_threads = params.n_threads_batch = args.threads
    params.type_k = params.type_v = KV[args.kv]
    params.flash_attn_type = 1 if args.flash else 0
    params.offload_kqv, params.op_offload = False, False
    params.rope_freq_base = args.rope_freq_base
    params.cb_eval, params.cb_eval_user_data = recorder.callback, None
    context = llama_cpp.llama_init_from_model(model, params)
    if not context:
        sys.exit("llama.cpp cannot make a context")
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
        batch.seq_id[i][0] = 0
    recorder.values.clear()
    if llama_cpp.llama_decode(context, batch) != 0:
        sys.exit("llama.cpp cannot decode the batch")
    values = dict(recorder.values)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    llama_cpp.llama_log_set(ctypes.cast(None, llama_cpp.llama_log_callback), ctypes.c_void_p(0))
    return values


def layer_of(name: str) -> int:
    """The layer of a node; -1 before the layers, and after all of them for what comes after."""
    head = name.split("@")[0].rsplit("-", 1)
    return int(head[1]) if len(head) == 2 else -1 if name.startswith("embd") else 1 << 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tokens", required=True, help="ids, separated by commas")
    parser.add_argument("--kv", choices=KV, default="f32", help="type of the cache")
    parser.add_argument("--flash", action="store_true", help="flash attention")
    parser.add_argument("--repack", action="store_true", help="let llama.cpp lay weights out anew")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rope-freq-base", type=float, default=0.0, help="0: as in the file")
    parser.add_argument("--override-kv", action="append", default=[], metavar="KEY=float:VALUE")
    parser.add_argument("--edit", metavar="TENSOR:BYTE:VALUE")
    parser.add_argument("--layers", type=int, help="keep the nodes of the first layers only")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()

    ids = [int(i) for i in args.tokens.split(",")]
    digest = blake3.blake3(args.model.read_bytes()).hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        path = edited(args.model, args.edit, Path(folder)) if args.edit else args.model
        tensors = run(args, path, ids)
    if args.layers is not None:
        tensors = {name: value for name, value in tensors.items() if layer_of(name) < args.layers}
    # Its graph casts keys and values of f32 to f16 for flash attention.
    kv = "f16" if args.flash and args.kv == "f32" else args.kv
    capture = {
        "engine": f"llama.cpp (llama-cpp-python {llama_cpp.__version__})", "activations": "ggml", "kv": kv,
        "dtype": "f32", "flash": args.flash, "repack": args.repack, "threads": args.threads,
        "model": [{"path": str(args.model), "blake3": digest}], "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
    tensors["input_ids"] = np.array(ids, dtype=np.int64)
    tensors["positions"] = np.arange(len(ids), dtype=np.int64)
    part = args.output.with_suffix(".part")
    save_file(tensors, part, metadata={"twinpath.capture": json.dumps(capture)})
    part.rename(args.output)
    print(f"{args.output}: {len(tensors)} tensors, {len(ids)} tokens")


if __name__ == "__main__":
    main()
