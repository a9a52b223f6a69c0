//! A tokenizer as GGUF (`tokenizer.ggml.*`) and `.apr` (`tokenizer.*`) metadata describe it.

use tokenizers::AddedToken;
use tokenizers::models::bpe::Merges;
use tokenizers::normalizers::{Prepend, Replace, Sequence};

use super::Tokenizer;
use super::error::TokenizerError;
use super::parts::{self, Entries, Parts};
use super::pieces::Style;
use super::pre::Pre;
use super::spm;

/// Which algorithm the vocabulary is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenizerKind {
    /// Byte-pair encoding over GPT-2's byte alphabet; `tokenizer.ggml.model` = `gpt2`.
    #[default]
    ByteLevelBpe,
    /// SentencePiece's BPE with scores and byte fallback; `tokenizer.ggml.model` = `llama`.
    SentencePieceBpe,
}

impl TokenizerKind {
    /// The kind that `tokenizer.ggml.model` names.
    pub fn from_ggml(model: &str) -> Option<TokenizerKind> {
        match model {
            "gpt2" => Some(TokenizerKind::ByteLevelBpe),
            "llama" => Some(TokenizerKind::SentencePieceBpe),
            _ => None,
        }
    }
}

/// The metadata, as read; [`Tokenizer::from_spec`] checks them. `Default` is the empty vocabulary, which is refused.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TokenizerSpec {
    /// `tokenizer.ggml.model`.
    pub kind: TokenizerKind,
    /// `tokenizer.ggml.pre`; of meaning to byte-level BPE only.
    pub pre: String,
    /// Texts by id.
    pub tokens: Vec<String>,
    /// `left right`, best first. For SentencePiece usually empty: the order then follows from the scores.
    pub merges: Vec<String>,
    /// One a token for SentencePiece (higher merges first); ignored for byte-level BPE.
    pub scores: Vec<f32>,
    /// GGUF's token types, one a token: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte, 0 not stated.
    /// If empty, all tokens are normal but those named below, which are control tokens.
    pub token_types: Vec<i32>,
    /// Beginning of sequence.
    pub bos: Option<u32>,
    /// End of sequence.
    pub eos: Option<u32>,
    /// End of turn.
    pub eot: Option<u32>,
    /// End of message.
    pub eom: Option<u32>,
    /// Unknown token.
    pub unk: Option<u32>,
    /// Whether to begin with BOS; if not stated, as the family does (SentencePiece, llama-bpe and tekken: yes).
    pub add_bos: Option<bool>,
    /// Whether to end with EOS; if not stated, no.
    pub add_eos: Option<bool>,
    /// SentencePiece: whether a space is put before the text (and after each special token); if not stated, yes.
    pub add_space_prefix: Option<bool>,
    /// Jinja source.
    pub chat_template: Option<String>,
}

const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

impl Tokenizer {
    /// Builds from GGUF or `.apr` metadata.
    ///
    /// Control and unknown tokens are recognised in text and are special; user-defined tokens are recognised and are
    /// not special; unused ones can be decoded but are never produced.
    ///
    /// # Errors
    /// Inconsistent metadata, or a `pre` whose rule is not known.
    pub fn from_spec(spec: &TokenizerSpec) -> Result<Tokenizer, TokenizerError> {
        spec.check()?;
        let types = spec.types();
        let (parts, family_adds_bos) = match spec.kind {
            TokenizerKind::ByteLevelBpe => {
                let pre = Pre::named(&spec.pre)?;
                (spec.byte_level(&types, pre)?, pre.add_bos)
            }
            TokenizerKind::SentencePieceBpe => (spec.sentence_piece(&types)?, true),
        };
        let (inner, mut pieces) = parts.assemble()?;
        for (id, _) in types.iter().enumerate().filter(|(_, kind)| **kind == UNUSED) {
            pieces.add_decodable(id, &spec.tokens[id]);
        }

        let need = |flag, role, id: Option<u32>| id.ok_or(TokenizerError::NoSpecial { flag, role });
        let prefix = match spec.add_bos {
            Some(true) => vec![need("add_bos_token", "bos_token_id", spec.bos)?],
            None if family_adds_bos => spec.bos.into_iter().collect(),
            _ => Vec::new(),
        };
        let suffix = match spec.add_eos {
            Some(true) => vec![need("add_eos_token", "eos_token_id", spec.eos)?],
            _ => Vec::new(),
        };
        let mut built = Tokenizer::new(inner, pieces, prefix, suffix);
        built.bos = spec.bos;
        built.eos = spec.eos;
        built.end_of_generation.extend([spec.eos, spec.eot, spec.eom].into_iter().flatten());
        built.chat_template.clone_from(&spec.chat_template);
        Ok(built)
    }
}

