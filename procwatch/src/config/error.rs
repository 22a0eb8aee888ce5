//! What is wrong with a configuration, and where.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::text::escape;

/// A line of a file, both as a person would look for them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The file as it was named.
    pub file: PathBuf,
    /// Its line, from 1; absent for what concerns the file whole.
    pub line: Option<usize>,
}

impl Location {
    /// A place that is the whole file.
    pub fn of_file(file: &Path) -> Self {
        Self { file: file.to_owned(), line: None }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(self.file.as_os_str().as_encoded_bytes()))?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// One thing that is wrong. Shown as one line, `FILE:LINE: FIELD: what is wrong; what would be right`, escaped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{at}: {}{}{what}", escape(field.as_bytes()), if field.is_empty() { "" } else { ": " })]
pub struct Problem {
    /// Where.
    pub at: Location,
    /// The field with its way down to it, e.g. `place[1].slice`, entries counted from 1; empty when there is none.
    pub field: String,
    /// What is wrong and what would be right. What it quotes is escaped already.
    pub what: String,
}

/// All that is wrong with a configuration: never empty.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigError {
    /// In the order of files and lines.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        Ok(())
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

/// Quotes foreign text, escaped and cut so that it does not drown the message.
pub(super) fn quote(text: &str) -> String {
    const MOST: usize = 60;
    let cut: String = text.chars().take(MOST).collect();
    let dots = if cut.len() < text.len() { "..." } else { "" };
    format!("\"{}{dots}\"", escape(cut.as_bytes()))
}
