//! Text to token ids and back: an adapter over the `tokenizers` library.
//!
//! Two inputs, one result: the metadata of a GGUF or `.apr` file ([`TokenizerSpec`]), or a Hugging Face tokenizer.json.
//! Both are checked the same way (duplicate tokens, merges without a product, ids outside the vocabulary), and both
//! agree with transformers on the reference ids under `testdata/tokenizers`. The engine itself takes token ids only, so
//! no proof rests on this module.

mod error;
mod hf;
mod hf_config;
mod parts;
mod pieces;
mod pre;
mod spec;
mod spm;

use std::collections::BTreeSet;

pub use error::TokenizerError;
pub use pieces::StreamDecoder;
pub use spec::{TokenizerKind, TokenizerSpec};

use pieces::Pieces;

/// Longest text for one call of [`Tokenizer::encode`], in bytes; some 4 million tokens.
pub const MAX_TEXT_BYTES: usize = 1 << 24;

/// Special tokens that end a turn in the families we know, wherever the metadata name only one of them.
const END_OF_GENERATION: &[&str] = &[
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<end_of_turn>",
    "<end_of_utterance>",
];

/// A vocabulary with its rules.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    pieces: Pieces,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    end_of_generation: BTreeSet<u32>,
    chat_template: Option<String>,
}

impl Tokenizer {
    fn new(inner: tokenizers::Tokenizer, pieces: Pieces, prefix: Vec<u32>, suffix: Vec<u32>) -> Tokenizer {
        let known = END_OF_GENERATION.iter().filter_map(|text| pieces.id(text));
        let end_of_generation = known.filter(|id| pieces.is_special(*id)).collect();
        Tokenizer { inner, pieces, prefix, suffix, bos: None, eos: None, end_of_generation, chat_template: None }
    }

    /// The ids of `text`; special tokens written in it are recognised. With `add_special`, BOS and EOS are added as the
    /// model asks, even if the text begins with BOS already.
    ///
    /// # Errors
    /// Text above [`MAX_TEXT_BYTES`]; failures of the library.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TokenizerError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(TokenizerError::TextTooLong { bytes: text.len(), cap: MAX_TEXT_BYTES });
        }
        let encoding = self.inner.encode_fast(text, false).map_err(TokenizerError::Library)?;
        let (prefix, suffix) = if add_special { (&self.prefix[..], &self.suffix[..]) } else { (&[][..], &[][..]) };
        Ok([prefix, encoding.get_ids(), suffix].concat())
    }

    /// The text of `ids`, without special tokens if `skip_special`.
    ///
    /// Bytes that are no UTF-8 and ids that have no token become U+FFFD. SentencePiece's prefix space is taken off the
    /// front of the whole text, so decode a continuation with [`Tokenizer::stream`], not piece by piece.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let mut stream = self.stream(skip_special);
        let mut text: String = ids.iter().map(|id| stream.push(*id)).collect();
        text.push_str(&stream.finish());
        text
    }

    /// A decoder for ids that come one by one.
    pub fn stream(&self, skip_special: bool) -> StreamDecoder<'_> {
        StreamDecoder::new(&self.pieces, skip_special)
    }

    /// Highest id plus one. The model's logits may be more: embeddings are often padded.
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    /// The token as the vocabulary writes it (`Ġthe`, `▁the`, `<0x0A>`).
    pub fn token_text(&self, id: u32) -> Option<&str> {
        self.pieces.text(id)
    }

    /// The id of a token as the vocabulary writes it.
    pub fn token_id(&self, text: &str) -> Option<u32> {
        self.pieces.id(text)
    }

    /// Whether `id` is left out by `decode(.., true)`.
    pub fn is_special(&self, id: u32) -> bool {
        self.pieces.is_special(id)
    }

    /// Beginning of sequence.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// End of sequence.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether generation stops at `id`: EOS, end of turn or of message, or a special token known for that.
    pub fn is_end_of_generation(&self, id: u32) -> bool {
        self.end_of_generation.contains(&id)
    }

    /// Adds ids that end a generation, such as `eos_token_id` of a generation_config.json.
    ///
    /// # Errors
    /// An id outside the vocabulary.
    pub fn add_end_of_generation(&mut self, ids: &[u32]) -> Result<(), TokenizerError> {
        let vocab = self.vocab_size();
        if let Some(&id) = ids.iter().find(|id| **id as usize >= vocab) {
            return Err(TokenizerError::SpecialId { role: "end-of-generation id", id, vocab });
        }
        self.end_of_generation.extend(ids);
        Ok(())
    }

    /// The Jinja source of the chat template, for [`ChatTemplate`](crate::chat::ChatTemplate).
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }
}
