//! What one file says, checked. No I/O but the look-up of user names that the caller passes in.

use std::{ops::Range, path::Path};

use procwatch_common::policy::{FLOOR_THREADS, MAX_FROM, MAX_LEVELS};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    DEFAULT_LEVELS, PlaceRule, UserLookup,
    error::{Problem, quote},
    read::{Reader, nearest},
};
use crate::{cgroup::SliceRef, record::Mode, text::escape};

/// More threads than any kernel allows (`PID_MAX_LIMIT`).
const MAX_THREADS: u32 = 4_194_304;
/// The uid 4294967295 is "none".
const MAX_UID: u32 = u32::MAX - 1;
const MODES: [&str; 2] = ["observe", "enforce"];
const EXAMPLE_SLICE: &str = "user-1003.slice";
const DEFAULT_FROM: &str = "user.slice";

/// What one file says. What it does not say is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// Whether decisions are carried out.
    pub mode: Option<Mode>,
    /// Thread counts that raise an alert.
    pub levels: Option<Vec<u32>>,
    /// Placement rules.
    pub place: Vec<PlaceRule>,
}

impl Layer {
    /// Reads the text of a file. `file` is only named in what is reported.
    ///
    /// # Errors
    /// All that is wrong with it; when it is not TOML, only that.
    pub fn parse(file: &Path, text: &str, users: &UserLookup<'_>) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(file, text);
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let span = error.span().unwrap_or_default();
            let token = text.get(span.clone()).filter(|token| !token.trim().is_empty());
            let near = token.map(|token| format!(", at {}", quote(token))).unwrap_or_default();
            reader.bad(&span, "", format!("not TOML: {}{near}", escape(error.message().as_bytes())));
        }
        let layer =
            if errors.is_empty() { read_root(&mut reader, root.get_ref(), users) } else { Self::default() };
        let problems = reader.finish();
        if problems.is_empty() { Ok(layer) } else { Err(problems) }
    }
}

fn read_root(reader: &mut Reader<'_>, root: &DeTable<'_>, users: &UserLookup<'_>) -> Layer {
    reader.check_keys(root, "", &["mode", "threads", "place"]);
    Layer {
        mode: root.get("mode").and_then(|value| read_mode(reader, value)),
        levels: root.get("threads").and_then(|value| read_threads(reader, value)),
        place: root.get("place").map(|value| read_places(reader, value, users)).unwrap_or_default(),
    }
}

fn read_mode(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<Mode> {
    let mode = reader.text(value, "mode", MODES[0])?;
    match mode {
        "observe" => Some(Mode::Observe),
        "enforce" => Some(Mode::Enforce),
        _ => {
            let advice = nearest(mode, &MODES).map(|near| format!("; did you mean \"{near}\"?"));
            let what = format!(
                "unknown mode {}{} (known: observe, enforce)",
                quote(mode),
                advice.unwrap_or_default()
            );
            reader.bad(&value.span(), "mode", what);
            None
        }
    }
}

fn read_threads(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<Vec<u32>> {
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

fn read_places(
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

#[cfg(test)]
mod tests;
