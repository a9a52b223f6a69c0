//! # What goes wrong
//!
//! RoPE counts positions from another number: off by one or more.
//!
//! # Seen in
//!
//! fla 766 (upper layers off by one) and 902, flashinfer 847, hipfire 391.
//!
//! # What it changes
//!
//! Queries and keys after RoPE at every position.
//!
//! # When it can not be seen
//!
//! Where queries and keys are off by the same number, the scores are right again: only differences of positions count.
//!
//! # Equivalent to
//!
//! The same offset in queries and keys is no mistake in exact arithmetic.

use twinpath_engine::{Op, Rope};

use super::{Scene, Suspect};
use crate::change::{Change, rows};

pub(super) const SUSPECT: Suspect =
    Suspect { name: "position-offset", source: include_str!("position_offset.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Rope { .. } = *scene.op else { return Vec::new() };
    [1, 2, -1, -2].into_iter().map(offset).collect()
}

/// Turned by `by` positions more. Before position 0 the turn goes backwards.
fn offset(by: i32) -> Change {
    Change::op(format!("off by {by:+}"), move |op, x, then| {
        let Op::Rope { rope, heads, start } = *op else { return then(0..rows(op, x), op, x) };
        let back = Rope { frequencies: rope.frequencies.iter().map(|f| -f).collect(), ..rope.clone() };
        for t in 0..x[0].rows() {
            let position = (start + t) as i64 + i64::from(by);
            let rope = if position < 0 { &back } else { rope };
            let op = Op::Rope { rope, heads, start: position.unsigned_abs() as usize };
            then(t..t + 1, &op, &[&x[0].rows_of(t..t + 1)]);
        }
    })
}
