//! One process that is open.

use super::{History, Row, Sample};
use crate::event::ProcessKey;

/// What was found out about the code that creates its threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Findings {
    /// Nobody looks: that needs root.
    NotAllowed,
    /// It is being looked at.
    Running,
    /// The answer's lines, escaped.
    Lines(Vec<String>),
    /// Why there is no answer, escaped.
    Failed(String),
}

/// The process, as it was seen last.
#[derive(Clone, Debug)]
pub struct Details {
    row: Row,
    has_ended: bool,
    history: History,
    findings: Findings,
}

impl Details {
    /// Opens a process.
    pub fn new(row: Row, findings: Findings) -> Self {
        let mut details = Self { row, has_ended: false, history: History::default(), findings };
        details.sample();
        details
    }

    /// The process' lasting name.
    pub const fn key(&self) -> ProcessKey {
        self.row.key()
    }

    /// As it was seen last.
    pub const fn row(&self) -> &Row {
        &self.row
    }

    /// Whether it is there no more.
    pub const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Its threads since it was opened.
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// What was found out.
    pub const fn findings(&self) -> &Findings {
        &self.findings
    }

    /// A new picture shows it so, or no more.
    pub(super) fn look(&mut self, row: Option<&Row>) {
        self.has_ended = row.is_none();
        if let Some(row) = row {
            self.row = row.clone();
            self.sample();
        }
    }

    pub(super) fn found(&mut self, findings: Findings) {
        self.findings = findings;
    }

    fn sample(&mut self) {
        let threads = u64::from(self.row.process.threads);
        self.history.push(Sample { threads, per_second: self.row.per_second });
    }
}
