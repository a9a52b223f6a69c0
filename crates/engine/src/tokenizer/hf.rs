//! A tokenizer as a Hugging Face tokenizer.json (and tokenizer_config.json) describes it.
//!
//! The normalizer and the pre-tokenizer are the library's own, as the file asks. Vocabulary, merges and added tokens are
//! read here, because the library accepts duplicates, wrong ids and merges without a product.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use tokenizers::AddedToken;

use super::Tokenizer;
use super::error::TokenizerError;
use super::hf_config::{Config, special_ids};
use super::parts::{self, Entries, Parts};
use super::pieces::Style;
use super::spec::split_merge;

pub(super) const TOKENIZER: &str = "tokenizer.json";

/// What text may be put through before the model; others could be slow or untested on hostile files.
const NORMALIZERS: &[&str] = &["Sequence", "NFC", "NFD", "NFKC", "NFKD", "Prepend", "Replace", "Lowercase", "Strip"];
const PRE_TOKENIZERS: &[&str] =
    &["Sequence", "Split", "ByteLevel", "Digits", "Metaspace", "Punctuation", "WhitespaceSplit"];

#[derive(Deserialize)]
struct File {
    model: Model,
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
}

/// BPE; files older than the library's 0.9 do not say so.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: Vocab,
    merges: Vec<Merge>,
    dropout: Option<f64>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Text(String),
}

/// An entry of `added_tokens`.
#[derive(Deserialize)]
pub(super) struct Added {
    /// Its id.
    #[serde(default)]
    pub(super) id: u32,
    /// How it is matched.
    #[serde(flatten)]
    pub(super) token: AddedToken,
}

/// Entries in file order, duplicates and all: a map would keep the last of two ids.
#[derive(Default)]
struct Vocab(Entries);

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Vocab, D::Error> {
        struct Layout;
        impl<'de> Visitor<'de> for Layout {
            type Value = Vocab;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from token to id, as BPE has it")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Vocab(entries))
            }

            /// Unigram's layout, which `Model::check` refuses by its name.
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocab, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Vocab::default())
            }
        }
        deserializer.deserialize_any(Layout)
    }
}

impl Tokenizer {
    /// Builds from the bytes of tokenizer.json and, where there is one, of tokenizer_config.json (which has the chat
    /// template, the names of BOS and EOS, and `add_bos_token`, which decides over the post-processor).
    ///
    /// Truncation and padding of the file are not applied: ids are those of the whole text. Neither is
    /// `clean_up_tokenization_spaces`, which would make decoding lossy.
    ///
    /// # Errors
    /// Malformed or inconsistent files; models other than BPE; decoders other than byte-level and SentencePiece's.
    pub fn from_hf(tokenizer_json: &[u8], tokenizer_config: Option<&[u8]>) -> Result<Tokenizer, TokenizerError> {
        let mut file: File = parse(TOKENIZER, tokenizer_json)?;
        let config: Config = tokenizer_config.map_or_else(|| Ok(Config::default()), Config::parse)?;
        file.model.check()?;
        file.added_tokens.extend(config.missing(&file.added_tokens)?);
        let post_processor = file.post_processor.take();

        let (inner, pieces) = file.into_parts()?.assemble()?;
        let (prefix, suffix) = special_ids(post_processor.as_ref(), pieces.len())?;
        config.apply(Tokenizer::new(inner, pieces, prefix, suffix))
    }
}

impl File {
    fn into_parts(self) -> Result<Parts, TokenizerError> {
        parts::cap("special and user-defined tokens", self.added_tokens.len(), parts::MAX_ADDED)?;
        let (vocab, added) = join(self.model.vocab.0, self.added_tokens)?;
        let merges = self.model.merges.into_iter();
        // Files made from merges.txt may carry its first line along.
        let merges = merges.filter(|merge| !matches!(merge, Merge::Text(text) if text.starts_with("#version")));
        let merges = merges.enumerate().map(|(index, merge)| match merge {
            Merge::Pair(left, right) => Ok((left, right)),
            Merge::Text(text) => split_merge(index, &text),
        });
        if let Some(normalizer) = &self.normalizer {
            allow("normalizer", normalizer, "normalizers", NORMALIZERS)?;
        }
        if let Some(pre_tokenizer) = &self.pre_tokenizer {
            allow("pre-tokenizer", pre_tokenizer, "pretokenizers", PRE_TOKENIZERS)?;
        }
        Ok(Parts {
            vocab,
            merges: merges.collect::<Result<_, _>>()?,
            added,
            normalizer: self.normalizer.map(from_value).transpose()?,
            pre_tokenizer: self.pre_tokenizer.map(from_value).transpose()?,
            style: style(self.decoder.as_ref())?,
            unk: self.model.unk_token,
            fuse_unk: self.model.fuse_unk,
            byte_fallback: self.model.byte_fallback,
            ignore_merges: self.model.ignore_merges,
        })
    }
}

