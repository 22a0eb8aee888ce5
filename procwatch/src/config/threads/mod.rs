//! `[[threads]]`: how the threads of which processes are watched, and what is done about them.

mod actions;
mod contradiction;
mod fit;
mod growth;
mod hazard;
mod layers;
mod matches;

use std::{ops::Range, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub use fit::{Mismatch, Prefilter, choose, why_not};
pub(super) use layers::{add, against_protection};

use super::{
    Accounts, Actions, Burst, Containment, DEFAULT_LEVELS, Leak, Match, OnMissing, Step, ThreadRule,
    read::Reader,
};

/// Growth that raises an alert when nothing else is said.
pub const DEFAULT_BURST: Burst = Burst { threads: 50, within: Duration::from_secs(1) };

/// Slow growth that raises an alert when nothing else is said.
pub const DEFAULT_LEAK: Leak = Leak { marks: 4, over: Duration::from_hours(1) };

/// More threads than any kernel allows (`PID_MAX_LIMIT`).
const MAX_THREADS: u32 = 4_194_304;

const KEYS: [&str; 17] = [
    "user",
    "uid",
    "comm",
    "exe",
    "argv",
    "cgroup",
    "unit",
    "ignore",
    "normal",
    "levels",
    "burst",
    "leak",
    "cap",
    "stop-at",
    "on-missing",
    "protect",
    "actions",
];

impl ThreadRule {
    /// The rule for all when the configuration has none.
    pub fn built_in() -> Self {
        Self {
            matches: Match::default(),
            ignore: false,
            normal: None,
            levels: DEFAULT_LEVELS.to_vec(),
            burst: Some(DEFAULT_BURST),
            leak: Some(DEFAULT_LEAK),
            cap: None,
            stop_at: None,
            on_missing: OnMissing::default(),
            protect: false,
            actions: Actions::unless_said(&DEFAULT_LEVELS, Some(DEFAULT_LEAK)),
            described: "default".to_owned(),
            location: None,
        }
    }

    /// Whether it has no match key and so fits every process.
    pub fn is_catch_all(&self) -> bool {
        self.matches == Match::default()
    }

    /// Its name in messages: `threads[1]`, or `default`.
    pub fn name(&self) -> &str {
        self.described.split_once(' ').map_or(&self.described, |(name, _)| name)
    }
}

impl Actions {
    /// What is done when nothing is said: at the second level, and at a leak, procwatch says which code creates the threads.
    fn unless_said(levels: &[u32], leak: Option<Leak>) -> Self {
        let diagnose = vec![Step { action: Containment::Diagnose, after: Duration::ZERO }];
        Self {
            warning: if levels.len() > 1 { diagnose.clone() } else { Vec::new() },
            leak: if leak.is_some() { diagnose } else { Vec::new() },
            ..Self::default()
        }
    }
}

/// A table of the file with its way down from the root.
struct Entry<'t, 'i> {
    name: String,
    span: Range<usize>,
    table: &'t DeTable<'i>,
}

impl<'t, 'i> Entry<'t, 'i> {
    /// What a key has, and the field's name.
    fn get(&self, key: &str) -> Option<(&'t Spanned<DeValue<'i>>, String)> {
        Some((self.table.get(key)?, self.field(key)))
    }

    fn field(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    /// Where the value of a key stands, or of `actions.KEY`; the table itself when there is none.
    fn span_of(&self, path: &str) -> Range<usize> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let value = self.table.get(first);
        let deeper = value.and_then(|value| value.get_ref().as_table()?.get(rest));
        deeper.or(value).map_or_else(|| self.span.clone(), Spanned::span)
    }
}

/// The rules of one file, in their order. Only the last one may be a catch-all.
pub(super) fn read_threads(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    accounts: &dyn Accounts,
) -> Vec<ThreadRule> {
    let tables = reader.tables(value, "threads");
    if value.get_ref().as_array().is_some_and(|list| list.is_empty()) {
        let what = format!("is empty; leave it out for the levels {DEFAULT_LEVELS:?}");
        reader.bad(&value.span(), "threads", what);
    }
    let mut rules: Vec<ThreadRule> = Vec::new();
    for ((span, table), number) in tables.into_iter().zip(1..) {
        let entry = Entry { name: format!("threads[{number}]"), span, table };
        if let Some(before) = rules.iter().find(|rule| rule.is_catch_all()) {
            let before = before.name();
            let what = format!(
                "can never be chosen, because {before} before it has no match key and fits every process; \
                 move {before} to the end, or say whom it means, e.g. comm = \"python3\""
            );
            reader.bad(&entry.span, &*entry.name, what);
            read_rule(reader, &entry, accounts);
            continue;
        }
        rules.push(read_rule(reader, &entry, accounts));
    }
    rules
}

/// A rule. Where something is wrong, which is noted, it has what holds when nothing is said.
fn read_rule(reader: &mut Reader<'_>, entry: &Entry<'_, '_>, accounts: &dyn Accounts) -> ThreadRule {
    let noted = reader.count();
    reader.check_keys(entry.table, &entry.field(""), &KEYS);
    if entry.table.is_empty() {
        let what = format!("says nothing; right is e.g. levels = {DEFAULT_LEVELS:?}");
        reader.bad(&entry.span, &*entry.name, what);
    }
    let mut flag = |key| entry.get(key).and_then(|(value, field)| reader.flag(value, &field));
    let (ignore, protect) = (flag("ignore") == Some(true), flag("protect") == Some(true));
    let (matches, described) = matches::read(reader, entry, accounts);
    let growth = growth::read(reader, entry);
    let actions = if entry.get("actions").is_some() || ignore {
        actions::read(reader, entry)
    } else {
        Actions::unless_said(&growth.levels, growth.leak)
    };
    let rule = ThreadRule {
        matches,
        ignore,
        normal: growth.normal,
        levels: if ignore { Vec::new() } else { growth.levels },
        burst: growth.burst.filter(|_| !ignore),
        leak: growth.leak.filter(|_| !ignore),
        cap: growth.cap,
        stop_at: growth.stop_at,
        on_missing: growth.on_missing,
        protect,
        actions,
        described,
        location: Some(reader.at(&entry.span)),
    };
    // What was read wrongly would seem to contradict.
    if reader.count() == noted {
        contradiction::check(reader, entry, &rule);
    }
    rule
}

#[cfg(test)]
mod tests;
