"""Reference encodings, decodings and chat renderings of three tokenizers.

Makes   testdata/tokenizers/{teacher,llama-bpe,spm}/{tokenizer.json, vocab.gguf, refs.json, chat.json}
From    `teacher`: the tokenizer of a Qwen2-style model folder; `llama-bpe` and `spm`: trained here on a few modules
        of Python 3.11's standard library (another Python makes other vocabularies). Encoded by transformers.
Run     python tools/tokenizer_refs.py --teacher PATH/TO/teacher      (from the repository root; a minute)

refs.json: [{text, add_special, ids, decoded, decoded_plain}]; `decoded_plain` leaves special tokens out. GGUF cannot say
that a tokenizer normalizes to NFC; where that matters, `ids_without_nfc` is what a reader of vocab.gguf gets.
chat.json: {template, bos_token, eos_token, cases: [{messages, add_generation_prompt, rendered, ids}]}.
Special tokens inside a text are always recognised. vocab.gguf has no tensors.
"""

import argparse
import io
import json
import sysconfig
from pathlib import Path

import gguf
import sentencepiece
from gguf import TokenType
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tokenizer_texts import CHATS, MULTILINGUAL, SPECIAL_TEXTS, TEXTS

OUT = Path("testdata/tokenizers")
VOCAB = 1200
MODULES = ["argparse", "ast", "datetime", "difflib", "inspect", "optparse", "pathlib", "random", "tarfile", "textwrap", "typing"]

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    "+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}"
    "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)


def corpus() -> list[str]:
    library = Path(sysconfig.get_paths()["stdlib"])
    return [(library / f"{name}.py").read_text() for name in MODULES] + [MULTILINGUAL * 60]


def train_llama_bpe() -> PreTrainedTokenizerFast:
    """Byte-level BPE laid out like Llama 3: special tokens after the vocabulary, BOS, whole-word lookup before merging."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(LLAMA3_SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )  # fmt: skip
    tokenizer.train_from_iterator(corpus(), trainer)

    # One word loses its merge, so that only the whole-word lookup (`ignore_merges`) finds its token.
    state = json.loads(tokenizer.to_str())
    merges = state["model"]["merges"]
    parts = {part for merge in merges for part in merge}
    orphan = next(m for m in reversed(merges) if m[0][0] == "\u0120" and "".join(m) not in parts and len("".join(m)) > 6)
    merges.remove(orphan)
    state["model"]["ignore_merges"] = True
    tokenizer = Tokenizer.from_str(json.dumps(state))

    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in LLAMA3_SPECIAL])
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    bos = ("<|begin_of_text|>", tokenizer.token_to_id("<|begin_of_text|>"))
    template = processors.TemplateProcessing(single=f"{bos[0]} $A", pair=f"{bos[0]} $A {bos[0]} $B", special_tokens=[bos])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos[0], eos_token="<|eot_id|>", chat_template=LLAMA3)
    wrapped.orphan = "".join(orphan).replace("\u0120", " ")
    return wrapped


def train_sentencepiece() -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for text in corpus() for line in text.split("\n")), model_writer=model,
        model_type="bpe", vocab_size=VOCAB, byte_fallback=True, split_digits=True, character_coverage=0.999,
        normalization_rule_name="identity", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
        num_threads=1, minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


def wrap_sentencepiece(proto) -> PreTrainedTokenizerFast:
    """A tokenizer.json as Llama 2 ships it: legacy normalizer (prefix space, even after special tokens), byte fallback."""
    vocab = {piece.piece: n for n, piece in enumerate(proto.pieces)}
    merges = []  # every split of a piece, best score first
    for piece in proto.pieces:
        if piece.type == TokenType.NORMAL:
            splits = [(piece.piece[:i], piece.piece[i:]) for i in range(1, len(piece.piece))]
            merges += [(a, b, piece.score) for a, b in splits if a in vocab and b in vocab]
    merges = [(a, b) for a, b, _ in sorted(merges, key=lambda m: (-m[2], vocab[m[0]], vocab[m[1]]))]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", chat_template=LLAMA2
    )  # fmt: skip


def add_ids(writer: gguf.GGUFWriter, tokenizer, add_bos: bool) -> None:
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(add_bos)
    writer.add_add_eos_token(False)
    writer.add_chat_template(tokenizer.chat_template)


def write_bpe_vocab(writer: gguf.GGUFWriter, tokenizer, pre: str) -> None:
    """What llama.cpp's converter stores for a byte-level BPE."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    added = {token["id"]: token for token in state["added_tokens"]}
    ids = {n: token for token, n in state["model"]["vocab"].items()} | {n: t["content"] for n, t in added.items()}
    types = [
        TokenType.NORMAL if n not in added else TokenType.CONTROL if added[n]["special"] else TokenType.USER_DEFINED
        for n in range(len(ids))
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([ids[n] for n in range(len(ids))])
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(merge) for merge in state["model"]["merges"]])


