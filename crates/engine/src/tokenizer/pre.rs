//! Pre-tokenizers by the names of `tokenizer.ggml.pre`.
//!
//! GGUF stores only the name of the rule that cuts a text into words before merging. The regular expressions are those
//! of the families' own tokenizer.json. Where GGUF runtimes and Hugging Face differ we follow Hugging Face, because the
//! reference ids come from there: `qwen2` normalises to NFC first (llama.cpp does not, so its ids differ for decomposed
//! text such as `e` + U+0301).

use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

use super::error::TokenizerError;

/// One family's rule.
pub(super) struct Pre {
    /// Names in `tokenizer.ggml.pre`.
    pub(super) names: &'static [&'static str],
    /// Regular expressions, applied one after the other; a match and what lies between matches are words.
    splits: &'static [&'static str],
    /// Whether the text is brought to NFC first.
    nfc: bool,
    /// Whether a word that is a token is taken whole, even if no merges lead to it.
    pub(super) ignore_merges: bool,
    /// Whether BOS is added when the metadata do not say.
    pub(super) add_bos: bool,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// All known rules; the first name is the usual one.
pub(super) const PRES: &[Pre] = &[
    Pre {
        names: &["qwen2", "deepseek-r1-qwen"],
        splits: &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        nfc: true,
        ignore_merges: false,
        add_bos: false,
    },
    Pre {
        names: &["llama-bpe", "llama3", "llama-v3"],
        splits: &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        nfc: false,
        ignore_merges: true,
        add_bos: true,
    },
    Pre { names: &["gpt-2", "phi-2"], splits: &[GPT2], nfc: false, ignore_merges: false, add_bos: false },
    Pre { names: &["smollm"], splits: &[r"\p{N}", GPT2], nfc: false, ignore_merges: false, add_bos: false },
    Pre {
        names: &["tekken"],
        splits: &[
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        nfc: false,
        ignore_merges: true,
        add_bos: true,
    },
    // The name that converters wrote before they knew the families. No Hugging Face counterpart: the rule is llama.cpp's.
    Pre {
        names: &["default"],
        splits: &[
            r"[\p{P}\$\+<=>\^~\|]+",
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
            r"\p{N}+",
            "[0-9][0-9][0-9]",
        ],
        nfc: false,
        ignore_merges: false,
        add_bos: false,
    },
];

impl Pre {
    /// The rule called `name`.
    pub(super) fn named(name: &str) -> Result<&'static Pre, TokenizerError> {
        PRES.iter().find(|pre| pre.names.contains(&name)).ok_or_else(|| {
            let known: Vec<&str> = PRES.iter().flat_map(|pre| pre.names).copied().collect();
            TokenizerError::UnknownPre { name: name.to_owned(), known: known.join(", ") }
        })
    }

    /// The normalizer, if the family has one.
    pub(super) fn normalizer(&self) -> Option<NormalizerWrapper> {
        self.nfc.then(|| NFC.into())
    }

    /// Splits, then the byte alphabet.
    pub(super) fn pre_tokenizer(&self) -> Result<PreTokenizerWrapper, TokenizerError> {
        let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
        for regex in self.splits {
            let pattern = SplitPattern::Regex((*regex).to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
            steps.push(split.map_err(TokenizerError::Library)?.into());
        }
        steps.push(ByteLevel::new(false, true, false).into());
        Ok(Sequence::new(steps).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    const WORDS: &str = include_str!("../../../../testdata/tokenizers/pre_splits.json");

    #[test]
    fn every_rule_cuts_words_where_oniguruma_does() {
        let reference: BTreeMap<String, Vec<Vec<String>>> = serde_json::from_str(WORDS).unwrap();
        let names: BTreeMap<&str, &Pre> = PRES.iter().map(|pre| (pre.names[0], pre)).collect();
        assert!(reference.keys().eq(names.keys()), "a rule without reference words, or words without a rule");
        for (name, cuts) in reference {
            let rule = names[name.as_str()].pre_tokenizer().unwrap();
            for words in cuts {
                let text = words.concat();
                let mut cut = PreTokenizedString::from(text.as_str());
                rule.pre_tokenize(&mut cut).unwrap();
                let splits = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
                let found: Vec<&str> = splits.iter().map(|(_, (a, b), _)| &text[*a..*b]).collect();
                assert_eq!(found, words, "{name}");
            }
        }
    }

    #[test]
    fn no_two_rules_share_a_name() {
        let mut names: Vec<&str> = PRES.iter().flat_map(|pre| pre.names).copied().collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
