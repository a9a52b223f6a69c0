//! The ways a vocabulary can lie.

/// Why a tokenizer cannot be built, or a text not encoded.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The pre-tokenizer's name is not one whose splitting rule is known here.
    #[error(
        "pre-tokenizer `{name}` is not known; known are {known}. Guessing would give wrong ids without a word: supply token ids instead"
    )]
    UnknownPre {
        /// As `tokenizer.ggml.pre` gives it.
        name: String,
        /// All known names.
        known: String,
    },
    /// A part of tokenizer.json that this adapter does not do.
    #[error("{what} `{name}` is not supported; supported are {known}")]
    Unsupported {
        /// Which part of the file.
        what: &'static str,
        /// What the file asks for.
        name: String,
        /// What would do.
        known: String,
    },
    /// More of something than any real vocabulary has.
    #[error("{what}: {count} is above the cap of {cap}; the file is damaged or no tokenizer")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much the file claims.
        count: usize,
        /// The cap.
        cap: usize,
    },
    /// There are no tokens.
    #[error("the vocabulary is empty; the file holds no tokenizer")]
    Empty,
    /// Two lists that go together differ in length.
    #[error("{what} has {got} entries for {tokens} tokens; the metadata is damaged")]
    Length {
        /// The list that goes with the tokens.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The number of tokens.
        tokens: usize,
    },
    /// One text, two ids.
    #[error("token {token:?} has both the id {first} and the id {second}")]
    DuplicateToken {
        /// The text.
        token: String,
        /// The smaller place.
        first: u32,
        /// The other.
        second: u32,
    },
    /// One id, two texts.
    #[error("id {id} belongs to both {first:?} and {second:?}")]
    DuplicateId {
        /// The id.
        id: u32,
        /// The first text.
        first: String,
        /// The second.
        second: String,
    },
    /// A token type that GGUF does not define.
    #[error("token {id} has the type {value}; GGUF defines 0 to 6")]
    TokenType {
        /// The token.
        id: usize,
        /// Its stated type.
        value: i32,
    },
    /// A merge is not two tokens.
    #[error("merge {index} is {merge:?}, which is not two tokens separated by one space")]
    BadMerge {
        /// Its rank.
        index: usize,
        /// Its text.
        merge: String,
    },
    /// A merge speaks of a token that there is not.
    #[error("merge {index} ({left:?} + {right:?}) needs the token {missing:?}, which is not in the vocabulary")]
    MergeUnknown {
        /// Its rank.
        index: usize,
        /// Left part.
        left: String,
        /// Right part.
        right: String,
        /// The part or the product that is missing.
        missing: String,
    },
    /// A merge is listed twice, with two ranks.
    #[error("merge {index} ({left:?} + {right:?}) is listed before, at {first}")]
    DuplicateMerge {
        /// Its second rank.
        index: usize,
        /// Its first rank.
        first: usize,
        /// Left part.
        left: String,
        /// Right part.
        right: String,
    },
    /// A score orders nothing.
    #[error("token {id} has the score {score}, which has no rank")]
    Score {
        /// The token.
        id: usize,
        /// NaN.
        score: f32,
    },
    /// A special token's id is outside the vocabulary.
    #[error("{role} is {id}, outside the vocabulary of {vocab}")]
    SpecialId {
        /// Which special token.
        role: &'static str,
        /// The stated id.
        id: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// A special token's text is not in the vocabulary.
    #[error("{role} is {token:?}, which is not in the vocabulary")]
    SpecialText {
        /// Which special token.
        role: &'static str,
        /// The stated text.
        token: String,
    },
    /// The metadata ask for a special token that they do not name.
    #[error("{flag} is true, but there is no {role}")]
    NoSpecial {
        /// The flag.
        flag: &'static str,
        /// The token it needs.
        role: &'static str,
    },
    /// A byte that text can contain has no token: it would vanish from the ids.
    #[error("the vocabulary has no token for byte {byte:#04x} and no unknown token: text would lose characters")]
    MissingByte {
        /// The byte.
        byte: u8,
    },
    /// Not JSON, or not of the layout of a tokenizer file.
    #[error("{file}: {source}")]
    Json {
        /// tokenizer.json or tokenizer_config.json.
        file: &'static str,
        /// With line and column.
        source: serde_json::Error,
    },
    /// The text is longer than a prompt can be.
    #[error("the text has {bytes} bytes, above the cap of {cap}; encode it in parts")]
    TextTooLong {
        /// Its length.
        bytes: usize,
        /// The cap.
        cap: usize,
    },
    /// The tokenizers library refuses.
    #[error("tokenizers library: {0}")]
    Library(#[source] tokenizers::Error),
}
