"""Second opinion on testdata/tokenizers: plain Python encoders that read vocab.gguf alone.

Makes   nothing; fails where an encoding differs from refs.json.
From    testdata/tokenizers/*/{vocab.gguf, refs.json}
Run     python tools/check_tokenizers.py        (from the repository root; seconds)

NFC is the one thing vocab.gguf cannot say; the references have `ids_without_nfc` where it matters.
"""

import json
from pathlib import Path

import regex
from gguf import GGUFReader, TokenType

ROOT = Path("testdata/tokenizers")
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
HEAD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
SPLIT = {"qwen2": HEAD + r"\p{N}" + TAIL, "llama-bpe": HEAD + r"\p{N}{1,3}" + TAIL}


def byte_letters() -> dict[int, str]:
    """GPT-2's printable stand-ins: a byte itself where it is printable, else the next letter from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + n) for n, b in enumerate(hidden)}


class Vocab:
    def __init__(self, path: Path):
        fields = {key.removeprefix("tokenizer.ggml."): field.contents() for key, field in GGUFReader(path).fields.items()}
        self.tokens, self.types = fields["tokens"], fields["token_type"]
        self.ids = {token: n for n, token in enumerate(self.tokens)}
        self.ranks = {tuple(merge.split(" ")): n for n, merge in enumerate(fields.get("merges", []))}
        self.scores, self.pre, self.model = fields.get("scores"), fields["pre"], fields["model"]
        self.bos = fields["bos_token_id"] if fields["add_bos_token"] else None
        self.space_prefix = fields.get("add_space_prefix", False)
        matched = (TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNKNOWN)
        whole = [token for token, kind in zip(self.tokens, self.types) if kind in matched]
        self.whole = regex.compile("(" + "|".join(regex.escape(t) for t in sorted(whole, key=len, reverse=True)) + ")")

    def merge(self, parts: list[str], cost) -> list[str]:
        """Join the cheapest neighbours, leftmost first, until none is joinable."""
        while True:
            costs = [(c, n) for n in range(len(parts) - 1) if (c := cost(parts[n], parts[n + 1])) is not None]
            if not costs:
                return parts
            n = min(costs)[1]
            parts[n : n + 2] = [parts[n] + parts[n + 1]]

    def byte_level(self, text: str) -> list[int]:
        letters, ids = byte_letters(), []
        for word in regex.findall(SPLIT[self.pre], text):
            word = "".join(letters[b] for b in word.encode())
            if self.pre == "llama-bpe" and word in self.ids:
                ids.append(self.ids[word])
            else:
                ids += [self.ids[part] for part in self.merge(list(word), lambda a, b: self.ranks.get((a, b)))]
        return ids

    def sentencepiece(self, text: str) -> list[int]:
        def cost(a: str, b: str):
            n = self.ids.get(a + b)
            return None if n is None or self.types[n] != TokenType.NORMAL else -self.scores[n]

        ids = []
        for part in self.merge(list((" " * self.space_prefix + text).replace(" ", "\u2581")), cost):
            ids += [self.ids[part]] if part in self.ids else [self.ids[f"<0x{b:02X}>"] for b in part.encode()]
        return ids

    def encode(self, text: str, add_special: bool) -> list[int]:
        ids = [self.bos] if add_special and self.bos is not None else []
        for n, piece in enumerate(self.whole.split(text)):
            if n % 2:
                ids.append(self.ids[piece])
            elif piece:
                ids += self.sentencepiece(piece) if self.model == "llama" else self.byte_level(piece)
        return ids


def main() -> None:
    for folder in sorted(ROOT.iterdir()):
        vocab = Vocab(folder / "vocab.gguf")
        refs = json.loads((folder / "refs.json").read_text())
        chat = json.loads((folder / "chat.json").read_text())["cases"]
        cases = [(ref["text"], ref["add_special"], ref.get("ids_without_nfc", ref["ids"])) for ref in refs]
        cases += [(case["rendered"], False, case["ids"]) for case in chat]
        wrong = [(text, add) for text, add, ids in cases if vocab.encode(text, add) != ids]
        print(f"{folder.name}: {len(cases)} encodings, {len(wrong)} differ")
        assert not wrong, wrong


if __name__ == "__main__":
    main()
