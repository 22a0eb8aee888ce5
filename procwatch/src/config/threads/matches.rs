//! The match keys of a rule: which processes it speaks of.

use std::fmt::Write as _;

use toml::{Spanned, de::DeValue};

use super::{
    super::{
        Accounts, Match,
        error::quote,
        names::{read_comm, read_path_pattern, read_pattern},
        owner,
        read::Reader,
    },
    Entry,
};
use crate::text::escape;

/// Most values of one key.
const MOST: usize = 64;
/// Most values of one key that a rule in words shows.
const SHOWN: usize = 3;

/// Reads them. Also returns the rule in words, escaped: `threads[1] user=aimgr comm=python3|python`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    entry: &Entry<'_, '_>,
    accounts: &dyn Accounts,
) -> (Match, String) {
    if let (Some(_), Some((uid, _))) = (entry.get("user"), entry.get("uid")) {
        reader.bad(&uid.span(), &*entry.name, "has user and uid; give one of them");
    }
    let mut words = Words(entry.name.clone());
    let mut uids = words.read(reader, entry, "user", "\"aimgr\"", |reader, value, field| {
        let (uid, written) = owner::by_name(reader, value, field, "user", accounts)?;
        Some((uid, written.trim_start_matches("user=").to_owned()))
    });
    uids.extend(words.read(reader, entry, "uid", "1003", |reader, value, field| {
        let uid = reader.number(value, field, (0, owner::MAX_ID))?;
        Some((uid, uid.to_string()))
    }));
    let comms = words.read(reader, entry, "comm", "\"python3\"", |reader, value, field| {
        let comm = read_comm(reader, value, field)?;
        let written = shown(comm.as_bytes());
        Some((comm, written))
    });
    let mut patterns = |key, example: &str, read: ReadPattern| {
        let example = &format!("\"{example}\"");
        words.read(reader, entry, key, example, |reader, value, field| {
            let pattern = read(reader, value, field, example.trim_matches('"'))?;
            let written = shown(pattern.as_str().as_bytes());
            Some((pattern, written))
        })
    };
    let exes = patterns("exe", "/usr/bin/python3*", read_path_pattern);
    let argvs = patterns("argv", "*watch.py*", read_pattern);
    let cgroups = patterns("cgroup", "/user.slice/*", read_path_pattern);
    let units = patterns("unit", "backup-*.service", read_unit);
    (Match { uids, comms, exes, argvs, cgroups, units }, words.0)
}

/// Reads a pattern; the last one is an example of what would be right.
type ReadPattern = fn(&mut Reader<'_>, &Spanned<DeValue<'_>>, &str, &str) -> Option<glob::Pattern>;

fn read_unit(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    field: &str,
    example: &str,
) -> Option<glob::Pattern> {
    let pattern = read_pattern(reader, value, field, example)?;
    if !pattern.as_str().contains('/') {
        return Some(pattern);
    }
    let what = format!(
        "{} never fits, because a unit is one part of the path of a cgroup; right is e.g. {}, or cgroup = {}",
        quote(pattern.as_str()),
        quote(example),
        quote(pattern.as_str())
    );
    reader.bad(&value.span(), field, what);
    None
}

/// A rule in words, as far as it was read.
struct Words(String);

impl Words {
    /// Reads one value of a key, or a list of them. `read` returns a value and how it is shown.
    fn read<T>(
        &mut self,
        reader: &mut Reader<'_>,
        entry: &Entry<'_, '_>,
        key: &str,
        example: &str,
        read: impl Fn(&mut Reader<'_>, &Spanned<DeValue<'_>>, &str) -> Option<(T, String)>,
    ) -> Vec<T> {
        let Some((value, field)) = entry.get(key) else {
            return Vec::new();
        };
        let values = reader.one_or_list(value, &field, MOST, example);
        let (values, written): (Vec<T>, Vec<String>) =
            values.into_iter().filter_map(|(field, value)| read(reader, value, &field)).unzip();
        let more = if written.len() > SHOWN { "|…" } else { "" };
        let shown = &written[..written.len().min(SHOWN)];
        // Writing to a text does not fail.
        let _ = write!(self.0, " {key}={}{more}", shown.join("|"));
        values
    }
}

/// Escaped, and quoted where a space would tear it apart.
fn shown(text: &[u8]) -> String {
    let text = escape(text);
    if text.contains(' ') { format!("\"{text}\"") } else { text.into_owned() }
}
