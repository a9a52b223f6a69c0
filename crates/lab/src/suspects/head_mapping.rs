//! # What goes wrong
//!
//! With grouped queries, query head h reads key and value head h / (heads / kv heads). An engine that repeats the heads in
//! the other order reads h mod (kv heads).
//!
//! # Seen in
//!
//! A mistake of ports of grouped-query attention (repeat for repeat-interleave); related to llama.cpp 3364.
//!
//! # What it changes
//!
//! Attention scores, and the mixed values, of all heads but some.
//!
//! # When it can not be seen
//!
//! Where there are as many key heads as query heads, or one.
//!
//! # Equivalent to
//!
//! Query heads stored in the other order.

use twinpath_engine::{Op, Tensor};

use super::{Scene, Suspect};
use crate::change::{Change, rows};

pub(super) const SUSPECT: Suspect = Suspect { name: "head-mapping", source: include_str!("head_mapping.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let (Op::Scores { heads, kv_heads, .. } | Op::Mix { heads, kv_heads, .. }) = *scene.op else { return Vec::new() };
    if kv_heads == 1 || kv_heads == heads {
        return Vec::new();
    }
    vec![
        mapped("h mod kv heads", |h, _, kv_heads| h % kv_heads),
        mapped("key head 0 for all", |_, _, _| 0),
        mapped("one head further", |h, heads, kv_heads| (h / (heads / kv_heads) + 1) % kv_heads),
    ]
}

/// Query head `h` reads key head `to(h, heads, kv_heads)`.
fn mapped(name: &str, to: fn(usize, usize, usize) -> usize) -> Change {
    Change::op(name, move |op, x, then| {
        let (Op::Scores { heads, kv_heads, .. } | Op::Mix { heads, kv_heads, .. }) = *op else {
            return then(0..rows(op, x), op, x);
        };
        let dim = x[1].cols() / kv_heads;
        let mut expanded = Vec::with_capacity(x[1].rows() * heads * dim);
        for t in 0..x[1].rows() {
            (0..heads).for_each(|h| expanded.extend_from_slice(&x[1].row(t)[to(h, heads, kv_heads) * dim..][..dim]));
        }
        let expanded = Tensor::new(x[1].rows(), heads * dim, expanded);
        let op = match *op {
            Op::Scores { scale, .. } => Op::Scores { heads, kv_heads: heads, scale },
            Op::Mix { mask, .. } => Op::Mix { heads, kv_heads: heads, mask },
            other => other,
        };
        then(0..x[0].rows(), &op, &[x[0], &expanded]);
    })
}
