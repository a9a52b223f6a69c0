//! # What goes wrong
//!
//! The token that begins a sequence is put in front where it is there already, or is left out, so that every token stands
//! at its neighbour's position; or one token id is read as another.
//!
//! # Seen in
//!
//! lm-evaluation-harness 1465 (perplexity 5.9e9 for 3.46), 2049 and 3333; llama.cpp 1303 and 21500; llama-cpp-python 1561.
//!
//! # What it changes
//!
//! Embeddings: each is that of the token before, or after.
//!
//! # When it can not be seen
//!
//! It shows at once, at the very first site. Where token ids travel with a recording they are compared before any number.
//!
//! # Equivalent to
//!
//! Nothing.

use twinpath_engine::Op;

use super::{Scene, Suspect};
use crate::change::{Change, rows};

pub(super) const SUSPECT: Suspect = Suspect { name: "bos", source: include_str!("bos.rs"), changes };

fn changes(scene: &Scene<'_>) -> Vec<Change> {
    let Op::Embed { tokens, .. } = *scene.op else { return Vec::new() };
    if tokens.is_empty() {
        return Vec::new();
    }
    let last = tokens.len() - 1;
    let mut all = Vec::new();
    for (name, before) in
        [("doubled", tokens[0]), ("token 0 in front", 0), ("token 1 in front", 1), ("token 2 in front", 2)]
    {
        all.push(of(name, [&[before], &tokens[..last]].concat()));
    }
    all.push(of("left out", [&tokens[1..], &tokens[last..]].concat()));
    all.retain(|change| change.1 != tokens);
    all.into_iter().map(|(change, _)| change).collect()
}

/// The embeddings of other tokens.
fn of(name: &str, others: Vec<u32>) -> (Change, Vec<u32>) {
    let tokens = others.clone();
    let change = Change::op(name, move |op, x, then| match *op {
        Op::Embed { table, .. } if others.iter().all(|t| (*t as usize) < table.rows()) => {
            then(0..others.len(), &Op::Embed { table, tokens: &others }, x);
        }
        _ => then(0..rows(op, x), op, x),
    });
    (change, tokens)
}
