//! Names, layouts, tokens and arithmetic that a person says, in YAML:
//!
//! ```yaml
//! names:
//!   "layers.{}.attn.wqkv": { sites: [q, k, v], layout: rows }
//!   "layers.{}.mlp.act": ffn_swiglu
//!   "tok": embed
//! tokens: [636, 864]      # or the name of an array
//! positions: pos          # the name of an array, or [5, 6]; all positions where it is left out
//! activations: ggml       # or f32
//! kv: f16                 # or f32, bf16
//! flash: true             # attention in one pass, without scores
//! half-split: true        # q and k in Hugging Face's order, whatever the order in the weights' file
//! ```
//!
//! `{}` stands for the layer. A name that is not in the map means nothing; a map without names leaves them to the known
//! vocabularies.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use twinpath_engine::{Config, Site};

use super::{Layout, Meaning, Names};
use crate::error::LabError;

/// Bytes that a map may have.
const MAX_BYTES: u64 = 1 << 20;

/// A map, read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UserMap {
    #[serde(default)]
    names: BTreeMap<String, Said>,
    /// Where token ids are, or what they are.
    pub(crate) tokens: Option<Ids>,
    /// Where their positions are, or what they are.
    pub(crate) positions: Option<Ids>,
    /// See [`crate::trace::foreign::Capture`].
    pub(crate) activations: Option<String>,
    /// See [`crate::trace::foreign::Capture`].
    pub(crate) kv: Option<String>,
    /// See [`crate::trace::foreign::Capture`].
    #[serde(default)]
    pub(crate) flash: bool,
    #[serde(default)]
    half_split: bool,
}

/// Token ids.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Ids {
    /// The array that holds them.
    Array(String),
    /// Themselves.
    Given(Vec<u32>),
}

/// What is said of a name.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Said {
    Point(String),
    Full(Full),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Full {
    sites: Vec<String>,
    layout: Option<Layout>,
    #[serde(default)]
    unscaled: bool,
}

impl UserMap {
    /// Reads a map.
    ///
    /// # Errors
    /// When it cannot be read, is no such YAML, or names a point that there is not.
    pub fn open(path: &Path) -> Result<UserMap, LabError> {
        let bad = |why: String| LabError::BadTrace { file: path.to_owned(), why };
        let io = |source| LabError::Io { file: path.to_owned(), source };
        if std::fs::metadata(path).map_err(io)?.len() > MAX_BYTES {
            return Err(bad(format!("is no map of names: it has more than {MAX_BYTES} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(io)?;
        let map: UserMap = serde_saphyr::from_str(&text).map_err(|e| {
            // The rest of the text shows the place in the file.
            bad(format!("is no map of names: {}", e.to_string().lines().next().unwrap_or_default()))
        })?;
        for (name, said) in &map.names {
            let layer = name.contains("{}").then_some("0");
            if let Some(point) = said.points().iter().find(|point| site(point, layer).is_none()) {
                let hint =
                    if layer.is_some() { "a point of a layer" } else { "embed, final_norm, logits or blk.N.POINT" };
                return Err(bad(format!("`{name}` is `{point}`, which is not {hint} (`twinpath list points`)")));
            }
        }
        Ok(map)
    }
}

impl UserMap {
    /// Whether it says names; else those of a known vocabulary hold.
    pub(crate) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }
}

impl Said {
    fn points(&self) -> &[String] {
        match self {
            Said::Point(point) => std::slice::from_ref(point),
            Said::Full(full) => &full.sites,
        }
    }
}

/// `point` of the layer that a name stands for, or a site in full.
fn site(point: &str, layer: Option<&str>) -> Option<Site> {
    match layer {
        Some(layer) => format!("blk.{layer}.{point}").parse().ok(),
        None => point.parse().ok(),
    }
}

/// The layer, where `name` is `pattern` with a number in the place of `{}`; `Some(None)` where they are equal.
fn matches<'n>(pattern: &str, name: &'n str) -> Option<Option<&'n str>> {
    let Some((before, after)) = pattern.split_once("{}") else { return (pattern == name).then_some(None) };
    let layer = name.strip_prefix(before)?.strip_suffix(after)?;
    (!layer.is_empty() && layer.bytes().all(|b| b.is_ascii_digit())).then_some(Some(layer))
}

impl Names for UserMap {
    fn name(&self) -> &'static str {
        "the map"
    }

    fn describe(&self) -> &'static str {
        "names that a YAML file gives"
    }

    fn meaning(&self, name: &str, _: &Config) -> Option<Meaning> {
        let (said, layer) = self.names.iter().find_map(|(pattern, said)| Some((said, matches(pattern, name)?)))?;
        let sites = said.points().iter().map(|point| site(point, layer)).collect::<Option<Vec<Site>>>()?;
        let (layout, unscaled) = match said {
            Said::Point(_) => (None, false),
            Said::Full(full) => (full.layout, full.unscaled),
        };
        Some(Meaning { sites, layout, unscaled, rank: 0 })
    }

    fn half_split(&self) -> bool {
        self.half_split
    }
}
