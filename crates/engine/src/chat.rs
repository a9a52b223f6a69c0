//! Chat templates: a conversation to the text that the model was trained on.
//!
//! Templates are written for Hugging Face's Jinja: blocks are trimmed, Python's string methods work, `raise_exception`,
//! `tojson` and `{% generation %}` exist, and undefined values are false and print as nothing (templates test for
//! `tools` and the like without asking whether they are defined; an attribute *of* an undefined value is an error).

use std::fmt::Write as _;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, context};
use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, PrettyFormatter};

/// Longest template source in bytes; published ones stay below 32 KiB.
pub const MAX_TEMPLATE_BYTES: usize = 1 << 20;
/// Most steps of a rendering, so that a hostile template ends.
const MAX_STEPS: u64 = 10_000_000;
const NAME: &str = "chat_template";

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`, usually.
    pub role: String,
    /// Its text.
    pub content: String,
}

impl Message {
    /// A turn of `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Message {
        Message { role: role.into(), content: content.into() }
    }

    fn value(&self) -> Value {
        Value::from_pairs([("role", self.role.as_str()), ("content", self.content.as_str())])
    }
}

/// A calendar day, for templates that print today's. Never read from a clock here: the same input gives the same text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Such as 2024.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

/// What a template may ask for besides the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChatOptions<'a> {
    /// Whether to end with the beginning of the assistant's turn.
    pub add_generation_prompt: bool,
    /// Text of the BOS token.
    pub bos_token: Option<&'a str>,
    /// Text of the EOS token.
    pub eos_token: Option<&'a str>,
    /// For `strftime_now`. Without it that function is undefined, and most templates fall back on a fixed date.
    pub today: Option<Date>,
}

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The source is longer than any template.
    #[error("the chat template has {bytes} bytes, above the cap of {cap}; the file is damaged")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The cap.
        cap: usize,
    },
    /// It does not parse, fails, or refuses the conversation.
    #[error("chat template, line {line}: {what}")]
    Template {
        /// Line of the source, from 1; 0 if not known.
        line: usize,
        /// What is wrong; for `raise_exception`, the template's own words.
        what: String,
        /// The Jinja error.
        #[source]
        source: Box<Error>,
    },
}

impl From<Error> for ChatError {
    fn from(source: Error) -> ChatError {
        let what = match source.detail() {
            Some(detail) if source.kind() == ErrorKind::InvalidOperation => detail.to_owned(),
            Some(detail) => format!("{}: {detail}", source.kind()),
            None => source.kind().to_string(),
        };
        ChatError::Template { line: source.line().unwrap_or(0), what, source: Box::new(source) }
    }
}

/// A parsed chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
}

impl ChatTemplate {
    /// Parses `source`.
    ///
    /// # Errors
    /// Source above [`MAX_TEMPLATE_BYTES`], or a syntax error with its line.
    pub fn new(source: &str) -> Result<ChatTemplate, ChatError> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(ChatError::TooLong { bytes: source.len(), cap: MAX_TEMPLATE_BYTES });
        }
        let mut environment = Environment::new();
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_fuel(Some(MAX_STEPS));
        environment.add_function("raise_exception", raise_exception);
        environment.add_filter("tojson", to_json);
        environment.add_template_owned(NAME, without_generation_tags(source))?;
        Ok(ChatTemplate { environment })
    }

    /// The text of a conversation.
    ///
    /// # Errors
    /// What the template raises or does wrong, with its line.
    pub fn render(&self, messages: &[Message], options: &ChatOptions<'_>) -> Result<String, ChatError> {
        let today = options.today;
        let now = today.map(|date| Value::from_function(move |format: &str| date.format(format)));
        let text = self.environment.get_template(NAME)?.render(context! {
            messages => messages.iter().map(Message::value).collect::<Vec<Value>>(),
            add_generation_prompt => options.add_generation_prompt,
            bos_token => options.bos_token.map_or(Value::UNDEFINED, Value::from),
            eos_token => options.eos_token.map_or(Value::UNDEFINED, Value::from),
            tools => (),
            documents => (),
            strftime_now => now.unwrap_or(Value::UNDEFINED),
        })?;
        Ok(text)
    }
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// `{% generation %}` only marks the assistant's tokens for training. It becomes a block that is always taken, which
/// keeps the white-space control of its tags.
fn without_generation_tags(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        let inner = tag.find("%}").map_or("", |end| &tag[..end]);
        text.push_str(before);
        let name = inner.trim_matches(|c: char| c == '-' || c == '+' || c.is_whitespace());
        match name {
            "generation" => text.push_str(&inner.replace("generation", "if true")),
            "endgeneration" => text.push_str(&inner.replace("endgeneration", "endif")),
            _ => text.push_str(inner),
        }
        rest = &tag[inner.len()..];
    }
    text + rest
}

/// As Python's `json.dumps(value, ensure_ascii=False, indent=indent)`: a space after `:`, and after `,` on one line.
fn to_json(value: &Value, arguments: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = arguments.get("indent")?;
    let _: Option<bool> = arguments.get("ensure_ascii")?;
    arguments.assert_all_used()?;
    let invalid = |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
    let mut json = Vec::new();
    match indent {
        Some(indent) => {
            let spaces = vec![b' '; indent.min(64)];
            let formatter = PrettyFormatter::with_indent(&spaces);
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, formatter)).map_err(invalid)?;
        }
        None => {
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, OneLine)).map_err(invalid)?;
        }
    }
    Ok(Value::from(String::from_utf8_lossy(&json).into_owned()))
}

/// Python's separators.
struct OneLine;

impl Formatter for OneLine {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Date {
    /// The date codes of `strftime` that chat templates use.
    fn format(self, format: &str) -> Result<String, Error> {
        let invalid = |what: String| Error::new(ErrorKind::InvalidOperation, what);
        let month = MONTHS.get(usize::from(self.month).wrapping_sub(1));
        let month = month.ok_or_else(|| invalid(format!("strftime_now: there is no month {}", self.month)))?;
        let mut text = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            // Writing to a String cannot fail.
            let _ = match chars.next() {
                Some('Y') => write!(text, "{:04}", self.year),
                Some('y') => write!(text, "{:02}", self.year % 100),
                Some('m') => write!(text, "{:02}", self.month),
                Some('d') => write!(text, "{:02}", self.day),
                Some('B') => write!(text, "{month}"),
                Some('b') => write!(text, "{}", &month[..3]),
                Some('A') => write!(text, "{}", self.weekday()),
                Some('a') => write!(text, "{}", &self.weekday()[..3]),
                Some('%') => write!(text, "%"),
                other => {
                    let code = other.map_or_else(String::new, String::from);
                    return Err(invalid(format!("strftime_now: `%{code}` is not supported; a date has no time")));
                }
            };
        }
        Ok(text)
    }

    /// Sakamoto's method for the Gregorian calendar.
    fn weekday(self) -> &'static str {
        const SHIFT: [usize; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
        let month = usize::from(self.month).clamp(1, 12);
        // 400 more years change no weekday and keep January of year 0 above zero.
        let year = usize::from(self.year) + 400 - usize::from(month < 3);
        WEEKDAYS[(year + year / 4 - year / 100 + year / 400 + SHIFT[month - 1] + usize::from(self.day)) % 7]
    }
}
