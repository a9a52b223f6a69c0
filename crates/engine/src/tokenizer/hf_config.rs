//! Which special tokens a Hugging Face tokenizer adds and names: the post-processor and tokenizer_config.json.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::Value;
use tokenizers::AddedToken;

use super::Tokenizer;
use super::error::TokenizerError;
use super::hf::{Added, TOKENIZER, parse};

const CONFIG: &str = "tokenizer_config.json";

/// The fields of tokenizer_config.json that matter here.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Config {
    bos_token: Option<Named>,
    eos_token: Option<Named>,
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
    chat_template: Option<Template>,
    added_tokens_decoder: BTreeMap<u32, AddedToken>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Text(String),
    Token { content: String },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Template {
    One(String),
    Several(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl Config {
    pub(super) fn parse(bytes: &[u8]) -> Result<Config, TokenizerError> {
        parse(CONFIG, bytes)
    }

    /// Tokens that only the configuration adds; transformers adds them too.
    pub(super) fn missing(&self, listed: &[Added]) -> Result<Vec<Added>, TokenizerError> {
        let known: HashSet<&str> = listed.iter().map(|added| added.token.content.as_str()).collect();
        let missing = self.added_tokens_decoder.iter().filter(|(_, token)| !known.contains(token.content.as_str()));
        Ok(missing.map(|(id, token)| Added { id: *id, token: token.clone() }).collect())
    }

    /// Names BOS and EOS, and lets `add_bos_token` and `add_eos_token` overrule the post-processor.
    pub(super) fn apply(self, mut built: Tokenizer) -> Result<Tokenizer, TokenizerError> {
        let find = |role, named: &Option<Named>| match named {
            None => Ok(None),
            Some(Named::Text(token) | Named::Token { content: token }) => match built.pieces.id(token) {
                Some(id) => Ok(Some(id)),
                None => Err(TokenizerError::SpecialText { role, token: token.clone() }),
            },
        };
        let need = |flag, role, id: Option<u32>| id.ok_or(TokenizerError::NoSpecial { flag, role });
        let (bos, eos) = (find("bos_token", &self.bos_token)?, find("eos_token", &self.eos_token)?);
        match self.add_bos_token {
            Some(true) => built.prefix = vec![need("add_bos_token", "bos_token", bos)?],
            Some(false) => built.prefix.retain(|id| Some(*id) != bos),
            None => {}
        }
        match self.add_eos_token {
            Some(true) => built.suffix = vec![need("add_eos_token", "eos_token", eos)?],
            Some(false) => built.suffix.retain(|id| Some(*id) != eos),
            None => {}
        }
        built.bos = bos.or_else(|| built.prefix.first().copied());
        built.eos = eos;
        built.end_of_generation.extend(eos);
        built.chat_template = self.chat_template.and_then(Template::default_one);
        Ok(built)
    }
}

impl Template {
    /// Of several, the one called `default`.
    fn default_one(self) -> Option<String> {
        match self {
            Template::One(source) => Some(source),
            Template::Several(list) => list.into_iter().find(|t| t.name == "default").map(|t| t.template),
        }
    }
}

/// The ids that a post-processor puts before and after a single text.
pub(super) fn special_ids(processor: Option<&Value>, vocab: usize) -> Result<(Vec<u32>, Vec<u32>), TokenizerError> {
    let Some(processor) = processor else { return Ok((Vec::new(), Vec::new())) };
    match processor["type"].as_str().unwrap_or("without a type") {
        // It only moves offsets.
        "ByteLevel" => Ok((Vec::new(), Vec::new())),
        "Sequence" => {
            let (mut before, mut after) = (Vec::new(), Vec::new());
            for inner in processor["processors"].as_array().into_iter().flatten() {
                let (outer, end) = special_ids(Some(inner), vocab)?;
                before.splice(0..0, outer);
                after.extend(end);
            }
            Ok((before, after))
        }
        "TemplateProcessing" => of_template(processor, vocab),
        name => Err(TokenizerError::Unsupported {
            what: "post-processor",
            name: name.to_owned(),
            known: "ByteLevel, TemplateProcessing, Sequence".to_owned(),
        }),
    }
}

#[derive(Deserialize)]
enum Item {
    SpecialToken { id: String },
    Sequence {},
}

#[derive(Deserialize)]
struct Special {
    ids: Vec<u32>,
}

fn of_template(processor: &Value, vocab: usize) -> Result<(Vec<u32>, Vec<u32>), TokenizerError> {
    let json = |source| TokenizerError::Json { file: TOKENIZER, source };
    let items: Vec<Item> = Deserialize::deserialize(&processor["single"]).map_err(json)?;
    let specials: BTreeMap<String, Special> = Deserialize::deserialize(&processor["special_tokens"]).map_err(json)?;
    let (mut before, mut after, mut text_seen) = (Vec::new(), Vec::new(), false);
    for item in items {
        match item {
            Item::Sequence {} => text_seen = true,
            Item::SpecialToken { id } => {
                let role = "special token of the post-processor";
                let special = specials.get(&id).ok_or(TokenizerError::SpecialText { role, token: id })?;
                if let Some(&id) = special.ids.iter().find(|id| **id as usize >= vocab) {
                    return Err(TokenizerError::SpecialId { role, id, vocab });
                }
                if text_seen { &mut after } else { &mut before }.extend(&special.ids);
            }
        }
    }
    Ok((before, after))
}
