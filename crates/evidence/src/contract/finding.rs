//! Something wrong in a file, and where.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::yaml::Place;

/// Characters of a line that are shown.
const EXCERPT: usize = 160;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The file is not valid.
    Error,
    /// The file is valid, and less than it could be.
    Warning,
}

/// Something wrong in a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// The rule, as `twinpath contract rules` lists it.
    pub rule: &'static str,
    /// How bad it is.
    pub level: Level,
    /// From 1.
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
    /// JSON pointer to the value.
    pub pointer: String,
    /// What is wrong and what to do.
    pub message: String,
    /// The line.
    pub excerpt: String,
}

impl Finding {
    /// A finding at a place of `text`.
    pub fn new(
        file: &Path,
        text: &str,
        rule: &'static str,
        level: Level,
        at: Place,
        pointer: &str,
        message: String,
    ) -> Finding {
        let line = text.lines().nth(at.line.saturating_sub(1) as usize).unwrap_or_default();
        Finding {
            file: file.to_owned(),
            rule,
            level,
            line: at.line.max(1),
            column: at.column.max(1),
            pointer: pointer.to_owned(),
            message,
            excerpt: line.chars().take(EXCERPT).collect(),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        write!(f, "{}:{}:{}: {level}: {}: {}", self.file.display(), self.line, self.column, self.rule, self.message)?;
        if !self.excerpt.trim().is_empty() {
            let margin = self.column.saturating_sub(1).min(EXCERPT as u64) as usize;
            write!(f, "\n    | {}\n    | {}^", self.excerpt, " ".repeat(margin))?;
        }
        Ok(())
    }
}