def write_spm_vocab(writer: gguf.GGUFWriter, proto) -> None:
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece.piece for piece in proto.pieces])
    writer.add_token_scores([piece.score for piece in proto.pieces])
    writer.add_token_types([piece.type for piece in proto.pieces])  # sentencepiece and GGUF number them alike
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(True)


def references(tokenizer, texts: list[str]) -> list[dict]:
    refs = []
    nfc = isinstance(tokenizer.backend_tokenizer.normalizer, normalizers.NFC)
    unnormalized = Tokenizer.from_str(json.dumps(json.loads(tokenizer.backend_tokenizer.to_str()) | {"normalizer": None}))
    for text in texts:
        for add_special in (False, True):
            ids = tokenizer.encode(text, add_special_tokens=add_special)
            assert ids == tokenizer.backend_tokenizer.encode(text, add_special_tokens=add_special).ids, text
            decoded = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            plain = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            ref = {"text": text, "add_special": add_special, "ids": ids, "decoded": decoded, "decoded_plain": plain}
            if nfc and (other := unnormalized.encode(text, add_special_tokens=add_special).ids) != ids:
                ref["ids_without_nfc"] = other
            refs.append(ref)
    return refs


def chats(tokenizer) -> str:
    cases = []
    for messages in CHATS:
        for add in (False, True):
            rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=add)
            ids = tokenizer.encode(rendered, add_special_tokens=False)
            cases.append({"messages": messages, "add_generation_prompt": add, "rendered": rendered, "ids": ids})
    head = {"template": tokenizer.chat_template, "bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()] + [f'"cases": {json_lines(cases)}']
    return "{\n" + ",\n".join(lines) + "\n}\n"


def json_lines(items: list) -> str:
    """One item a line; ASCII only, so that no editor can normalize the texts."""
    return "[\n" + ",\n".join(json.dumps(item) for item in items) + "\n]"


def make(name: str, arch: str, tokenizer, add_bos: bool, write_vocab, extra: list[str]) -> None:
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    writer = gguf.GGUFWriter(folder / "vocab.gguf", arch)
    write_vocab(writer)
    add_ids(writer, tokenizer, add_bos)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    special = "<|endoftext|>" if name == "teacher" else tokenizer.eos_token
    texts = TEXTS + [text.replace("@", special) for text in SPECIAL_TEXTS] + extra
    refs = references(tokenizer, texts)
    (folder / "refs.json").write_text(json_lines(refs) + "\n")
    (folder / "chat.json").write_text(chats(tokenizer))
    exact = sum(ref["text"] == ref["decoded_plain"] for ref in refs)
    print(f"{name}: {len(tokenizer)} tokens, {len(refs)} references, {exact} decode to their text")


def check_sentencepiece(tokenizer, model: bytes) -> None:
    """The sentencepiece library itself is a second opinion wherever no special token is in the text."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    differ = [t for t in TEXTS if "<s>" not in t and processor.encode(t) != tokenizer.encode(t, add_special_tokens=False)]
    print("spm: texts where sentencepiece itself differs:", differ)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--teacher", type=Path, required=True, help="folder with hf/tokenizer.json")
    args = parser.parse_args()

    teacher = AutoTokenizer.from_pretrained(args.teacher / "hf")
    teacher.chat_template = CHATML
    make("teacher", "qwen2", teacher, False, lambda w: write_bpe_vocab(w, teacher, "qwen2"), [])

    bpe = train_llama_bpe()
    extra = [bpe.orphan, f"a{bpe.orphan}s", "x<tool_call>y <tool_call>", "".join(LLAMA3_SPECIAL)]
    make("llama-bpe", "llama", bpe, True, lambda w: write_bpe_vocab(w, bpe, "llama-bpe"), extra)

    model = train_sentencepiece()
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    spm = wrap_sentencepiece(proto)
    make("spm", "llama", spm, True, lambda w: write_spm_vocab(w, proto), ["<s>a</s><unk>b<s> c"])
    check_sentencepiece(spm, model)


if __name__ == "__main__":
    main()
