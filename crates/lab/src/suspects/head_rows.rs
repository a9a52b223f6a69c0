//! # What goes wrong
//!
//! Converters reorder the rows of the query and key weights, because Hugging Face checkpoints and GGUF files of Llama pair
//! the dimensions of a head differently. Done with the wrong number of heads, twice, or not at all, rows end up elsewhere.
//!
//! # Seen in
//!
//! llama.cpp 3364 (hidden where 64 / 8 = 8), 3018 and 2376, TinyLlama 24, transformers 31766 and 31788, vllm-metal 480.
//!
//! # What it changes
//!
//! Queries or keys before RoPE: the same values in another order. Values (V) are right.
//!
//! # When it can not be seen
//!
//! Where the head counts make both orders the same.
//!
//! # Equivalent to
//!
//! With RoPE of the other pairing, reordered rows are another layout and no mistake.

use twinpath_engine::{Op, Point};

use super::{Scene, Suspect, kit};
use crate::change::Change;

pub(super) const SUSPECT: Suspect = Suspect { name: "head-rows", source: include_str!("head_rows.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let (Op::Linear { weight, .. }, Point::Q | Point::K) = (scene.op, scene.site.point) else { return Vec::new() };
    let (c, rows) = (scene.model.config(), weight.rows());
    let mut all = Vec::new();
    for (name, heads) in [("heads", c.heads), ("kv heads", c.kv_heads)] {
        if rows.is_multiple_of(2 * heads) {
            all.push((format!("halves interleaved, by {heads} {name}"), interleaved(rows, heads)));
            all.push((format!("pairs taken apart, by {heads} {name}"), apart(rows, heads)));
        }
    }
    // Put in order by one head count, taken for granted by the other.
    if c.heads != c.kv_heads && rows.is_multiple_of(2 * c.heads) && rows.is_multiple_of(2 * c.kv_heads) {
        for (a, b) in [(c.heads, c.kv_heads), (c.kv_heads, c.heads)] {
            let (first, second) = (apart(rows, a), interleaved(rows, b));
            let order = second.iter().map(|i| first[*i]).collect();
            all.push((format!("ordered by {a} heads for {b}"), order));
        }
    }
    let moves = |order: &Vec<usize>| order.iter().enumerate().any(|(i, from)| i != *from);
    let mut seen: Vec<Vec<usize>> = Vec::new();
    all.retain(|(_, order)| {
        let new = moves(order) && !seen.contains(order);
        seen.push(order.clone());
        new
    });
    all.into_iter().map(|(name, order)| kit::in_order(name, order)).collect()
}

/// Of each head, row `2i + h` of the result is row `h n/2 + i`: halves to pairs.
fn interleaved(rows: usize, heads: usize) -> Vec<usize> {
    let n = rows / heads;
    (0..rows).map(|r| r / n * n + r % n % 2 * (n / 2) + r % n / 2).collect()
}

/// Of each head, row `h n/2 + i` of the result is row `2i + h`: pairs to halves.
fn apart(rows: usize, heads: usize) -> Vec<usize> {
    let n = rows / heads;
    (0..rows).map(|r| r / n * n + r % n % (n / 2) * 2 + r % n / (n / 2)).collect()
}
