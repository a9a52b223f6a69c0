//! Metadata between GGUF and `.apr`: each key to its home, the others in a list that keeps type and order.
//!
//! The list, `gguf.metadata`, is an array of `[key, type]` (the value is at its `.apr` home) and `[key, type, value]`.
//! What an `.apr` file says that has no GGUF key travels back as JSON text under `apr.metadata`.

use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::json::{decode, encode, encode_f32, from_plain, to_plain, type_of};
use crate::apr::Apr;
use crate::container::Container;
use crate::error::{Fault, FormatError};
use crate::gguf::{Gguf, Metadata, SPLIT_KEYS, Value};

/// `.apr` key: the GGUF metadata in order.
const LIST: &str = "gguf.metadata";
/// GGUF key: the `.apr` metadata that has no GGUF key.
const EXTRA: &str = "apr.metadata";

/// A family whose names and dimensions are mapped.
struct Family {
    architecture: &'static str,
    hf_class: &'static str,
    /// 0: RoPE over adjacent pairs. 2: over halves. It is the order in which the file stores the rows of q and k.
    rope_type: u64,
}

const FAMILIES: [Family; 4] = [
    Family { architecture: "llama", hf_class: "LlamaForCausalLM", rope_type: 0 },
    Family { architecture: "mistral", hf_class: "MistralForCausalLM", rope_type: 0 },
    Family { architecture: "qwen2", hf_class: "Qwen2ForCausalLM", rope_type: 2 },
    Family { architecture: "qwen3", hf_class: "Qwen3ForCausalLM", rope_type: 2 },
];

/// GGUF key (`{arch}.` before it), `.apr` key, GGUF type by convention.
const DIMENSIONS: [(&str, &str, &str); 13] = [
    ("embedding_length", "hidden_size", "u32"),
    ("block_count", "num_layers", "u32"),
    ("attention.head_count", "num_heads", "u32"),
    ("attention.head_count_kv", "num_kv_heads", "u32"),
    ("vocab_size", "vocab_size", "u32"),
    ("feed_forward_length", "intermediate_size", "u32"),
    ("context_length", "max_position_embeddings", "u32"),
    ("rope.freq_base", "rope_theta", "f32"),
    ("attention.layer_norm_rms_epsilon", "rms_norm_eps", "f32"),
    ("attention.key_length", "head_dim", "u32"),
    ("expert_count", "num_experts", "u32"),
    ("expert_used_count", "num_experts_per_tok", "u32"),
    ("expert_feed_forward_length", "moe_intermediate_size", "u32"),
];

/// The same for keys without the architecture.
const OTHERS: [(&str, &str, &str); 18] = [
    ("general.architecture", "architecture", "string"),
    ("general.name", "name", "string"),
    ("general.description", "description", "string"),
    ("general.author", "author", "string"),
    ("general.license", "license", "string"),
    ("general.version", "version", "string"),
    ("tokenizer.ggml.model", "tokenizer.model", "string"),
    ("tokenizer.ggml.pre", "tokenizer.pre_type", "string"),
    ("tokenizer.ggml.tokens", "tokenizer.vocabulary", "array:string"),
    ("tokenizer.ggml.scores", "tokenizer.scores", "array:f32"),
    ("tokenizer.ggml.token_type", "tokenizer.token_type", "array:i32"),
    ("tokenizer.ggml.merges", "tokenizer.merges", "array:string"),
    ("tokenizer.ggml.bos_token_id", "tokenizer.bos_token_id", "u32"),
    ("tokenizer.ggml.eos_token_id", "tokenizer.eos_token_id", "u32"),
    ("tokenizer.ggml.padding_token_id", "tokenizer.padding_token_id", "u32"),
    ("tokenizer.ggml.add_bos_token", "tokenizer.add_bos_token", "bool"),
    ("tokenizer.ggml.add_eos_token", "tokenizer.add_eos_token", "bool"),
    ("tokenizer.chat_template", "tokenizer.chat_template", "string"),
];