impl TokenizerSpec {
    /// Lengths, types and special ids; all that later steps index by.
    fn check(&self) -> Result<(), TokenizerError> {
        let tokens = self.tokens.len();
        parts::cap("tokens", tokens, parts::MAX_VOCAB)?;
        parts::cap("merges", self.merges.len(), parts::MAX_MERGES)?;
        if !self.token_types.is_empty() && self.token_types.len() != tokens {
            return Err(TokenizerError::Length { what: "token_type", got: self.token_types.len(), tokens });
        }
        if let Some(id) = self.token_types.iter().position(|kind| !(0..=BYTE).contains(kind)) {
            return Err(TokenizerError::TokenType { id, value: self.token_types[id] });
        }
        for (role, id) in self.special_ids() {
            if id as usize >= tokens {
                return Err(TokenizerError::SpecialId { role, id, vocab: tokens });
            }
        }
        Ok(())
    }

    fn special_ids(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let roles = [
            ("bos_token_id", self.bos),
            ("eos_token_id", self.eos),
            ("eot_token_id", self.eot),
            ("eom_token_id", self.eom),
            ("unknown_token_id", self.unk),
        ];
        roles.into_iter().filter_map(|(role, id)| Some((role, id?)))
    }

    fn types(&self) -> Vec<i32> {
        if !self.token_types.is_empty() {
            return self.token_types.clone();
        }
        let mut types = vec![1; self.tokens.len()];
        self.special_ids().for_each(|(_, id)| types[id as usize] = CONTROL);
        types
    }

    fn byte_level(&self, types: &[i32], pre: &Pre) -> Result<Parts, TokenizerError> {
        Ok(Parts {
            vocab: self.used(types),
            merges: self.given_merges()?,
            added: self.added(types)?,
            normalizer: pre.normalizer(),
            pre_tokenizer: Some(pre.pre_tokenizer()?),
            style: Style::ByteLevel,
            unk: None,
            fuse_unk: false,
            byte_fallback: false,
            ignore_merges: pre.ignore_merges,
        })
    }

    fn sentence_piece(&self, types: &[i32]) -> Result<Parts, TokenizerError> {
        let merges = match self.merges.is_empty() {
            true => {
                if self.scores.len() != self.tokens.len() {
                    let (got, tokens) = (self.scores.len(), self.tokens.len());
                    return Err(TokenizerError::Length { what: "scores", got, tokens });
                }
                // Control, unknown, user-defined and byte tokens come from the text or from fallback, never from merging.
                spm::merges_of_scores(&self.tokens, &self.scores, |id| types[id] <= 1)?
            }
            false => self.given_merges()?,
        };
        let space_prefix = self.add_space_prefix.unwrap_or(true);
        let mut steps = Vec::new();
        if space_prefix {
            steps.push(Prepend::new("\u{2581}".to_owned()).into());
        }
        steps.push(Replace::new(" ", "\u{2581}").map_err(TokenizerError::Library)?.into());
        Ok(Parts {
            vocab: self.used(types),
            merges,
            added: self.added(types)?,
            normalizer: Some(Sequence::new(steps).into()),
            pre_tokenizer: None,
            style: Style::SentencePiece { strip: usize::from(space_prefix) },
            unk: self.unk.map(|id| self.tokens[id as usize].clone()),
            fuse_unk: true,
            byte_fallback: true,
            ignore_merges: false,
        })
    }

    /// All tokens but the unused ones.
    fn used(&self, types: &[i32]) -> Entries {
        let all = self.tokens.iter().cloned().zip(0u32..);
        all.zip(types).filter(|(_, kind)| **kind != UNUSED).map(|(token, _)| token).collect()
    }

    /// Tokens to find in text as they stand, before any normalisation (as `normalized: false` in tokenizer.json).
    fn added(&self, types: &[i32]) -> Result<Vec<AddedToken>, TokenizerError> {
        let wanted = types.iter().filter(|kind| matches!(**kind, UNKNOWN | CONTROL | USER_DEFINED)).count();
        parts::cap("special and user-defined tokens", wanted, parts::MAX_ADDED)?;
        let with = |kind: i32, text: &String| match kind {
            UNKNOWN | CONTROL => Some(AddedToken::from(text.clone(), true)),
            USER_DEFINED => Some(AddedToken::from(text.clone(), false).normalized(false)),
            _ => None,
        };
        Ok(types.iter().zip(&self.tokens).filter_map(|(kind, text)| with(*kind, text)).collect())
    }

    fn given_merges(&self) -> Result<Merges, TokenizerError> {
        self.merges.iter().enumerate().map(|(index, merge)| split_merge(index, merge)).collect()
    }
}

/// `left right`: byte-level tokens hold no space, so there is exactly one.
pub(super) fn split_merge(index: usize, merge: &str) -> Result<(String, String), TokenizerError> {
    match merge.split_once(' ') {
        Some((left, right)) if !left.is_empty() && !right.is_empty() && !right.contains(' ') => {
            Ok((left.to_owned(), right.to_owned()))
        }
        _ => Err(TokenizerError::BadMerge { index, merge: merge.to_owned() }),
    }
}
