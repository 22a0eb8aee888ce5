//! `[log]`: records as JSON lines in a file.

use std::{path::PathBuf, time::Duration};

use toml::{Spanned, de::DeValue};

use super::{
    error::{Location, Problem},
    output::{Switch, read_kinds, read_path, read_size, read_switch},
    read::Reader,
};
use crate::{
    record::{Kind, Kinds},
    size,
};

const DEFAULT_PATH: &str = "/var/log/procwatch/procwatch.jsonl";
const KEYS: [&str; 7] = ["path", "kinds", "max-size", "max-age", "disk-limit", "compress", "sync"];
/// A file, bytes.
const SIZES: (u64, u64) = (64 << 10, 4 << 30);
/// All files together, bytes.
const LIMITS: (u64, u64) = (128 << 10, 1 << 40);
const AGES: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(49 * 24));
const SYNCS: [(&str, Sync); 3] = [("alert", Sync::Alert), ("always", Sync::Always), ("never", Sync::Never)];

/// Records as JSON lines in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The file that is written to.
    pub path: PathBuf,
    /// Which records.
    pub kinds: Kinds,
    /// A file that would become larger is put aside, bytes.
    pub max_size: u64,
    /// A file whose first line is older is put aside.
    pub max_age: Duration,
    /// All files together: the oldest go, bytes. At least twice `max_size`.
    pub disk_limit: u64,
    /// Whether files that were put aside are compressed (gzip).
    pub compress: bool,
    /// When it is waited until lines are on the disk.
    pub sync: Sync,
}

/// When it is waited until lines are on the disk, and not only with the kernel: what a death of the machine, not of the
/// agent, cannot take away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// After an alert or an action.
    #[default]
    Alert,
    /// After each batch of lines.
    Always,
    /// Whenever the kernel likes.
    Never,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from(DEFAULT_PATH),
            kinds: Kinds::own(),
            max_size: 32 << 20,
            max_age: Duration::from_hours(24),
            disk_limit: 256 << 20,
            compress: true,
            sync: Sync::default(),
        }
    }
}

/// What one file says of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLayer {
    path: Option<PathBuf>,
    kinds: Option<Kinds>,
    max_size: Option<u64>,
    max_age: Option<Duration>,
    disk_limit: Option<u64>,
    compress: Option<bool>,
    sync: Option<Sync>,
    /// Of its sizes.
    at: Location,
}

impl LogLayer {
    /// Lays it over what earlier files said.
    ///
    /// # Errors
    /// When the sizes that come of it contradict each other.
    pub(super) fn over(self, earlier: Option<LogConfig>) -> Result<LogConfig, Problem> {
        let earlier = earlier.unwrap_or_default();
        let log = LogConfig {
            path: self.path.unwrap_or(earlier.path),
            kinds: self.kinds.unwrap_or(earlier.kinds),
            max_size: self.max_size.unwrap_or(earlier.max_size),
            max_age: self.max_age.unwrap_or(earlier.max_age),
            disk_limit: self.disk_limit.unwrap_or(earlier.disk_limit),
            compress: self.compress.unwrap_or(earlier.compress),
            sync: self.sync.unwrap_or(earlier.sync),
        };
        if log.disk_limit >= 2 * log.max_size {
            return Ok(log);
        }
        let [limit, size, right] = [log.disk_limit, log.max_size, 2 * log.max_size].map(size::exact);
        let what = format!(
            "all files have {limit} and each may have {size}; right is a disk-limit of {right} or more, or a smaller \
             max-size"
        );
        Err(Problem { at: self.at, field: "log.disk-limit".to_owned(), what })
    }
}

