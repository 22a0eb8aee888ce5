//! The question before each termination.

use std::io::{self, BufRead as _, Write as _};

use crate::orphans::Finding;

/// Where the answers come from.
#[derive(Debug)]
pub(super) enum Answers {
    /// The command line has given all of them.
    All,
    /// The person at the terminal gives each.
    Asked,
    /// The person has closed the terminal's input: no, to all that is left.
    None,
}

impl Answers {
    pub(super) const fn all() -> Self {
        Self::All
    }

    pub(super) const fn asked() -> Self {
        Self::Asked
    }

    /// Whether to terminate this one. Only a clear yes is one.
    pub(super) fn terminate(&mut self, finding: &Finding) -> io::Result<bool> {
        match self {
            Self::All => Ok(true),
            Self::None => Ok(false),
            Self::Asked => {
                let facts = &finding.facts;
                let mut err = io::stderr().lock();
                write!(err, "terminate {} ({}, uid {})? [y/N] ", facts.pid, facts.comm, facts.uid)?;
                err.flush()?;
                let mut line = String::new();
                if io::stdin().lock().read_line(&mut line)? == 0 {
                    *self = Self::None;
                }
                Ok(is_yes(&line))
            }
        }
    }
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim(), "y" | "Y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(is_yes("y\n") && is_yes("yes\n"));
        for line in ["", "\n", "n\n", "yy\n", "yesterday\n"] {
            assert!(!is_yes(line), "{line:?}");
        }
    }
}
