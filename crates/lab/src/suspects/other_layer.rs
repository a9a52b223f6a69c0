//! # What goes wrong
//!
//! A tensor of one layer is used in another, too: an index that is off by one, or a cache of decoded weights keyed wrongly.
//!
//! # Seen in
//!
//! fla 766 (upper layers off by one); a mistake of loaders that keep one buffer for all layers.
//!
//! # What it changes
//!
//! The value of one projection or norm, wholly.
//!
//! # When it can not be seen
//!
//! It shows at once.
//!
//! # Equivalent to
//!
//! Nothing.

use twinpath_engine::{Model, Op, Point};

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "other-layer", source: include_str!("other_layer.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let (Some(layer), Some(tensor)) = (scene.site.layer, tensor(scene.site.point)) else { return Vec::new() };
    let last = scene.model.config().layers - 1;
    let mut others = vec![layer.wrapping_sub(1), layer + 1, 0, last];
    others.retain(|other| *other <= last && *other != layer);
    let mut all = Vec::new();
    for (i, other) in others.iter().enumerate().filter(|(i, other)| !others[..*i].contains(other)) {
        all.extend(from(scene.model, scene.op, &format!("blk.{other}.{tensor}")).filter(|_| i < 4));
    }
    all
}

/// The tensor of a layer that makes the value of a point, by its GGUF name.
pub(super) fn tensor(point: Point) -> Option<&'static str> {
    Some(match point {
        Point::AttnNorm => "attn_norm",
        Point::Q => "attn_q",
        Point::K => "attn_k",
        Point::V => "attn_v",
        Point::QNorm => "attn_q_norm",
        Point::KNorm => "attn_k_norm",
        Point::AttnOut => "attn_output",
        Point::FfnNorm => "ffn_norm",
        Point::FfnGate => "ffn_gate",
        Point::FfnUp => "ffn_up",
        Point::FfnDown => "ffn_down",
        _ => return None,
    })
}

/// The op with another tensor of the model, if that is another one of the same shape.
pub(super) fn from(model: &Model, op: &Op<'_>, name: &str) -> Option<Change> {
    match *op {
        Op::Norm { weight, .. } => {
            let full = format!("{name}.weight");
            let other = model.vectors().find(|(n, _)| *n == full)?.1;
            let fits = other.len() == weight.len() && other != weight;
            let other = other.to_vec();
            fits.then(|| kit::norm(format!("{name} used"), move |_, eps| (other.clone(), eps)))
        }
        Op::Linear { weight, .. } => {
            let full = format!("{name}.weight");
            model.matrix_names().find(|n| *n == full)?;
            let other = model.linear(name);
            let fits = (other.weight.rows(), other.weight.cols()) == (weight.rows(), weight.cols())
                && other.weight.bytes() != weight.bytes();
            fits.then(|| kit::replaced(format!("{name} used"), other.weight, other.bias))
        }
        _ => None,
    }
}