pub(super) fn read_log(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<Switch<LogLayer>> {
    let at = value.span();
    read_switch(reader, value, "log", |reader, table| {
        reader.check_keys(table, "log.", &KEYS);
        let sizes = table.get("disk-limit").or_else(|| table.get("max-size")).map_or(at, Spanned::span);
        LogLayer {
            path: read_path(reader, table, "log", DEFAULT_PATH),
            kinds: table
                .get("kinds")
                .and_then(|value| read_kinds(reader, value, "log.kinds", &Kind::ALL, true)),
            max_size: table
                .get("max-size")
                .and_then(|value| read_size(reader, value, "log.max-size", SIZES, "32M")),
            max_age: table.get("max-age").and_then(|value| reader.time(value, "log.max-age", AGES, "1d")),
            disk_limit: table
                .get("disk-limit")
                .and_then(|value| read_size(reader, value, "log.disk-limit", LIMITS, "256M")),
            compress: table.get("compress").and_then(|value| reader.flag(value, "log.compress")),
            sync: table.get("sync").and_then(|value| reader.word(value, "log.sync", "policy", &SYNCS)),
            at: reader.at(&sizes),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Layer, SystemAccounts};
    use super::*;
    use std::path::Path;

    fn layer(text: &str) -> Result<Option<Switch<LogLayer>>, Vec<Problem>> {
        Layer::parse(Path::new("t.toml"), text, &SystemAccounts).map(|layer| layer.log)
    }

    /// The log after files with these texts.
    fn parse(texts: &[&str]) -> Result<Option<LogConfig>, Vec<String>> {
        let shown = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut log = None;
        for text in texts {
            log = match layer(text).map_err(shown)? {
                Some(Switch::On(layer)) => Some(layer.over(log).map_err(|problem| shown(vec![problem]))?),
                Some(Switch::Off) => None,
                None => log,
            };
        }
        Ok(log)
    }

    #[test]
    fn an_empty_table_switches_it_on_and_false_off() {
        assert_eq!(layer(""), Ok(None));
        assert_eq!(layer("log = false"), Ok(Some(Switch::Off)));
        assert_eq!(parse(&["[log]"]), Ok(Some(LogConfig::default())));
        assert_eq!(parse(&["[log]", "log = false"]), Ok(None));
    }

    #[test]
    fn all_can_be_said() {
        let text = "[log]\npath = '/srv/a.log'\nkinds = ['own', 'exec']\nmax-size = '1M'\nmax-age = '2h'\n\
                    disk-limit = '2M'\ncompress = false\nsync = 'never'";
        let expected = LogConfig {
            path: PathBuf::from("/srv/a.log"),
            kinds: Kinds::own().and([Kind::Exec].into_iter().collect()),
            max_size: 1 << 20,
            max_age: Duration::from_hours(2),
            disk_limit: 2 << 20,
            compress: false,
            sync: Sync::Never,
        };
        assert_eq!(parse(&[text]), Ok(Some(expected.clone())));
        // A later file changes what it names.
        let expected = LogConfig { sync: Sync::Always, ..expected };
        assert_eq!(parse(&[text, "[log]\nsync = 'always'"]), Ok(Some(expected)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_field() {
        for (text, message) in [
            (
                "log = true",
                "t.toml:1: log: is true or false; right is a table, begun by [log], or false for none",
            ),
            (
                "[log]\nfile = '/x'",
                "t.toml:2: log.file: unknown key (known: path, kinds, max-size, max-age, disk-limit, compress, sync)",
            ),
            (
                "[log]\npath = 'x.log'",
                "t.toml:2: log.path: \"x.log\" is no path of a file from the root on; right is e.g. \
                 \"/var/log/procwatch/procwatch.jsonl\"",
            ),
            (
                "[log]\npath = '/var/../x'",
                "t.toml:2: log.path: \"/var/../x\" is no path of a file from the root on; right is e.g. \
                 \"/var/log/procwatch/procwatch.jsonl\"",
            ),
            (
                "[log]\nkinds = ['alerts']",
                "t.toml:2: log.kinds[1]: unknown kind \"alerts\"; did you mean \"alert\"? (known: own, fork, thread, \
                 exec, exit, thread-exit, uid, cgroup, alert, cleared, refused, decision, outcome, hold, placement, \
                 action, diagnosis, loss, health, summary)",
            ),
            (
                "[log]\nmax-size = '32'",
                "t.toml:2: log.max-size: \"32\" is no size from 64K to 4G; right is e.g. \"32M\"",
            ),
            (
                "[log]\nmax-age = '1s'",
                "t.toml:2: log.max-age: \"1s\" is no time from 1m to 49d; right is e.g. \"1d\"",
            ),
            (
                "[log]\nmax-size = '200M'",
                "t.toml:2: log.disk-limit: all files have 256M and each may have 200M; right is a disk-limit of 400M or \
                 more, or a smaller max-size",
            ),
            (
                "[log]\nsync = 'allways'",
                "t.toml:2: log.sync: unknown policy \"allways\"; did you mean \"always\"? (known: alert, always, never)",
            ),
            ("[log]\ncompress = 1", "t.toml:2: log.compress: is a whole number; right is true or false"),
        ] {
            assert_eq!(parse(&[text]).unwrap_err(), [message], "{text}");
        }
        let error =
            parse(&["[log]\ndisk-limit = '10M'\nmax-size = '5M'", "\n[log]\nmax-size = '6M'"]).unwrap_err();
        assert!(
            error[0].starts_with("t.toml:3: log.disk-limit: all files have 10M and each may have 6M"),
            "{error:?}"
        );
    }
}
