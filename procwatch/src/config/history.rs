//! `[history]`: what happened, kept in a database.

use std::{path::PathBuf, time::Duration};

use toml::{Spanned, de::DeValue};

use super::{
    output::{Switch, read_kinds, read_path, read_size, read_switch},
    read::Reader,
};
use crate::record::{Kind, Kinds};

const DEFAULT_PATH: &str = "/var/lib/procwatch/history.db";
const KEYS: [&str; 4] = ["path", "keep", "max-size", "events"];
const KEEPS: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(49 * 24));
/// A smaller database would be nothing but its tables.
const SIZES: (u64, u64) = (256 << 10, 64 << 30);

/// What happened, kept in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryConfig {
    /// The database's file.
    pub path: PathBuf,
    /// What is older goes.
    pub keep: Duration,
    /// The oldest goes so that the file does not become larger, bytes.
    pub max_size: u64,
    /// Events of the stream that are kept, besides what the agent tells by itself.
    pub events: Kinds,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from(DEFAULT_PATH),
            keep: Duration::from_hours(24),
            max_size: 64 << 20,
            events: Kinds::NONE,
        }
    }
}

/// What one file says of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryLayer {
    path: Option<PathBuf>,
    keep: Option<Duration>,
    max_size: Option<u64>,
    events: Option<Kinds>,
}

impl HistoryLayer {
    /// Lays it over what earlier files said.
    pub(super) fn over(self, earlier: Option<HistoryConfig>) -> HistoryConfig {
        let earlier = earlier.unwrap_or_default();
        HistoryConfig {
            path: self.path.unwrap_or(earlier.path),
            keep: self.keep.unwrap_or(earlier.keep),
            max_size: self.max_size.unwrap_or(earlier.max_size),
            events: self.events.unwrap_or(earlier.events),
        }
    }
}

pub(super) fn read_history(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
) -> Option<Switch<HistoryLayer>> {
    let stream: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.stream().is_some()).collect();
    read_switch(reader, value, "history", |reader, table| {
        reader.check_keys(table, "history.", &KEYS);
        HistoryLayer {
            path: read_path(reader, table, "history", DEFAULT_PATH),
            keep: table.get("keep").and_then(|value| reader.time(value, "history.keep", KEEPS, "24h")),
            max_size: table
                .get("max-size")
                .and_then(|value| read_size(reader, value, "history.max-size", SIZES, "64M")),
            events: table
                .get("events")
                .and_then(|value| read_kinds(reader, value, "history.events", &stream, false)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Layer, SystemAccounts};
    use super::*;
    use std::path::Path;

    fn parse(text: &str) -> Result<Option<Switch<HistoryLayer>>, Vec<String>> {
        let shown = |problems: Vec<super::super::Problem>| problems.iter().map(ToString::to_string).collect();
        Layer::parse(Path::new("t.toml"), text, &SystemAccounts).map(|layer| layer.history).map_err(shown)
    }

    fn on(text: &str, earlier: Option<HistoryConfig>) -> HistoryConfig {
        let Ok(Some(Switch::On(layer))) = parse(text) else { panic!("{text}") };
        layer.over(earlier)
    }

    #[test]
    fn all_can_be_said() {
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse("history = false"), Ok(Some(Switch::Off)));
        assert_eq!(on("[history]", None), HistoryConfig::default());
        let text =
            "[history]\npath = '/srv/h.db'\nkeep = '7d'\nmax-size = '1G'\nevents = ['exec', 'thread-exit']";
        let expected = HistoryConfig {
            path: PathBuf::from("/srv/h.db"),
            keep: Duration::from_hours(168),
            max_size: 1 << 30,
            events: [Kind::Exec, Kind::ThreadExit].into_iter().collect(),
        };
        assert_eq!(on(text, None), expected);
        // A later file changes what it names.
        let later = HistoryConfig { keep: Duration::from_hours(1), ..expected.clone() };
        assert_eq!(on("[history]\nkeep = '1h'", Some(expected)), later);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_field() {
        for (text, message) in [
            (
                "history = 'no'",
                "t.toml:1: history: is a text; right is a table, begun by [history], or false for none",
            ),
            (
                "[history]\nkept = '1d'",
                "t.toml:2: history.kept: unknown key; did you mean \"keep\"? (known: path, keep, max-size, events)",
            ),
            (
                "[history]\npath = '/srv/'",
                "t.toml:2: history.path: \"/srv/\" is no path of a file from the root on; right is e.g. \
                 \"/var/lib/procwatch/history.db\"",
            ),
            (
                "[history]\nkeep = 24",
                "t.toml:2: history.keep: is a whole number; right is a text, e.g. \"24h\"",
            ),
            (
                "[history]\nmax-size = '1K'",
                "t.toml:2: history.max-size: \"1K\" is no size from 256K to 64G; right is e.g. \"64M\"",
            ),
            (
                "[history]\nevents = ['alert']",
                "t.toml:2: history.events[1]: unknown kind \"alert\" (known: fork, thread, exec, exit, thread-exit, uid, \
                 cgroup)",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), [message], "{text}");
        }
    }
}