/// `.apr` keys that follow from the rest of the file (with all `model.*`): written anew, never carried over.
const DERIVED: [&str; 12] = [
    LIST,
    "model_type",
    "original_format",
    "total_size",
    "param_count",
    "chat_template",
    "hf_architecture",
    "hf_model_type",
    "rope_type",
    "tensor_shapes",
    "tokenizer.vocab_size",
    "tied_embeddings",
];

/// `.apr` dimensions that upstream writes a second time under `model.`.
const COPIED: [&str; 10] = [
    "architecture",
    "hidden_size",
    "num_layers",
    "num_heads",
    "num_kv_heads",
    "vocab_size",
    "intermediate_size",
    "max_position_embeddings",
    "rope_theta",
    "rms_norm_eps",
];

/// RoPE's base where a GGUF file gives none (llama.cpp); readers of `.apr` assume others, so it is written out.
const DEFAULT_THETA: f32 = 10_000.0;

fn family(file: &Path, architecture: &str) -> Result<&'static Family, FormatError> {
    FAMILIES.iter().find(|f| f.architecture == architecture).ok_or_else(|| {
        let supported = FAMILIES.map(|f| f.architecture).join(", ");
        Fault::UnsupportedArchitecture { architecture: architecture.to_owned(), supported }.at(file)
    })
}

/// The `.apr` home of a GGUF key, and the type such a key has by convention.
fn homes(architecture: &str) -> Vec<(String, &'static str, &'static str)> {
    let dimensions = DIMENSIONS.iter().map(|(key, home, kind)| (format!("{architecture}.{key}"), *home, *kind));
    OTHERS.iter().map(|(key, home, kind)| ((*key).to_owned(), *home, *kind)).chain(dimensions).collect()
}

/// What a home may hold, so that foreign readers, which parse it into a fixed type, can.
fn fits_home(value: &Value, kind: &str) -> bool {
    match kind {
        "u32" => value.as_u64().is_some(),
        "array:i32" => type_of(value).starts_with("array:i") || type_of(value).starts_with("array:u"),
        kind => type_of(value) == kind,
    }
}

/// What the weights say, for keys that derive from them.
pub(crate) struct Weights {
    /// Number of values in all tensors.
    pub(crate) values: u64,
    /// Rows of the token embedding, if there is one.
    pub(crate) vocabulary: Option<u64>,
    /// Whether the output head is a copy of the embedding, made for the `.apr` file.
    pub(crate) tied: bool,
    /// Names and shapes, in the order of the data.
    pub(crate) shapes: Vec<(String, Vec<usize>)>,
}

/// The `.apr` metadata of a GGUF model. `dropped` gets the keys that are not kept; `changed` tensors make
/// `general.file_type` untrue.
pub(crate) fn to_apr(
    gguf: &Gguf,
    weights: &Weights,
    changed: bool,
    dropped: &mut Vec<String>,
) -> Result<Map<String, Json>, FormatError> {
    let file = gguf.paths()[0];
    let family = family(file, gguf.require::<&str>("general.architecture")?)?;
    let homes = homes(family.architecture);
    let mut held = Map::new();
    let mut list = Vec::new();
    for (key, value) in gguf.metadata().iter() {
        if SPLIT_KEYS.contains(&key) || (changed && key == "general.file_type") {
            dropped.push(key.to_owned());
            continue;
        }
        if key == EXTRA {
            continue;
        }
        let home = homes.iter().find(|(k, _, kind)| k == key && fits_home(value, kind));
        match home.and_then(|(_, home, _)| to_plain(value).map(|json| (*home, json))) {
            Some((home, json)) => {
                held.insert(home.to_owned(), json);
                list.push(json!([key, type_of(value)]));
            }
            None => list.push(json!([key, value.type_name(), encode(value)])),
        }
    }
    let mut map = arrange(held, family, weights);
    map.insert(LIST.to_owned(), Json::Array(list));
    if let Some(text) = gguf.str(EXTRA)? {
        let extra: Map<String, Json> = serde_json::from_str(text)
            .map_err(|e| Fault::BadJson { what: "the GGUF key apr.metadata", problem: e.to_string() }.at(file))?;
        for (key, value) in extra {
            if map.get(&key).is_none_or(Json::is_null) {
                map.insert(key, value);
            }
        }
    }
    Ok(map)
}

