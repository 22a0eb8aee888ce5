//! `[[outlet]]`: who is told of alerts, and how.

mod kinds;
mod read;

use std::{fmt, path::PathBuf, time::Duration};

use super::{Location, Problem};
use crate::record::Severity;

pub(super) use read::read_outlets;

/// Kinds of records that may be told: those that the agent makes by itself.
pub const KINDS: [&str; 11] = [
    "alert",
    "cleared",
    "refused",
    "decision",
    "outcome",
    "hold",
    "action",
    "diagnosis",
    "placement",
    "loss",
    "health",
];

/// What is told when nothing is said.
const DEFAULT_KINDS: [&str; 4] = ["alert", "action", "loss", "health"];

/// Most outlets of all files together: each has a thread of its own.
const MAX_OUTLETS: usize = 16;

/// Where the mail program of a machine is.
const SENDMAIL: &str = "/usr/sbin/sendmail";

/// Who runs commands unless it is said.
const NOBODY: &str = "nobody";

/// An outlet, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutletRule {
    /// All that it is: two rules with the same in it are the same outlet.
    pub outlet: OutletConfig,
    /// The entry in words: `outlet[1] ops`, counted from 1 in its file.
    pub described: String,
    /// Where it is written.
    pub location: Location,
}

/// Who is told of which records, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutletConfig {
    /// Its name: lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// How it is told.
    pub kind: OutletKind,
    /// What it is told.
    pub wants: Wants,
    /// How often.
    pub at_most: Rate,
    /// How often a message is tried again before it is given up.
    pub retries: u32,
    /// How long one try may take.
    pub timeout: Duration,
}

/// Which records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Of these kinds, a part of [`KINDS`].
    pub kinds: Vec<&'static str>,
    /// This grave at least.
    pub severity: Severity,
    /// About processes of these uids; of all when there are none. Records about no process are not concerned.
    pub uids: Vec<u32>,
}

/// At most so many messages in any span of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages, at least 1.
    pub count: u32,
    /// The span.
    pub within: Duration,
}

/// How it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutletKind {
    /// A POST to a web server.
    Webhook(Webhook),
    /// A mail through the machine's mail program.
    Mail(Mail),
    /// A program that reads the record from its standard input.
    Command(CommandLine),
    /// A message to all terminals.
    Wall,
}

impl OutletKind {
    /// Its name, as written.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Mail(_) => "mail",
            Self::Command(_) => "command",
            Self::Wall => "wall",
        }
    }
}

/// A web server that takes messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where.
    pub url: Url,
    /// What the message looks like.
    pub format: Format,
    /// Further headers: names and values that HTTP allows.
    pub headers: Vec<(String, Hidden)>,
    /// A file with the token for `Authorization: Bearer`.
    pub token_file: Option<PathBuf>,
    /// A file with the certificates that are trusted in place of the system's.
    pub ca_file: Option<PathBuf>,
}

/// The address of a web server. Its path may be the secret, as with Slack, so it is shown without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Url {
    /// As written.
    Plain {
        /// The whole.
        whole: Hidden,
        /// Scheme and host, to be shown.
        shown: String,
    },
    /// It stands alone in this file.
    File(PathBuf),
}

/// What a message looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The record.
    Json,
    /// `{"text": …}`, as Slack, Mattermost and others take it.
    Slack,
}

/// Who gets mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Whom it goes to; at least one.
    pub to: Vec<String>,
    /// Whom it comes from; the mail program says so when there is none.
    pub from: Option<String>,
    /// The mail program.
    pub sendmail: PathBuf,
    /// Who runs it.
    pub run_as: String,
}

/// A program that is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// Its absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Who runs it.
    pub run_as: String,
}

/// Text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Hides it.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for its use alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What is wrong with an outlet in the company of those that came before it.
pub(super) fn contradiction(rule: &OutletRule, earlier: &[OutletRule]) -> Option<Problem> {
    let (entry, name) = rule.described.split_once(' ').unwrap_or((&rule.described, ""));
    let problem = |field: String, what| Problem { at: rule.location.clone(), field, what };
    if let Some(other) = earlier.iter().find(|other| other.outlet.name == rule.outlet.name) {
        let what = format!("a second outlet {name:?}; the first is at {}, name them apart", other.location);
        return Some(problem(format!("{entry}.name"), what));
    }
    (earlier.len() >= MAX_OUTLETS).then(|| {
        let what = format!("is one more than the {MAX_OUTLETS} outlets that are possible; leave some out");
        problem(entry.to_owned(), what)
    })
}

#[cfg(test)]
mod tests;
