"""Reference word boundaries of the pre-tokenizers that `tokenizer.ggml.pre` names.

Makes   testdata/tokenizers/pre_splits.json: {name: [[word, ...] for each text]}; the words of a text concatenate to it
From    the tokenizers library's Python build, whose regular expressions run in Oniguruma, not in the engine's library;
        gpt-2 and smollm are built of its ready-made parts, as their tokenizer.json are
Run     python tools/pre_splits.py      (from the repository root; a second)
"""

import json
from pathlib import Path

from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

TEXTS = [
    "Hello, world! It's 2024; don't WE'LL I'm", "x=12345+67.89%  \n\n  \tif a<b: return\r\n", "   leading and trailing   ",
    "camelCaseHTTPServer XMLHttpRequest aB Ab AB ab", "na\u00efve caf\u00e9 e\u0301 \u00c5ngstr\u00f6m \u01c5ungla", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 \u4e2d\u6587\uff0c\u6807\u70b9\u3002",
    "\u0420\u0443\u0441\u0441\u043a\u0438\u0439 \u0442\u0435\u043a\u0441\u0442 \u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \u0939\u093f\u0928\u094d\u0926\u0940", "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f600!!! \u00b2\u00b3 \u2167 \u0663\u0664", "a/b//c\n/d ///\n\n $x+y=z^2 ~|",
    "a\u00a0b\u2003c\u3000d\u200be", "1 22 333 4444 55555 1234567", "'s'S 'Re 'VE '\u017f", "__init__(self, *args) -> None:", "\n", " ", "\n \n", "a\n b\n\n\nc ", "100% [done] {ok} <tag>",
]  # fmt: skip

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
NO_WORD = r"[^\r\n\p{L}\p{N}]?"
TEKKEN = rf"{NO_WORD}{UPPER}*{LOWER}+|{NO_WORD}{UPPER}+{LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEFAULT = [r"[\p{P}\$\+<=>\^~\|]+", GPT2.removesuffix(r"|\s+"), r"\p{N}+", "[0-9][0-9][0-9]"]


def splits(*patterns: str):
    return Sequence([Split(Regex(pattern), "isolated") for pattern in patterns])


RULES = {
    "qwen2": splits(QWEN2), "llama-bpe": splits(LLAMA), "tekken": splits(TEKKEN), "default": splits(*DEFAULT),
    "gpt-2": ByteLevel(add_prefix_space=False), "smollm": Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]),
}  # fmt: skip

words = {name: [[t[a:b] for _, (a, b) in rule.pre_tokenize_str(t)] for t in TEXTS] for name, rule in RULES.items()}
assert all("".join(cut) == text for cuts in words.values() for cut, text in zip(cuts, TEXTS)), "a word was lost"
lines = [f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(cut) for cut in cuts) + "\n]" for name, cuts in words.items()]
Path("testdata/tokenizers/pre_splits.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
