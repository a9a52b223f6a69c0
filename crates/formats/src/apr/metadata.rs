//! The JSON object of an `.apr` file: one spelling per key, and warnings where a file strays from it.

use std::collections::HashSet;
use std::path::Path;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{Fault, FormatError};

/// Each dimension: the spelling that is written, and what other writers call it.
pub(crate) const ALIASES: [(&str, &[&str]); 9] = [
    ("hidden_size", &["hidden_dim", "d_model", "n_embd"]),
    ("num_layers", &["n_layers", "num_hidden_layers", "n_layer"]),
    ("num_heads", &["n_heads", "num_attention_heads", "n_head"]),
    ("num_kv_heads", &["n_kv_heads", "num_key_value_heads"]),
    ("vocab_size", &["n_vocab"]),
    ("intermediate_size", &["ffn_dim", "intermediate_dim", "n_inner"]),
    ("max_position_embeddings", &["max_seq_len", "context_length", "n_ctx"]),
    ("rms_norm_eps", &["layer_norm_eps", "norm_eps"]),
    ("rope_theta", &[]),
];

/// Every spelling of `key`, the canonical one first.
pub(crate) fn spellings(key: &str) -> impl Iterator<Item = &str> {
    let aliases = ALIASES.iter().find(|(canonical, _)| *canonical == key).map_or(&[][..], |(_, aliases)| aliases);
    std::iter::once(key).chain(aliases.iter().copied())
}

/// Parses the object; a key that occurs twice keeps its last value and gives a warning.
pub(crate) fn parse(file: &Path, bytes: &[u8], warnings: &mut Vec<String>) -> Result<Map<String, Value>, FormatError> {
    let bad = |e: serde_json::Error| Fault::BadJson { what: "the metadata", problem: e.to_string() }.at(file);
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let pairs = json.deserialize_map(Pairs).map_err(bad)?;
    json.end().map_err(bad)?;
    let mut map = Map::new();
    for (key, value) in pairs {
        if map.contains_key(&key) {
            warnings.push(format!("metadata key {key:?} occurs twice; the last value is used"));
        }
        map.insert(key, value);
    }
    check(&map, warnings);
    Ok(map)
}

/// The pairs of an object as they stand: `Map` alone would drop a repeated key unseen.
struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

/// Warns of what makes other readers lose metadata without a word: several spellings of one key, nulls, gaps.
fn check(map: &Map<String, Value>, warnings: &mut Vec<String>) {
    for (canonical, _) in ALIASES {
        let present: Vec<&str> = spellings(canonical).filter(|key| map.contains_key(*key)).collect();
        if present.len() > 1 {
            let list = present.join(", ");
            warnings.push(format!("metadata has {list} for the same thing; other readers then drop all metadata"));
        }
        for key in present.iter().filter(|key| map[**key].is_null()) {
            warnings.push(format!("metadata key {key:?} is null; other readers take it as missing"));
        }
        if present.iter().all(|key| map[*key].is_null()) {
            warnings.push(format!("metadata has no {canonical}; other readers assume a default without saying so"));
        }
    }
    if !["tokenizer.vocabulary", "tokenizer.merges"].iter().all(|key| map.contains_key(*key)) {
        warnings
            .push("metadata has no tokenizer.vocabulary with tokenizer.merges; text cannot be tokenised".to_owned());
    }
}

/// Refuses what [`check`] warns of, for files that we write: one spelling, no nulls for dimensions.
pub(crate) fn check_written(map: &Map<String, Value>) -> Result<(), String> {
    let mut known = HashSet::new();
    for (canonical, _) in ALIASES {
        for key in spellings(canonical).filter(|key| map.contains_key(*key)) {
            if !known.insert(canonical) {
                return Err(format!("metadata has two spellings of {canonical}"));
            }
            if map[key].is_null() {
                return Err(format!("metadata key {key:?} is null"));
            }
        }
    }
    Ok(())
}
