//! `[[threads]]`: thread counts that raise an alert.

use procwatch_common::policy::{FLOOR_THREADS, MAX_LEVELS};
use toml::{Spanned, de::DeValue};

use super::{DEFAULT_LEVELS, read::Reader};

/// More threads than any kernel allows (`PID_MAX_LIMIT`).
const MAX_THREADS: u32 = 4_194_304;

pub(super) fn read_threads(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<Vec<u32>> {
    let tables = reader.tables(value, "threads");
    if value.get_ref().as_array().is_some_and(|list| list.is_empty()) {
        let what = format!("is empty; leave it out for the levels {DEFAULT_LEVELS:?}");
        reader.bad(&value.span(), "threads", what);
    }
    for (index, (span, _)) in tables.iter().enumerate().skip(1) {
        let what = "a second entry; this version knows one [[threads]], which holds for all processes";
        reader.bad(span, format!("threads[{}]", index + 1), what);
    }
    let mut levels = None;
    for (index, (span, table)) in tables.into_iter().enumerate() {
        let prefix = format!("threads[{}].", index + 1);
        reader.check_keys(table, &prefix, &["levels"]);
        let field = format!("{prefix}levels");
        match table.get("levels") {
            Some(value) => levels = read_levels(reader, value, &field),
            None => reader.bad(&span, field, format!("missing; right is e.g. levels = {DEFAULT_LEVELS:?}")),
        }
    }
    levels
}

fn read_levels(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, field: &str) -> Option<Vec<u32>> {
    let entries = reader.list(value, field, MAX_LEVELS, "[80, 100, 500, 1000]")?;
    let mut levels = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let field = format!("{field}[{}]", index + 1);
        levels.push(reader.number(entry, &field, (FLOOR_THREADS, MAX_THREADS)));
    }
    let good: Vec<u32> = levels.iter().copied().flatten().collect();
    let fall = good.iter().zip(good.iter().skip(1)).find(|(low, high)| low >= high);
    if let Some((low, high)) = fall {
        let what = format!("{high} after {low} does not rise; each level must be above the one before it");
        reader.bad(&value.span(), field, what);
        return None;
    }
    levels.into_iter().collect()
}
