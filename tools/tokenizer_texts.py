"""The texts and chats that `tokenizer_refs.py` encodes. Makes nothing by itself.

`@` in SPECIAL_TEXTS stands for a special token of the tokenizer at hand.
"""

CODE = "def f(x):\n\tif x:\n\t\treturn x  # tab\n    else:\n        return {'a': [1, 2.5e-3], \"b\": None}\n"

TEXTS = [
    "",
    " ",
    "  ",
    "\n",
    "\t",
    "Hello",
    " Hello",
    "  Hello",
    "Hello ",
    "Hello  ",
    "Hello, World! This is a test.",
    CODE,
    "fn main() -> Result<(), Box<dyn Error>> {\n    let v: Vec<u8> = vec![0; 1_000];\n}\n",
    "for (int i=0;i<n;++i)\n{\r\n\ta[i] = b[i]*0x1F;\r\n}",
    # Contractions, both cases, and after a non-letter.
    "it's we'll they'd I'm you're I've don't IT'S WE'LL THEY'D I'M YOU'RE I'VE DON'T 's'S",
    # U+017F folds to s, so a case-insensitive 's may match it.
    "it'\u017f",
    # Numbers of 1 to 7 digits, other digits, fractions.
    "1 12 123 1234 12345 123456 1234567",
    "a1b22c333 3.14159 1,000,000 -7 1e10 0xff",
    "\u0661\u0662\u0663\u0664 \u2167 \u00bd x\u00b2",
    # Runs of 1 to 9 spaces between words, then before a line end.
    "".join("a" + " " * n for n in range(1, 10)) + "a",
    "".join("a" + " " * n + "\n" for n in range(1, 10)),
    "x\n\ny\n\n\nz\r\n\r\nw\r\rv\n \n\t\n  u",
    "\n\n\nstart",
    "end\n\n\n",
    "a\t\tb\t c \td",
    # Accents composed and decomposed, jamo, ligature: normalizers show here.
    "caf\u00e9 na\u00efve \u00c5ngstr\u00f6m",
    "cafe\u0301 nai\u0308ve A\u030angstro\u0308m",
    "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "\ufb01ne \u212b \u2126",
    # Scripts.
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u4eca\u5929\u662f2024\u5e741\u67081\u65e5\u3002",
    "\u3053\u3093\u306b\u3061\u306f\u3001\u4e16\u754c\uff01 \uc548\ub155\ud558\uc138\uc694 \uc138\uacc4",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    # Emoji: plain, skin tone, joined family, flag, keycap.
    "\U0001f600 \U0001f44d\U0001f3fd \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1f0 1\ufe0f\u20e3",
    "ok\U0001f680\U0001f680go",
    # Control bytes, odd white space, private use, the last code point.
    "\x00\x01\x07\x1b[0m\x7f\x85",
    "a\u00a0b\u3000c\u2003d\u200be\ufefff\u2028g",
    "\ue000\ufffd\U0010ffff",
    # Punctuation runs, paths, mark-up.
    "...!!!???--==>>  <= != && || ::",
    "https://example.com/a_b/c-d?e=f&g=%20#h user@host.org C:\\dir\\file.txt",
    "<div class=\"x\">&amp;</div> **bold** `code` $x^2$ \u201cquotes\u201d \u2014 \u2026",
    "CamelCase snake_case SCREAMING_CASE kebab-case x86_64",
    "\u2581low\u2581line and _ and \u0120",
    "a" * 40,
    "=" * 70,
    "<0x41> <unk> <s> </s> [INST]",
]

SPECIAL_TEXTS = ["@", "@@", "a@b", "a @ b", " @ ", "x\n@\ny", "@Hello", "<|almost|> <|", "caf\u00e9@ \u4e16\u754c"]

CHATS = [
    [{"role": "user", "content": "Hi there"}],
    [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "  What is 2+2? \n"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "caf\u00e9 \U0001f468\u200d\U0001f469\u200d\U0001f467\n\n```py\nprint('x')\n```"},
    ],
    [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two\n"},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "\tthree"},
    ],
]

# A paragraph with bytes beyond ASCII for the trained vocabularies; repeated so that merges form.
MULTILINGUAL = (
    "Le caf\u00e9 est na\u00efve; \u00c5ngstr\u00f6m und Gr\u00fc\u00dfe, ma\u00f1ana. "
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! "
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u3053\u3093\u306b\u3061\u306f\u3001\u4e16\u754c\uff01 "
    "\uc548\ub155\ud558\uc138\uc694. \U0001f600 "
    "It's what we'll say: they'd say I'm here, you're there, I've gone, don't.\n"
)
