//! What the tables of outputs have in common.

use std::path::PathBuf;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::quote,
    read::{Reader, nearest},
};
use crate::{
    record::{Kind, Kinds},
    size,
};

/// A table that may be `false` in its stead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switch<T> {
    /// Switched off.
    Off,
    /// On, with what the table says.
    On(T),
}

/// The table, or false.
pub(super) fn read_switch<T>(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    field: &str,
    read: impl FnOnce(&mut Reader<'_>, &DeTable<'_>) -> T,
) -> Option<Switch<T>> {
    if value.get_ref().as_bool() == Some(false) {
        return Some(Switch::Off);
    }
    let Some(table) = value.get_ref().as_table() else {
        reader.wrong_type(value, field, format_args!("a table, begun by [{field}], or false for none"));
        return None;
    };
    Some(Switch::On(read(reader, table)))
}

/// The path of a file, from the root on; `None` when nothing is said, or what was noted as bad.
pub(super) fn read_path(
    reader: &mut Reader<'_>,
    table: &DeTable<'_>,
    name: &str,
    default: &str,
) -> Option<PathBuf> {
    let value = table.get("path")?;
    let field = format!("{name}.path");
    let text = reader.text(value, &field, default)?;
    let plain = text.starts_with('/') && !text.ends_with('/') && !text.contains('\0');
    let path = PathBuf::from(text);
    if !plain || path.components().any(|part| part == std::path::Component::ParentDir) {
        let what = format!(
            "{} is no path of a file from the root on; right is e.g. {}",
            quote(text),
            quote(default)
        );
        reader.bad(&value.span(), field, what);
        return None;
    }
    Some(path)
}

/// A size from `low` to `high`, bytes.
pub(super) fn read_size(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    field: &str,
    (low, high): (u64, u64),
    example: &str,
) -> Option<u64> {
    let text = reader.text(value, field, example)?;
    let found = size::parse(text).ok().filter(|bytes| (low..=high).contains(bytes));
    if found.is_none() {
        let (low, high) = (size::exact(low), size::exact(high));
        let what =
            format!("{} is no size from {low} to {high}; right is e.g. {}", quote(text), quote(example));
        reader.bad(&value.span(), field, what);
    }
    found
}

/// A list of kinds among `known`; `own` stands for all that the agent tells by itself, where that is possible.
pub(super) fn read_kinds(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    field: &str,
    known: &[Kind],
    own: bool,
) -> Option<Kinds> {
    let mut names: Vec<&str> = if own { vec!["own"] } else { Vec::new() };
    names.extend(known.iter().map(|kind| kind.name()));
    let example = if own { "[\"own\", \"exec\"]" } else { "[\"exec\"]" };
    let list = reader.list(value, field, names.len(), example)?;
    let mut kinds = Kinds::NONE;
    let mut whole = true;
    for (entry, number) in list.into_iter().zip(1..) {
        let field = format!("{field}[{number}]");
        let Some(word) = reader.text(entry, &field, names[0]) else {
            whole = false;
            continue;
        };
        if own && word == "own" {
            kinds = kinds.and(Kinds::own());
        } else if let Some(kind) = known.iter().find(|kind| kind.name() == word) {
            kinds = kinds.and([*kind].into_iter().collect());
        } else {
            whole = false;
            let advice = nearest(word, &names).map(|near| format!("; did you mean \"{near}\"?"));
            let advice = advice.unwrap_or_default();
            let what = format!("unknown kind {}{advice} (known: {})", quote(word), names.join(", "));
            reader.bad(&entry.span(), field, what);
        }
    }
    whole.then_some(kinds)
}
