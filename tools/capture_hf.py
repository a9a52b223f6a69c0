"""Records every site of a Hugging Face transformers forward pass, for `twinpath compare MODEL FILE`.

Makes   one safetensors file: every module's value in float32 under its module's name, attention scores and probabilities,
        queries and keys after RoPE, `input_ids`, `positions`, and what made them under the key `twinpath.capture`
From    a folder with config.json and weights; with --gguf the weights are those of a GGUF file (Qwen2 or Qwen3), decoded to
        float32 by the gguf package
Run     python tools/capture_hf.py --model FOLDER --tokens 636,864,1548 -o hf.safetensors
        python tools/capture_hf.py --model FOLDER --gguf model-q4_k_m.gguf --tokens 636,864,1548 -o hf-q4.safetensors
Needs   tools/requirements.txt

Attention is eager: the only kind whose scores exist. The model is not changed; its functions are wrapped.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path

import blake3
import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import save_file

PARTS = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}
OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def hf_name(name: str) -> str:
    if name.startswith("blk."):
        _, layer, part, kind = name.split(".")
        return f"model.layers.{layer}.{PARTS[part]}.{kind}"
    part, kind = name.split(".")
    return f"{OUTER[part]}.{kind}"


def put_gguf(model, path: Path) -> None:
    reader = gguf.GGUFReader(path)
    family = reader.get_field("general.architecture").contents()
    if family not in ("qwen2", "qwen3"):
        sys.exit(f"{path}: the rows of a {family} GGUF are in another order than transformers'; give --model alone")
    weights = {
        hf_name(t.name): torch.from_numpy(np.array(gguf.quants.dequantize(t.data, t.tensor_type), dtype=np.float32))
        for t in reader.tensors
    }
    missing = model.load_state_dict(weights, strict=False)
    left = [n for n in missing.missing_keys if not n.startswith("lm_head") or not model.config.tie_word_embeddings]
    if left or missing.unexpected_keys:
        sys.exit(f"{path}: does not fit the folder's config: {left} {missing.unexpected_keys}")


class Recorder:
    def __init__(self, model):
        self.values, self.layer = {}, 0
        module = importlib.import_module(type(model).__module__)
        self.attention, self.rope = module.eager_attention_forward, module.apply_rotary_pos_emb
        module.eager_attention_forward, module.apply_rotary_pos_emb = self.wrap_attention, self.wrap_rope
        for name, part in model.named_modules():
            if name:
                part.register_forward_hook(self.hook(name))
        for i, layer in enumerate(model.model.layers):
            layer.register_forward_pre_hook(lambda *_, i=i: setattr(self, "layer", i))
            layer.self_attn.o_proj.register_forward_pre_hook(self.pre(f"model.layers.{i}.self_attn.o_proj.in"))
            layer.mlp.down_proj.register_forward_pre_hook(self.pre(f"model.layers.{i}.mlp.down_proj.in"))
            norm = layer.post_attention_layernorm
            norm.register_forward_pre_hook(self.pre(f"model.layers.{i}.resid_mid"))

    def keep(self, name, value):
        self.values[name] = value.detach().to(torch.float32).clone().contiguous()

    def hook(self, name):
        def see(_module, _inputs, output):
            output = output[0] if isinstance(output, tuple) else output
            if isinstance(output, torch.Tensor) and output.dim() == 3:
                self.keep(f"{name}.out", output[0])
            elif isinstance(output, torch.Tensor) and output.dim() == 4:  # norms of heads: [1, T, heads, dim]
                self.keep(f"{name}.out", output[0].flatten(1))
        return see

    def pre(self, name):
        return lambda _module, inputs: self.keep(name, inputs[0][0])

    def wrap_rope(self, q, k, *args, **kwargs):
        q, k = self.rope(q, k, *args, **kwargs)
        for name, value in (("q_rope", q), ("k_rope", k)):
            self.keep(f"model.layers.{self.layer}.self_attn.{name}", value[0].transpose(0, 1).flatten(1))
        return q, k

    def wrap_attention(self, module, query, key, value, attention_mask, scaling, **kwargs):
        groups = query.shape[1] // key.shape[1]
        scores = torch.matmul(query, key.repeat_interleave(groups, 1).transpose(2, 3)) * scaling
        self.keep(f"model.layers.{self.layer}.self_attn.attn_scores", scores[0])
        out, probs = self.attention(module, query, key, value, attention_mask, scaling, **kwargs)
        self.keep(f"model.layers.{self.layer}.self_attn.attn_probs", probs[0])
        return out, probs


def digest(path: Path) -> str:
    return blake3.blake3(path.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder with config.json")
    parser.add_argument("--gguf", type=Path, help="take the weights from this file, decoded to float32")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--tokens", help="ids, separated by commas")
    which.add_argument("--prompt", help="text, for the folder's tokenizer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        args.model, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    if args.gguf:
        put_gguf(model, args.gguf)
    if args.tokens:
        ids = [int(i) for i in args.tokens.split(",")]
    else:
        ids = transformers.AutoTokenizer.from_pretrained(args.model)(args.prompt)["input_ids"]
    recorder = Recorder(model)
    with torch.no_grad():
        model(torch.tensor([ids]), use_cache=False)
    files = [args.gguf] if args.gguf else sorted(args.model.glob("*.safetensors"))
    capture = {
        "engine": f"transformers {transformers.__version__}, torch {torch.__version__}, eager",
        "activations": "f32", "kv": "f32", "dtype": "f32", "threads": args.threads,
        "model": [{"path": str(f), "blake3": digest(f)} for f in files], "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
    tensors = dict(recorder.values)
    tensors["input_ids"] = torch.tensor(ids, dtype=torch.int64)
    tensors["positions"] = torch.arange(len(ids), dtype=torch.int64)
    part = args.output.with_suffix(".part")
    save_file(tensors, part, metadata={"twinpath.capture": json.dumps(capture)})
    part.rename(args.output)
    print(f"{args.output}: {len(tensors)} tensors, {len(ids)} tokens")


if __name__ == "__main__":
    main()
