//! # What goes wrong
//!
//! The rows of a projection are in another order: that of another layout, of shards joined wrongly, or of a permutation
//! that nobody undid.
//!
//! # Seen in
//!
//! vLLM 29273 (interleaved), llama.cpp 7634 (a layout, no mistake).
//!
//! # What it changes
//!
//! One projection: every right value is there, in another place, the same at all positions.
//!
//! # When it can not be seen
//!
//! It shows at once.
//!
//! # Equivalent to
//!
//! Hidden channels of the feed-forward reordered alike in gate, up and down projection are the same model.

use twinpath_engine::{Op, Point};

use super::{Found, Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "row-order", source: include_str!("row_order.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let (Op::Linear { weight, .. }, Some(found)) = (scene.op, scene.found) else { return Vec::new() };
    let mut all = Vec::new();
    if let Some(order) = order(&found) {
        let moved = order.iter().enumerate().filter(|(i, from)| i != *from).count();
        all.push(kit::in_order(format!("{moved} of {} rows elsewhere", weight.rows()), order));
    }
    if let (Point::FfnDown, Some(order)) = (scene.site.point, scene.channels) {
        let order = order.to_vec();
        all.push(kit::on("hidden channels as in the gate", move |_, x| {
            let mut back = x.clone();
            for t in 0..x.rows() {
                order.iter().enumerate().for_each(|(i, from)| back.row_mut(t)[*from] = x.row(t)[i]);
            }
            back
        }));
    }
    all
}

/// Which row each place holds, by the order of the values of the last position; `None` where every row is in its place.
pub(crate) fn order(found: &Found<'_>) -> Option<Vec<usize>> {
    let n = found.value.cols();
    let by_size = |value: &dyn Fn(usize) -> f64| {
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| value(*a).total_cmp(&value(*b)));
        order
    };
    let last = found.value.rows().checked_sub(1)?;
    let right = by_size(&|i| found.own.declared.value[last * n + i]);
    let recorded = by_size(&|i| f64::from(found.value.row(last)[i]));
    let mut order = vec![0; n];
    for (place, row) in recorded.into_iter().zip(right) {
        order[place] = row;
    }
    order.iter().enumerate().any(|(i, from)| i != *from).then_some(order)
}