impl Model {
    fn check(&self) -> Result<(), TokenizerError> {
        let unsupported = |what, name: &str, known: &str| {
            let (name, known) = (name.to_owned(), known.to_owned());
            TokenizerError::Unsupported { what, name, known }
        };
        if let Some(kind) = self.kind.as_deref().filter(|kind| *kind != "BPE") {
            return Err(unsupported("tokenizer model", kind, "BPE"));
        }
        // Dropout draws lots: the same text would get different ids.
        if let Some(dropout) = self.dropout.filter(|p| *p != 0.0) {
            return Err(unsupported("dropout", &dropout.to_string(), "none"));
        }
        let affixes = [&self.continuing_subword_prefix, &self.end_of_word_suffix];
        match affixes.into_iter().flatten().find(|affix| !affix.is_empty()) {
            Some(affix) => Err(unsupported("subword prefix or suffix", affix, "none")),
            None => Ok(()),
        }
    }
}

/// Puts the added tokens into the vocabulary under the ids that the file states.
fn join(mut vocab: Entries, added: Vec<Added>) -> Result<(Entries, Vec<AddedToken>), TokenizerError> {
    let known: HashMap<String, u32> = vocab.iter().cloned().collect();
    let mut tokens = Vec::with_capacity(added.len());
    for Added { id, token } in added {
        match known.get(&token.content) {
            Some(&first) if first != id => {
                return Err(TokenizerError::DuplicateToken { token: token.content, first, second: id });
            }
            Some(_) => {}
            None => vocab.push((token.content.clone(), id)),
        }
        tokens.push(token);
    }
    Ok((vocab, tokens))
}

/// Checks the `type` of a step, and of the steps of a sequence under `nested`.
fn allow(what: &'static str, step: &Value, nested: &str, known: &[&str]) -> Result<(), TokenizerError> {
    let kind = step["type"].as_str().unwrap_or("without a type");
    // An empty pattern matches between all characters.
    let empty = step["pattern"].as_object().is_some_and(|p| p.values().any(|v| v.as_str() == Some("")));
    if !known.contains(&kind) || empty {
        let name = if empty { format!("{kind} with an empty pattern") } else { kind.to_owned() };
        return Err(TokenizerError::Unsupported { what, name, known: known.join(", ") });
    }
    step[nested].as_array().into_iter().flatten().try_for_each(|inner| allow(what, inner, nested, known))
}

/// What the decoder says about token texts.
fn style(decoder: Option<&Value>) -> Result<Style, TokenizerError> {
    let none = Value::Null;
    let decoder = decoder.unwrap_or(&none);
    let steps = match decoder["decoders"].as_array() {
        Some(steps) => steps.iter().collect(),
        None => vec![decoder],
    };
    let names: Vec<&str> = steps.iter().map(|step| step["type"].as_str().unwrap_or("none")).collect();
    let spaces = |step: &Value| step["pattern"]["String"] == "\u{2581}" && step["content"] == " ";
    match names.as_slice() {
        ["ByteLevel"] => Ok(Style::ByteLevel),
        ["Replace", "ByteFallback", "Fuse"] if spaces(steps[0]) => Ok(Style::SentencePiece { strip: 0 }),
        ["Replace", "ByteFallback", "Fuse", "Strip"]
            if spaces(steps[0]) && steps[3]["content"] == " " && steps[3]["stop"] == 0 =>
        {
            let start = steps[3]["start"].as_u64().and_then(|n| usize::try_from(n).ok());
            Ok(Style::SentencePiece { strip: start.unwrap_or(0) })
        }
        _ => Err(TokenizerError::Unsupported {
            what: "decoder",
            name: names.join(" + "),
            known: "ByteLevel; Replace(U+2581) + ByteFallback + Fuse, with or without Strip(start)".to_owned(),
        }),
    }
}

fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, TokenizerError> {
    serde_json::from_value(value).map_err(|source| TokenizerError::Json { file: TOKENIZER, source })
}

pub(super) fn parse<T: DeserializeOwned>(file: &'static str, bytes: &[u8]) -> Result<T, TokenizerError> {
    serde_json::from_slice(bytes).map_err(|source| TokenizerError::Json { file, source })
}