/// Puts the keys into upstream's order and adds those that derive from the rest.
fn arrange(mut held: Map<String, Json>, family: &Family, weights: &Weights) -> Map<String, Json> {
    let mut map = Map::new();
    let mut take = |map: &mut Map<String, Json>, key: &str| {
        if let Some(value) = held.shift_remove(key) {
            map.insert(key.to_owned(), value);
        }
    };
    map.insert("model_type".to_owned(), json!(family.architecture));
    for key in ["name", "description", "author"] {
        take(&mut map, key);
    }
    map.insert("license".to_owned(), Json::Null);
    take(&mut map, "license");
    map.insert("data_source".to_owned(), Json::Null);
    map.insert("data_license".to_owned(), Json::Null);
    take(&mut map, "version");
    map.insert("original_format".to_owned(), json!("gguf"));
    map.insert("total_size".to_owned(), json!(0));
    map.insert("param_count".to_owned(), json!(weights.values));
    take(&mut map, "architecture");
    map.insert("hf_architecture".to_owned(), json!(family.hf_class));
    map.insert("hf_model_type".to_owned(), json!(family.architecture));
    for (_, home, _) in DIMENSIONS {
        if home == "vocab_size"
            && let Some(n) = weights.vocabulary
        {
            map.insert(home.to_owned(), json!(n));
        }
        take(&mut map, home);
        if home == "rope_theta" {
            map.entry(home).or_insert_with(|| encode_f32(DEFAULT_THETA));
            map.insert("rope_type".to_owned(), json!(family.rope_type));
        }
    }
    if let Some(template) = held.get("tokenizer.chat_template") {
        map.insert("chat_template".to_owned(), template.clone());
    }
    if let Some(vocabulary) = held.get("tokenizer.vocabulary").and_then(Json::as_array) {
        map.insert("tokenizer.vocab_size".to_owned(), json!(vocabulary.len()));
    }
    map.extend(held);
    for key in COPIED {
        if let Some(value) = map.get(key).cloned() {
            map.insert(format!("model.{key}"), value);
        }
    }
    map.insert("model.rope_type".to_owned(), json!(family.rope_type));
    let shapes: Map<String, Json> = weights.shapes.iter().map(|(name, dims)| (name.clone(), json!(dims))).collect();
    map.insert("tensor_shapes".to_owned(), Json::Object(shapes));
    if weights.tied {
        map.insert("tied_embeddings".to_owned(), Json::Bool(true));
    }
    map
}

