//! SentencePiece's BPE as ranked merges.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use tokenizers::models::bpe::Merges;

use super::error::TokenizerError;
use super::parts;

/// One way to make a token of two.
struct Split<'a> {
    score: f32,
    product: usize,
    left: (&'a str, usize),
    right: (&'a str, usize),
}

/// All splits of all tokens into two tokens, best score first.
///
/// SentencePiece joins, again and again, the neighbours whose union has the best score, the leftmost of equals. Ranked
/// merges do the same, for the rank of a merge is the rank of its product's score. The splits of one token need an
/// order too: longer left parts first, then longer right parts, as in the converters of transformers. It matters only
/// where two splits of one token overlap in a text (`a|aa|a`): there SentencePiece takes the left one.
///
/// `mergeable(id)` says which tokens take part.
pub(super) fn merges_of_scores(
    tokens: &[String],
    scores: &[f32],
    mergeable: impl Fn(usize) -> bool,
) -> Result<Merges, TokenizerError> {
    if let Some(id) = scores.iter().position(|score| score.is_nan()) {
        return Err(TokenizerError::Score { id, score: scores[id] });
    }
    let ids: HashMap<&str, usize> =
        tokens.iter().enumerate().filter(|(id, _)| mergeable(*id)).map(|(id, token)| (token.as_str(), id)).collect();

    let mut splits = Vec::new();
    for (product, token) in tokens.iter().enumerate().filter(|(id, _)| mergeable(*id)) {
        parts::cap("bytes of a token", token.len(), parts::MAX_TOKEN_BYTES)?;
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(&l), Some(&r)) = (ids.get(left), ids.get(right)) {
                splits.push(Split { score: scores[product], product, left: (left, l), right: (right, r) });
            }
        }
        parts::cap("merges", splits.len(), parts::MAX_MERGES)?;
    }
    splits.sort_by(|a, b| by_score(a, b).then_with(|| key(a).cmp(&key(b))));
    Ok(splits.iter().map(|split| (split.left.0.to_owned(), split.right.0.to_owned())).collect())
}

fn by_score(a: &Split<'_>, b: &Split<'_>) -> Ordering {
    b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal)
}

/// Lengths in characters, then ids: a total order, so that the file's order of bytes is the only input.
fn key(split: &Split<'_>) -> (Reverse<usize>, Reverse<usize>, usize, usize, usize) {
    let chars = |text: &str| Reverse(text.chars().count());
    (chars(split.left.0), chars(split.right.0), split.product, split.left.1, split.right.1)
}
