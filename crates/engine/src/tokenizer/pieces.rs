//! Which bytes each token stands for, and the decoding of ids one by one.

use std::collections::HashSet;
use std::sync::LazyLock;

use tokenizers::AddedToken;

/// How a vocabulary writes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// One printable character for each byte (GPT-2's alphabet).
    ByteLevel,
    /// U+2581 for a space, `<0xNN>` for a byte.
    SentencePiece {
        /// How many leading spaces of the whole text are the tokenizer's own and not the text's.
        strip: usize,
    },
}

impl Style {
    /// The bytes of text that a token stands for.
    fn bytes(self, token: &str) -> Vec<u8> {
        match self {
            Style::ByteLevel => byte_level(token),
            Style::SentencePiece { .. } => sentence_piece(token),
        }
    }
}

/// A token as bytes of text.
#[derive(Debug)]
struct Piece {
    text: String,
    bytes: Vec<u8>,
    special: bool,
}

/// All tokens by id.
#[derive(Debug)]
pub(super) struct Pieces {
    by_id: Vec<Option<Piece>>,
    style: Style,
}

impl Pieces {
    /// `vocab` has been checked: ids are unique and small.
    pub(super) fn new(vocab: &[(String, u32)], added: &[AddedToken], style: Style) -> Pieces {
        let size = vocab.iter().map(|(_, id)| *id as usize + 1).max().unwrap_or(0);
        let special: HashSet<&str> = added.iter().filter(|t| t.special).map(|t| t.content.as_str()).collect();
        let mut by_id: Vec<Option<Piece>> = Vec::new();
        by_id.resize_with(size, || None);
        for (text, id) in vocab {
            let (bytes, special) = (style.bytes(text), special.contains(text.as_str()));
            by_id[*id as usize] = Some(Piece { text: text.clone(), bytes, special });
        }
        Pieces { by_id, style }
    }

    /// Gives the hole at `id` a text, so that it can be decoded though it is never produced.
    pub(super) fn add_decodable(&mut self, id: usize, text: &str) {
        if self.by_id.len() <= id {
            self.by_id.resize_with(id + 1, || None);
        }
        self.by_id[id] = Some(Piece { text: text.to_owned(), bytes: self.style.bytes(text), special: false });
    }

    /// Highest id plus one.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The token's text as the vocabulary writes it.
    pub(super) fn text(&self, id: u32) -> Option<&str> {
        self.by_id.get(id as usize)?.as_ref().map(|piece| piece.text.as_str())
    }

    /// The id of a text.
    pub(super) fn id(&self, text: &str) -> Option<u32> {
        let found = self.by_id.iter().position(|p| p.as_ref().is_some_and(|p| p.text == text))?;
        u32::try_from(found).ok()
    }

    /// Whether the token is left out of plain text.
    pub(super) fn is_special(&self, id: u32) -> bool {
        self.by_id.get(id as usize).and_then(Option::as_ref).is_some_and(|piece| piece.special)
    }
}

/// Decodes ids as they come; what has been emitted is never half a character and never taken back.
///
/// The pieces concatenate to [`Tokenizer::decode`](super::Tokenizer::decode) of all ids, which is this decoder run to
/// its end.
#[derive(Debug, Clone)]
pub struct StreamDecoder<'t> {
    pieces: &'t Pieces,
    skip_special: bool,
    strip: usize,
    pending: Vec<u8>,
}

impl<'t> StreamDecoder<'t> {
    pub(super) fn new(pieces: &'t Pieces, skip_special: bool) -> StreamDecoder<'t> {
        let strip = match pieces.style {
            Style::ByteLevel => 0,
            Style::SentencePiece { strip } => strip,
        };
        StreamDecoder { pieces, skip_special, strip, pending: Vec::new() }
    }

    /// The text that `id` completes; empty while a character is unfinished. An id without a token gives U+FFFD.
    pub fn push(&mut self, id: u32) -> String {
        let unknown = "\u{FFFD}".as_bytes();
        let piece = self.pieces.by_id.get(id as usize).and_then(Option::as_ref);
        if piece.is_some_and(|piece| piece.special && self.skip_special) {
            return String::new();
        }
        for &byte in piece.map_or(unknown, |piece| piece.bytes.as_slice()) {
            if self.strip > 0 && byte == b' ' {
                self.strip -= 1;
            } else {
                self.strip = 0;
                self.pending.push(byte);
            }
        }
        self.drain()
    }

    /// What is left at the end: U+FFFD for a character that was never finished.
    pub fn finish(mut self) -> String {
        let rest = self.pending.len();
        self.pending.clear();
        self.replacement(rest)
    }

    /// Takes all whole characters out of `pending`; impossible bytes become U+FFFD.
    fn drain(&mut self) -> String {
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(valid) => {
                    text.push_str(valid);
                    self.pending.clear();
                    return text;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    text.push_str(&String::from_utf8_lossy(&self.pending[..valid]));
                    let bad = error.error_len();
                    self.pending.drain(..valid + bad.unwrap_or(0));
                    match bad {
                        Some(bytes) => text.push_str(&self.replacement(bytes)),
                        None => return text,
                    }
                }
            }
        }
    }

    /// Byte-level vocabularies mark a broken sequence once (as `String::from_utf8_lossy`), SentencePiece every byte.
    fn replacement(&self, bytes: usize) -> String {
        match self.pieces.style {
            Style::ByteLevel => "\u{FFFD}".repeat(bytes.min(1)),
            Style::SentencePiece { .. } => "\u{FFFD}".repeat(bytes),
        }
    }
}

/// GPT-2's alphabet: printable Latin-1 bytes stand for themselves, the others take U+0100 and on, in order.
pub(super) fn byte_chars() -> [char; 256] {
    let mut next = 0x100u32;
    std::array::from_fn(|byte| {
        let itself = matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
        let code = if itself { byte as u32 } else { next };
        next += u32::from(!itself);
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
    })
}

/// The alphabet inverted: byte by code point, all below U+0144.
static BYTE_OF_CHAR: LazyLock<[Option<u8>; 0x144]> = LazyLock::new(|| {
    let mut bytes = [None; 0x144];
    for (byte, c) in byte_chars().into_iter().enumerate() {
        bytes[c as usize] = u8::try_from(byte).ok();
    }
    bytes
});

/// A token with a character outside the alphabet (an added token such as `<a b>`) stands for its own text.
fn byte_level(token: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = token.chars().map(|c| BYTE_OF_CHAR.get(c as usize).copied().flatten()).collect();
    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
}

fn sentence_piece(token: &str) -> Vec<u8> {
    let hex = token.strip_prefix("<0x").and_then(|t| t.strip_suffix('>')).filter(|hex| hex.len() == 2);
    match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
        Some(byte) => vec![byte],
        None => token.replace('\u{2581}', " ").into_bytes(),
    }
}
