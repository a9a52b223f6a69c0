//! From checked parts to the library's tokenizer: the one place that both kinds of input go through.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::{AddedToken, NormalizerWrapper, PreTokenizerWrapper};

use super::error::TokenizerError;
use super::pieces::{Pieces, Style, byte_chars};

/// No published vocabulary has more than 262144 tokens.
pub(super) const MAX_VOCAB: usize = 1 << 20;
/// No published vocabulary has more than 2 merges a token; splits of SentencePiece tokens stay below 8.
pub(super) const MAX_MERGES: usize = 1 << 23;
/// Longest token in bytes; published vocabularies stay below 1024.
pub(super) const MAX_TOKEN_BYTES: usize = 4096;
/// Most special and user-defined tokens: the library searches for all of them in every text.
pub(super) const MAX_ADDED: usize = 1 << 16;

/// Token texts with their ids.
pub(super) type Entries = Vec<(String, u32)>;

/// What a tokenizer is made of.
pub(super) struct Parts {
    /// Texts and ids, ids unique, holes allowed.
    pub(super) vocab: Entries,
    /// Left and right parts, best first.
    pub(super) merges: Merges,
    /// Tokens recognised in the text before all else; their texts are in `vocab`.
    pub(super) added: Vec<AddedToken>,
    /// Before splitting.
    pub(super) normalizer: Option<NormalizerWrapper>,
    /// Splitting into words.
    pub(super) pre_tokenizer: Option<PreTokenizerWrapper>,
    /// What the token texts mean in bytes.
    pub(super) style: Style,
    /// For what has no token.
    pub(super) unk: Option<String>,
    /// Whether unknown characters in a row are one unknown token.
    pub(super) fuse_unk: bool,
    /// Whether unknown characters are spelt in `<0xNN>` tokens.
    pub(super) byte_fallback: bool,
    /// Whether a word that is a token is taken whole.
    pub(super) ignore_merges: bool,
}

impl Parts {
    /// Checks that the parts fit together, and builds.
    pub(super) fn assemble(self) -> Result<(tokenizers::Tokenizer, Pieces), TokenizerError> {
        let ids = index_of_tokens(&self.vocab)?;
        check_merges(&self.merges, &ids)?;
        self.check_coverage(&ids)?;
        let pieces = Pieces::new(&self.vocab, &self.added, self.style);

        let mut model = BPE::builder()
            .byte_fallback(self.byte_fallback)
            .fuse_unk(self.fuse_unk)
            .ignore_merges(self.ignore_merges)
            .vocab_and_merges(self.vocab.into_iter().collect::<Vocab>(), self.merges);
        if let Some(unk) = self.unk {
            model = model.unk_token(unk);
        }
        let mut inner = tokenizers::Tokenizer::new(model.build().map_err(TokenizerError::Library)?);
        inner.with_normalizer(self.normalizer).map_err(TokenizerError::Library)?;
        inner.with_pre_tokenizer(self.pre_tokenizer);
        inner.add_tokens(self.added).map_err(TokenizerError::Library)?;
        Ok((inner, pieces))
    }

    /// The library drops a character that it can neither spell nor call unknown; such a vocabulary is refused.
    fn check_coverage(&self, ids: &HashMap<&str, u32>) -> Result<(), TokenizerError> {
        if let Some(unk) = &self.unk {
            return match ids.contains_key(unk.as_str()) {
                true => Ok(()),
                false => Err(TokenizerError::SpecialText { role: "unk_token", token: unk.clone() }),
            };
        }
        let alphabet = byte_chars();
        // The other byte values never occur in UTF-8.
        let in_utf8 = (0..=0xF4u8).filter(|b| !matches!(b, 0xC0 | 0xC1));
        for byte in in_utf8 {
            let token = match self.style {
                Style::ByteLevel => String::from(alphabet[usize::from(byte)]),
                Style::SentencePiece { .. } => format!("<0x{byte:02X}>"),
            };
            if !ids.contains_key(token.as_str()) {
                return Err(TokenizerError::MissingByte { byte });
            }
        }
        Ok(())
    }
}

/// Refuses `count` of `what` above `cap`.
pub(super) fn cap(what: &'static str, count: usize, cap: usize) -> Result<(), TokenizerError> {
    if count > cap { Err(TokenizerError::TooLarge { what, count, cap }) } else { Ok(()) }
}

/// Id by text, after checking that both are unique and that the sizes are those of a vocabulary.
fn index_of_tokens(vocab: &[(String, u32)]) -> Result<HashMap<&str, u32>, TokenizerError> {
    if vocab.is_empty() {
        return Err(TokenizerError::Empty);
    }
    cap("tokens", vocab.len(), MAX_VOCAB)?;
    let mut by_text: HashMap<&str, u32> = HashMap::with_capacity(vocab.len());
    let mut by_id: HashMap<u32, &str> = HashMap::with_capacity(vocab.len());
    for (token, id) in vocab {
        cap("bytes of a token", token.len(), MAX_TOKEN_BYTES)?;
        cap("token id", *id as usize, MAX_VOCAB)?;
        if let Some(first) = by_text.insert(token, *id) {
            return Err(TokenizerError::DuplicateToken { token: token.clone(), first, second: *id });
        }
        if let Some(first) = by_id.insert(*id, token) {
            return Err(TokenizerError::DuplicateId { id: *id, first: first.to_owned(), second: token.clone() });
        }
    }
    Ok(by_text)
}

/// Every merge must join two tokens into a token, once.
fn check_merges(merges: &Merges, ids: &HashMap<&str, u32>) -> Result<(), TokenizerError> {
    cap("merges", merges.len(), MAX_MERGES)?;
    let mut seen: HashMap<(u32, u32), usize> = HashMap::with_capacity(merges.len());
    for (index, (left, right)) in merges.iter().enumerate() {
        let product = format!("{left}{right}");
        let find = |text: &str| {
            ids.get(text).copied().ok_or_else(|| TokenizerError::MergeUnknown {
                index,
                left: left.clone(),
                right: right.clone(),
                missing: text.to_owned(),
            })
        };
        let pair = (find(left)?, find(right)?);
        find(&product)?;
        if let Some(first) = seen.insert(pair, index) {
            return Err(TokenizerError::DuplicateMerge { index, first, left: left.clone(), right: right.clone() });
        }
    }
    Ok(())
}