/// The GGUF metadata of an `.apr` model; `quantised` when any tensor is.
pub(crate) fn to_gguf(
    apr: &Apr,
    quantised: bool,
    changed: bool,
    dropped: &mut Vec<String>,
) -> Result<Metadata, FormatError> {
    let file = apr.paths()[0];
    let architecture = apr.str("architecture")?.or(apr.str("hf_model_type")?).unwrap_or("");
    let family = family(file, architecture)?;
    if let Some(found) = apr.u64("rope_type")?.filter(|t| *t != family.rope_type) {
        let problem = format!(
            "the .apr says rope_type {found} and GGUF's {architecture} means {}; the rows of q_proj and k_proj would \
             have to be permuted",
            family.rope_type
        );
        return Err(Fault::CannotWrite { problem }.at(file));
    }
    let homes = homes(family.architecture);
    let mut metadata = Metadata::default();
    match apr.array(LIST)? {
        Some(list) => from_list(apr, list, &homes, &mut metadata)?,
        None => metadata.set("general.architecture", Value::String(family.architecture.to_owned())),
    }
    from_homes(apr, &homes, quantised, &mut metadata)?;
    if changed && metadata.get("general.file_type").is_some() {
        metadata.remove("general.file_type");
        dropped.push("general.file_type".to_owned());
    }
    let extra: Map<String, Json> = apr
        .metadata()
        .iter()
        .filter(|(key, value)| {
            !value.is_null() && !is_derived(key) && !homes.iter().any(|(_, home, _)| has_home(key, home))
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if !extra.is_empty() {
        metadata.set(EXTRA, Value::String(Json::Object(extra).to_string()));
    }
    Ok(metadata)
}

/// The GGUF keys that [`to_apr`] listed in this file; none for a file of another writer.
pub(crate) fn listed(apr: &Apr) -> Result<Metadata, FormatError> {
    let mut metadata = Metadata::default();
    if let Some(list) = apr.array(LIST)? {
        let homes = homes(apr.str("architecture")?.unwrap_or(""));
        from_list(apr, list, &homes, &mut metadata)?;
    }
    Ok(metadata)
}

fn is_derived(key: &str) -> bool {
    DERIVED.contains(&key) || key.starts_with("model.")
}

fn has_home(key: &str, home: &str) -> bool {
    crate::apr::spellings(home).any(|spelling| spelling == key)
}

/// The keys that [`to_apr`] listed, in their order.
fn from_list(
    apr: &Apr,
    list: &[Json],
    homes: &[(String, &str, &str)],
    metadata: &mut Metadata,
) -> Result<(), FormatError> {
    for item in list {
        let value_of = || {
            let item = item.as_array()?;
            let (key, kind) = (item.first()?.as_str()?, item.get(1)?.as_str()?);
            let value = match item.get(2) {
                Some(json) => decode(json, kind)?,
                None => from_plain(apr.get(homes.iter().find(|(k, _, _)| k == key)?.1)?, kind)?,
            };
            Some((key, value))
        };
        let named = item.get(0).cloned().unwrap_or_default();
        let bad = || Fault::BadJson { what: LIST, problem: format!("{named} has no value of its type") };
        let (key, value) = value_of().ok_or_else(|| bad().at(apr.paths()[0]))?;
        metadata.set(key, value);
    }
    Ok(())
}

/// The keys that are not listed (all of them in a file of another tool), with the types that they have by convention.
fn from_homes(
    apr: &Apr,
    homes: &[(String, &str, &str)],
    quantised: bool,
    metadata: &mut Metadata,
) -> Result<(), FormatError> {
    let listed = apr.get(LIST).is_some();
    for (key, home, kind) in homes {
        let value = match *home {
            "tokenizer.chat_template" => apr.get(home).or_else(|| apr.get("chat_template")),
            _ => apr.get(home),
        };
        let Some(json) = value.filter(|json| metadata.get(key).is_none() && !(listed && was_added(home, json))) else {
            continue;
        };
        let wrong = || {
            let found = crate::apr::json_type(json);
            Fault::WrongType { key: (*home).to_owned(), expected: "what its GGUF key holds", found }.at(apr.paths()[0])
        };
        metadata.set(key, from_plain(json, kind).ok_or_else(wrong)?);
    }
    if !listed && metadata.get("tokenizer.ggml.merges").is_some() && metadata.get("tokenizer.ggml.model").is_none() {
        // Files made from safetensors call it "BPE" under another key; GGUF's name for byte-level BPE is this.
        metadata.set("tokenizer.ggml.model", Value::String("gpt2".to_owned()));
    }
    if !listed && quantised {
        // The version of ggml's block layouts, which has been 2 since GGUF exists.
        metadata.set("general.quantization_version", Value::U32(2));
    }
    Ok(())
}

/// Whether [`arrange`] put a dimension in that the GGUF file did not state.
fn was_added(home: &str, json: &Json) -> bool {
    match home {
        "vocab_size" => true,
        "rope_theta" => json.as_f64() == Some(f64::from(DEFAULT_THETA)),
        _ => false,
    }
}
