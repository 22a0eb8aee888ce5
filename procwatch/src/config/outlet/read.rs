//! What all outlets have.

use std::{ops::Range, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    super::{
        Accounts,
        error::quote,
        owner::{MAX_ID, by_name},
        read::Reader,
    },
    DEFAULT_KINDS, KINDS, OutletConfig, OutletRule, Rate, Wants, kinds,
};
use crate::{duration, record::Severity};

const DEFAULT_RATE: Rate = Rate { count: 10, within: Duration::from_mins(1) };
const DEFAULT_RETRIES: u32 = 10;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));
const MAX_RETRIES: u32 = 100;
const MAX_COUNT: u32 = 1000;
const WITHIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(24));
const MAX_NAME: usize = 32;
/// Most users of one outlet.
const MAX_USERS: usize = 64;

const SEVERITIES: [(&str, Severity); 4] = [
    ("notice", Severity::Notice),
    ("warning", Severity::Warning),
    ("critical", Severity::Critical),
    ("emergency", Severity::Emergency),
];

/// The keys that any outlet may have.
const KEYS: [&str; 9] = ["name", "kind", "on", "severity", "user", "uid", "at-most", "retries", "timeout"];

/// An entry of the file with its way down from the root.
pub(super) struct Entry<'t, 'i> {
    /// `outlet[1]`
    pub(super) name: String,
    pub(super) span: Range<usize>,
    pub(super) table: &'t DeTable<'i>,
}

impl<'t, 'i> Entry<'t, 'i> {
    /// What a key has, and the field's name.
    pub(super) fn get(&self, key: &str) -> Option<(&'t Spanned<DeValue<'i>>, String)> {
        Some((self.table.get(key)?, self.field(key)))
    }

    /// The name of a field.
    pub(super) fn field(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    /// Notes that a key is not there.
    pub(super) fn missing(&self, reader: &mut Reader<'_>, key: &str, example: &str) {
        reader.bad(&self.span, self.field(key), format!("missing; right is e.g. {key} = {example}"));
    }
}

/// The outlets of one file, in their order.
pub(in super::super) fn read_outlets(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    accounts: &dyn Accounts,
) -> Vec<OutletRule> {
    let tables = reader.tables(value, "outlet");
    let entries = tables.into_iter().zip(1..).map(|((span, table), number)| Entry {
        name: format!("outlet[{number}]"),
        span,
        table,
    });
    entries.filter_map(|entry| read_outlet(reader, &entry, accounts)).collect()
}

fn read_outlet(
    reader: &mut Reader<'_>,
    entry: &Entry<'_, '_>,
    accounts: &dyn Accounts,
) -> Option<OutletRule> {
    let known: Vec<&str> = KEYS.into_iter().chain(kinds::keys()).collect();
    reader.check_keys(entry.table, &entry.field(""), &known);
    let name = read_name(reader, entry);
    let wants = read_wants(reader, entry, accounts);
    let at_most =
        entry.get("at-most").map_or(Some(DEFAULT_RATE), |(value, field)| read_rate(reader, value, &field));
    let retries = entry
        .get("retries")
        .map_or(Some(DEFAULT_RETRIES), |(value, field)| reader.number(value, &field, (0, MAX_RETRIES)));
    let timeout = entry
        .get("timeout")
        .map_or(Some(DEFAULT_TIMEOUT), |(value, field)| reader.time(value, &field, TIMEOUT, "10s"));
    let kind = kinds::read(reader, entry, accounts);
    let name = name?;
    Some(OutletRule {
        described: format!("{} {name}", entry.name),
        location: reader.at(&entry.span),
        outlet: OutletConfig {
            name,
            kind: kind?,
            wants: wants?,
            at_most: at_most?,
            retries: retries?,
            timeout: timeout?,
        },
    })
}

fn read_name(reader: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Option<String> {
    let Some((value, field)) = entry.get("name") else {
        entry.missing(reader, "name", "\"ops\"");
        return None;
    };
    let text = reader.text(value, &field, "ops")?;
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_good) && !text.starts_with('-') {
        return Some(text.to_owned());
    }
    let what = format!(
        "{} is no name; right is e.g. \"ops\": 1 to {MAX_NAME} of a-z, 0-9, - and _, not - first",
        quote(text)
    );
    reader.bad(&value.span(), field, what);
    None
}

fn read_wants(reader: &mut Reader<'_>, entry: &Entry<'_, '_>, accounts: &dyn Accounts) -> Option<Wants> {
    let noted = reader.count();
    let mut kinds = Vec::new();
    let known = KINDS.map(|kind| (kind, kind));
    match entry.get("on") {
        Some((value, field)) => {
            for (field, value) in reader.one_or_list(value, &field, KINDS.len(), "\"alert\", \"action\"") {
                kinds.extend(reader.word(value, &field, "kind of record", &known));
            }
        }
        None => kinds.extend(DEFAULT_KINDS),
    }
    let severity = entry.get("severity").map_or(Some(Severity::Warning), |(value, field)| {
        reader.word(value, &field, "severity", &SEVERITIES)
    });
    let mut uids = Vec::new();
    if let Some((value, field)) = entry.get("user") {
        for (field, value) in reader.one_or_list(value, &field, MAX_USERS, "\"aimgr\"") {
            uids.extend(by_name(reader, value, &field, "user", accounts).map(|(uid, _)| uid));
        }
    }
    if let Some((value, field)) = entry.get("uid") {
        for (field, value) in reader.one_or_list(value, &field, MAX_USERS, "1003") {
            uids.extend(reader.number(value, &field, (0, MAX_ID)));
        }
    }
    // What was not understood must not become a filter that lets more through.
    (reader.count() == noted).then_some(Wants { kinds, severity: severity?, uids })
}

/// `10/1m`
fn read_rate(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, field: &str) -> Option<Rate> {
    let text = reader.text(value, field, "10/1m")?;
    let rate = text.split_once('/').and_then(|(count, within)| {
        let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
        let count = count.parse().ok().filter(|count| is_number && (1..=MAX_COUNT).contains(count))?;
        let within = duration::parse(within).ok().filter(|it| (WITHIN.0..=WITHIN.1).contains(it))?;
        Some(Rate { count, within })
    });
    if rate.is_none() {
        let (low, high) = (duration::exact(WITHIN.0), duration::exact(WITHIN.1));
        let what = format!(
            "{} is no rate of 1 to {MAX_COUNT} messages in {low} to {high}; right is e.g. \"10/1m\"",
            quote(text)
        );
        reader.bad(&value.span(), field, what);
    }
    rate
}
