//! `[[place]]`: where the processes of a user belong.

use std::{ops::Range, time::Duration};

use procwatch_common::place::{MAX_FROM, MAX_PLACE_RULES};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Accounts, DEFAULT_HOLD, PlaceRule, error::quote, ignore, owner, read::Reader};
use crate::{cgroup::SliceRef, detect::judge::never_left, duration};

/// The longest hold. A process that waits takes CPU time, and the kernel bounds the rounds of waiting.
const MAX_HOLD: Duration = Duration::from_secs(2);
const EXAMPLE_SLICE: &str = "user-1003.slice";
const DEFAULT_FROM: &str = "user.slice";

pub(super) fn read_places(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    accounts: &dyn Accounts,
) -> Vec<PlaceRule> {
    let tables = reader.tables(value, "place");
    if tables.len() > MAX_PLACE_RULES {
        let what = format!("has {} rules; at most {MAX_PLACE_RULES} are possible", tables.len());
        reader.bad(&value.span(), "place", what);
        return Vec::new();
    }
    let numbered = tables.into_iter().zip(1..);
    numbered
        .filter_map(|((span, table), number)| read_place(reader, &span, table, number, accounts))
        .collect()
}

fn read_place(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    table: &DeTable<'_>,
    number: usize,
    accounts: &dyn Accounts,
) -> Option<PlaceRule> {
    let name = format!("place[{number}]");
    let keys = [&owner::KEYS[..], &["slice", "from", "hold", "ignore"]].concat();
    reader.check_keys(table, &format!("{name}."), &keys);
    let owner = owner::read(reader, span, table, &name, accounts);
    let slice = read_target(reader, span, table, &name);
    let from = read_from(reader, table, &name, slice.as_ref());
    let hold = read_hold(reader, table, &name);
    let ignore = match table.get("ignore") {
        Some(value) => ignore::read(reader, value, &format!("{name}.ignore")),
        None => Some(ignore::Ignore::default()),
    };
    let (owner, written) = owner?;
    Some(PlaceRule {
        owner,
        slice: slice?,
        from: from?,
        hold: hold?,
        ignore: ignore?,
        described: format!("{name} {written}"),
        location: reader.at(span),
    })
}

/// A span of time, or false for none, which is zero.
fn read_hold(reader: &mut Reader<'_>, table: &DeTable<'_>, name: &str) -> Option<Duration> {
    let field = format!("{name}.hold");
    let Some(value) = table.get("hold") else {
        return Some(DEFAULT_HOLD);
    };
    if value.get_ref().as_bool() == Some(false) {
        return Some(Duration::ZERO);
    }
    let Some(text) = value.get_ref().as_str() else {
        reader.wrong_type(value, &field, format_args!("a time such as \"250ms\", or false"));
        return None;
    };
    match duration::parse(text) {
        Ok(hold) if hold <= MAX_HOLD => Some(hold),
        _ => {
            let what =
                format!("{} is no time from 1ms to 2s; right is e.g. \"250ms\", or false", quote(text));
            reader.bad(&value.span(), &field, what);
            None
        }
    }
}

fn read_target(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    table: &DeTable<'_>,
    name: &str,
) -> Option<SliceRef> {
    let field = format!("{name}.slice");
    if let Some(value) = table.get("slice") {
        return read_slice(reader, value, &field);
    }
    reader.bad(span, field, format!("missing; right is e.g. slice = \"{EXAMPLE_SLICE}\""));
    None
}

fn read_slice(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, field: &str) -> Option<SliceRef> {
    let text = reader.text(value, field, EXAMPLE_SLICE)?;
    SliceRef::parse(text).map_err(|error| reader.bad(&value.span(), field, error.to_string())).ok()
}

fn read_from(
    reader: &mut Reader<'_>,
    table: &DeTable<'_>,
    name: &str,
    slice: Option<&SliceRef>,
) -> Option<Vec<SliceRef>> {
    let field = format!("{name}.from");
    let Some(value) = table.get("from") else {
        let from = SliceRef::parse(DEFAULT_FROM).ok()?;
        if let (Some(slice), Some(span)) = (slice, table.get("slice").map(Spanned::span)) {
            check_outside(reader, &span, &format!("{name}.slice"), slice, &from)?;
        }
        return Some(vec![from]);
    };
    let entries = reader.list(value, &field, MAX_FROM, "[\"user.slice\"]")?;
    let mut from = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let field = format!("{field}[{}]", index + 1);
        let source = read_slice(reader, entry, &field)
            .filter(|source| check_takeable(reader, &entry.span(), &field, source).is_some());
        let outside = match (&source, slice) {
            (Some(source), Some(slice)) => check_outside(reader, &entry.span(), &field, slice, source),
            _ => Some(()),
        };
        from.push(outside.and(source));
    }
    from.into_iter().collect()
}

/// Nobody is ever taken from services and containers.
fn check_takeable(reader: &mut Reader<'_>, span: &Range<usize>, field: &str, from: &SliceRef) -> Option<()> {
    if never_left(from.path()).is_none() {
        return Some(());
    }
    let what = format!(
        "{from} is left alone, as services and containers are, so nothing would ever be moved; right is e.g. \"{DEFAULT_FROM}\""
    );
    reader.bad(span, field, what);
    None
}

/// A process that is to be taken from in or below its own slice is never a stray.
fn check_outside(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    field: &str,
    slice: &SliceRef,
    from: &SliceRef,
) -> Option<()> {
    if from.path() != slice.path() && !from.path().is_below(slice.path()) {
        return Some(());
    }
    let what = format!(
        "from {from} is in slice {slice}, so nothing would ever be moved; take from outside of it, e.g. the slice above"
    );
    reader.bad(span, field, what);
    None
}
