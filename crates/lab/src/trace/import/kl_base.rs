//! What `llama-perplexity --kl-divergence-base` writes: log-probabilities in 16 bits, with the tokens.
//!
//! `_logits_`, then i32 context, vocabulary and chunks, all token ids, and for each chunk of `n` tokens the positions `n / 2` to
//! `n - 2`: f32 step, f32 smallest log-probability, one u16 for each token of the vocabulary (an even number of them), all
//! little-endian. A log-probability is `smallest + step · code`; those more than 16 below the largest are all coded 0.
//!
//! Only the first chunk is read: the others are runs of their own, and where a BOS was put in front of them, the file does not
//! say so.

use std::path::Path;

use twinpath_formats::map::Bytes;

use super::Import;
use crate::trace::foreign::CAPTURE_KEY;
use crate::trace::raw::{Array, Element, Raw};

/// The kind.
pub(super) struct KlBase;

/// What every such file begins with.
const MAGIC: &[u8; 8] = b"_logits_";
/// Bytes before the tokens.
const HEADER: usize = 20;
/// How far below the largest log-probability the smallest one lies at most, in nats.
const RANGE: f64 = 16.0;
/// Codes above 0.
const CODES: f64 = 65535.0;

impl Import for KlBase {
    fn name(&self) -> &'static str {
        "kl-base"
    }

    fn describe(&self) -> &'static str {
        "log-probabilities of llama-perplexity --kl-divergence-base, in 16 bits: the second half of the first chunk, never judged"
    }

    fn recognises(&self, _: &Path, head: &[u8]) -> bool {
        head.starts_with(MAGIC)
    }

    fn read(&self, _: &Path, bytes: &Bytes) -> Result<Raw, String> {
        let sizes = Sizes::of(bytes)?;
        let Sizes { context, vocab, chunks, .. } = sizes;
        let (first, rows, row) = (context / 2, sizes.rows, sizes.row);
        let body = HEADER + 4 * context * chunks;
        let mut values = Vec::with_capacity(4 * rows * vocab);
        let mut widest = 0.0f64;
        for t in 0..rows {
            let row = &bytes[body + t * row..][..row];
            let float = |at: usize| f32::from_le_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]]);
            let (step, least) = (float(0), float(4));
            if !(step >= 0.0 && step.is_finite() && least.is_finite()) {
                return Err(format!("has the step {step} and the smallest value {least} at position {}", first + t));
            }
            widest = widest.max(f64::from(step));
            // Rounded as a product in f32, 65535 steps may fall short of the range by an ulp.
            let cut = f64::from(step) * CODES > RANGE * (1.0 - 1e-6);
            for code in row[8..8 + 2 * vocab].as_chunks::<2>().0 {
                let code = u16::from_le_bytes(*code);
                // What was too small to be told is no value.
                let value = if cut && code == 0 { f32::NAN } else { least + step * f32::from(code) };
                values.extend_from_slice(&value.to_le_bytes());
            }
        }
        let ids =
            Array::new("input_ids".into(), vec![context], Element::I32, bytes.clone(), HEADER..HEADER + 4 * context)?;
        let positions = (first as i32..(first + rows) as i32).flat_map(i32::to_le_bytes).collect();
        let arrays = vec![
            Array::owned("result_output".into(), vec![rows, vocab], Element::F32, values)?,
            ids,
            Array::owned("positions".into(), vec![rows], Element::I32, positions)?,
        ];
        let capture = "{\"engine\":\"llama.cpp (llama-perplexity)\",\"activations\":\"ggml\"}".to_owned();
        let mut notes = Vec::new();
        if chunks > 1 {
            notes.push(format!("chunk 1 of {chunks}: the others are not read"));
        }
        Ok(Raw {
            arrays,
            metadata: [(CAPTURE_KEY.to_owned(), capture)].into(),
            weak: Some(floor(widest)),
            log_probabilities: true,
            notes,
        })
    }
}

/// A code is the nearest one, so that a log-probability is off by up to half a step; both floats of its row are rounded, too,
/// by less than 2⁻²³ of 32, 4e-6. With 65535 steps in at most 16 nats a step is at most 2.4e-4.
fn floor(step: f64) -> String {
    let half = step / 2.0 + RANGE * f64::from(f32::EPSILON) * 2.0;
    format!(
        "kept in 16 bits: log-probabilities to within {half:.1e}, and none more than {RANGE} below the largest; a smaller \
         difference shows nothing"
    )
}

/// The sizes of a file, checked against its length.
struct Sizes {
    context: usize,
    vocab: usize,
    chunks: usize,
    /// Positions of a chunk, and bytes of one.
    rows: usize,
    row: usize,
}

impl Sizes {
    fn of(bytes: &[u8]) -> Result<Sizes, String> {
        let word = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(i32::from_le_bytes);
        let (Some(context), Some(vocab), Some(chunks)) = (word(8), word(12), word(16)) else {
            return Err(format!("is cut short: its header has {HEADER} bytes, this file {}", bytes.len()));
        };
        let size = |n: i32, least: i32| usize::try_from(n).ok().filter(|_| n >= least);
        let (Some(context), Some(vocab), Some(chunks)) = (size(context, 3), size(vocab, 1), size(chunks, 1)) else {
            return Err(format!("says a context of {context}, a vocabulary of {vocab} and {chunks} chunks"));
        };
        let rows = context - 1 - context / 2;
        let row = 8 + 2 * vocab.next_multiple_of(2);
        let of_chunk = rows.checked_mul(row).and_then(|n| n.checked_add(4 * context));
        let whole = of_chunk.and_then(|n| n.checked_mul(chunks)).and_then(|n| n.checked_add(HEADER));
        if whole != Some(bytes.len()) {
            return Err(format!(
                "is cut short or lies: {chunks} chunks of {context} tokens and {vocab} log-probabilities do not make {} bytes",
                bytes.len()
            ));
        }
        Ok(Sizes { context, vocab, chunks, rows, row })
    }
}
