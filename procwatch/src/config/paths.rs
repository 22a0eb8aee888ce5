//! Files of the agent's outputs: each has one of its own.

use std::{collections::BTreeMap, path::Path};

use toml::de::DeTable;

use super::{
    Config,
    error::{Location, Problem},
    metrics::Listen,
    read::Reader,
};

/// Table, key, and both as a field.
const FIELDS: [(&str, &str, &str); 4] = [
    ("socket", "path", "socket.path"),
    ("history", "path", "history.path"),
    ("log", "path", "log.path"),
    ("metrics", "listen", "metrics.listen"),
];

/// Where such a field is written, by its name.
pub(super) type Written = BTreeMap<&'static str, Location>;

pub(super) fn read_written(reader: &Reader<'_>, root: &DeTable<'_>) -> Written {
    let written = FIELDS.into_iter().filter_map(|(table, key, field)| {
        let value = root.get(table)?.get_ref().as_table()?.get(key)?;
        Some((field, reader.at(&value.span())))
    });
    written.collect()
}

/// Two outputs that would write to one file, or listen at one socket. Of two that are built in there are none.
pub(super) fn shared(config: &Config, written: &Written) -> Option<Problem> {
    let files = files(config);
    let mut pairs =
        files.iter().enumerate().flat_map(|(index, one)| files[..index].iter().map(move |two| (one, two)));
    let ((one, _), (two, path)) = pairs.find(|((_, one), (_, two))| one == two)?;
    let (at, field, other) = match (written.get(one), written.get(two)) {
        (Some(at), _) => (at, *one, *two),
        (None, Some(at)) => (at, *two, *one),
        (None, None) => return None,
    };
    let what = format!("{} is that of {other}, too; right is a path of its own", crate::text::shown(path));
    Some(Problem { at: at.clone(), field: field.to_owned(), what })
}

fn files(config: &Config) -> Vec<(&'static str, &Path)> {
    let listen = config.metrics.as_ref().and_then(|metrics| match &metrics.listen {
        Listen::Unix(path) => Some(path),
        Listen::Tcp(_) => None,
    });
    let all = [
        ("socket.path", config.socket.as_ref().map(|socket| &socket.path)),
        ("history.path", config.history.as_ref().map(|history| &history.path)),
        ("log.path", config.log.as_ref().map(|log| &log.path)),
        ("metrics.listen", listen),
    ];
    all.into_iter().filter_map(|(field, path)| Some((field, path?.as_path()))).collect()
}
