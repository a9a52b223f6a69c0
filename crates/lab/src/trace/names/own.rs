//! Sites by their own text: `blk.3.ffn_swiglu`.

use twinpath_engine::Config;

use super::{Layout, Meaning, Names};

/// The vocabulary.
pub(crate) struct Own;

impl Names for Own {
    fn name(&self) -> &'static str {
        "twinpath"
    }

    fn describe(&self) -> &'static str {
        "sites by their own names, `blk.3.ffn_swiglu` (`twinpath list points`)"
    }

    fn meaning(&self, name: &str, _: &Config) -> Option<Meaning> {
        let site = name.parse().ok()?;
        Some(Meaning { layout: Some(Layout::Rows), ..Meaning::of(site) })
    }
}
