//! `[[place]]`: where the processes of a user belong.

use std::ops::Range;

use procwatch_common::policy::MAX_FROM;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{PlaceRule, UserLookup, error::quote, read::Reader};
use crate::{cgroup::SliceRef, text::escape};

/// The uid 4294967295 is "none".
const MAX_UID: u32 = u32::MAX - 1;
const EXAMPLE_SLICE: &str = "user-1003.slice";
const DEFAULT_FROM: &str = "user.slice";

pub(super) fn read_places(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    users: &UserLookup<'_>,
) -> Vec<PlaceRule> {
    let tables = reader.tables(value, "place");
    let numbered = tables.into_iter().zip(1..);
    numbered.filter_map(|((span, table), number)| read_place(reader, &span, table, number, users)).collect()
}

fn read_place(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    table: &DeTable<'_>,
    number: usize,
    users: &UserLookup<'_>,
) -> Option<PlaceRule> {
    let name = format!("place[{number}]");
    reader.check_keys(table, &format!("{name}."), &["user", "uid", "slice", "from"]);
    let who = read_who(reader, span, table, &name, users);
    let slice = read_target(reader, span, table, &name);
    let from = read_from(reader, table, &name, slice.as_ref());
    let (uid, user) = who?;
    let described = match &user {
        Some(user) => format!("{name} user={}", escape(user.as_bytes())),
        None => format!("{name} uid={uid}"),
    };
    Some(PlaceRule { uid, user, slice: slice?, from: from?, described, location: reader.at(span) })
}

/// Exactly one of `user` and `uid`, and not root.
fn read_who(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    table: &DeTable<'_>,
    name: &str,
    users: &UserLookup<'_>,
) -> Option<(u32, Option<String>)> {
    let (user, uid) = (table.get("user"), table.get("uid"));
    let (value, field, found) = match (user, uid) {
        (Some(value), None) => {
            let field = format!("{name}.user");
            let user = reader.text(value, &field, "aimgr")?;
            let uid = find_user(reader, value, &field, user, users)?;
            (value, field, (uid, Some(user.to_owned())))
        }
        (None, Some(value)) => {
            let field = format!("{name}.uid");
            let uid = reader.number(value, &field, (0, MAX_UID))?;
            (value, field, (uid, None))
        }
        (Some(_), Some(second)) => {
            reader.bad(&second.span(), name, "has user and uid; give one of them");
            return None;
        }
        (None, None) => {
            reader.bad(span, name, "has neither user nor uid; give one of them, e.g. user = \"aimgr\"");
            return None;
        }
    };
    if found.0 == 0 {
        reader.bad(&value.span(), field, "is root; root is never placed, name a service user");
        return None;
    }
    Some(found)
}

fn find_user(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    field: &str,
    user: &str,
    users: &UserLookup<'_>,
) -> Option<u32> {
    // The system's look-up ends a name at a NUL, and would then find another user.
    let found = if user.contains('\0') { Ok(None) } else { users(user) };
    let what = match found {
        Ok(Some(uid)) => return Some(uid),
        Ok(None) => match user.parse::<u32>() {
            Ok(uid) => format!("unknown user {}; a number is given as uid = {uid}", quote(user)),
            Err(_) => format!("unknown user {}; create it or give uid = N", quote(user)),
        },
        Err(why) => format!("user {} cannot be looked up ({why}); give uid = N", quote(user)),
    };
    reader.bad(&value.span(), field, what);
    None
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
        let source = read_slice(reader, entry, &field);
        let outside = match (&source, slice) {
            (Some(source), Some(slice)) => check_outside(reader, &entry.span(), &field, slice, source),
            _ => Some(()),
        };
        from.push(outside.and(source));
    }
    from.into_iter().collect()
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
