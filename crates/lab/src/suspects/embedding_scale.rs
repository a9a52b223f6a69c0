//! # What goes wrong
//!
//! A multiplier of embeddings, or of logits, that another family has is applied, or one is left out: √(hidden size), 12,
//! 1/8, and others.
//!
//! # Seen in
//!
//! CTranslate2 1882, llama.cpp 5276 (MiniCPM) and 9412 (Granite), ferrox 186.
//!
//! # What it changes
//!
//! Embeddings or logits, by one factor.
//!
//! # When it can not be seen
//!
//! In what follows the first norm the factor of embeddings is gone but for the residual stream. It shows at the site itself.
//!
//! # Equivalent to
//!
//! Nothing. Where no usual number fits, the factor is fitted.

use twinpath_engine::Point;

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect =
    Suspect { name: "embedding-scale", source: include_str!("embedding_scale.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let (Point::Embed | Point::Logits) = scene.site.point else { return Vec::new() };
    let hidden = scene.model.config().hidden as f64;
    let mut all = vec![
        ("times sqrt(hidden)".to_owned(), hidden.sqrt()),
        ("divided by sqrt(hidden)".to_owned(), 1.0 / hidden.sqrt()),
        ("times 12".to_owned(), 12.0),
    ];
    if let Some(factor) = kit::factor(scene).filter(|f| (f - 1.0).abs() > 1e-6) {
        all.push((format!("times {}", kit::word(factor)), factor));
    }
    all.into_iter().map(|(name, by)| Change::map(name, move |x| x * by)).collect()
}
