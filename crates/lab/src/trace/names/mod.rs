//! What other engines call our sites. One file for each vocabulary.

mod apr;
mod ggml;
mod hugging_face;
pub(crate) mod own;
pub mod user;

use twinpath_engine::{Config, Point, Site};

/// How the rows of an array lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// One row per position: `[T, width]`, or `[T, heads, width / heads]`.
    Rows,
    /// Head after head: `[heads, T, width / heads]`.
    Heads,
    /// One column per position: `[width, T]`.
    Columns,
}

/// What a name says.
#[derive(Debug, Clone, PartialEq)]
pub struct Meaning {
    /// The sites whose values lie side by side in the array: more than one where an engine fuses projections.
    pub sites: Vec<Site>,
    /// How rows lie, where the vocabulary settles it.
    pub layout: Option<Layout>,
    /// Scores that have not met `1 / √head_dim` yet.
    pub unscaled: bool,
    /// Of two arrays of one site the higher holds: the value after the bias, not before.
    pub rank: u8,
}

impl Meaning {
    fn of(site: Site) -> Meaning {
        Meaning { sites: vec![site], layout: None, unscaled: false, rank: 0 }
    }
}

/// A vocabulary.
pub trait Names: Sync {
    /// The name in records.
    fn name(&self) -> &'static str;
    /// Whose it is.
    fn describe(&self) -> &'static str;
    /// What `name` means; `None` where it means none of our sites.
    fn meaning(&self, name: &str, config: &Config) -> Option<Meaning>;
    /// Whether q and k come in half-split order whatever the file that the weights are in.
    fn half_split(&self) -> bool {
        false
    }
}

/// Every vocabulary; where two know equally many names of a file, the first holds.
pub const NAMES: &[&dyn Names] = &[&own::Own, &hugging_face::HuggingFace, &ggml::Ggml, &apr::Apr];

fn block(layer: &str, point: Point) -> Option<Site> {
    layer.parse().ok().map(|layer| Site::block(layer, point))
}
