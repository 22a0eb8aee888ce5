//! Takes TOML values apart and notes all that is wrong with them, each with its line.

use std::{fmt::Display, ops::Range, path::Path, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::error::{Location, Problem, quote};
use crate::duration;

/// The text of a file and what was found wrong in it.
pub(super) struct Reader<'a> {
    file: &'a Path,
    /// Byte at which each line begins.
    lines: Vec<usize>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a Path, text: &str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { file, lines: [0].into_iter().chain(breaks).collect(), problems: Vec::new() }
    }

    pub(super) fn at(&self, span: &Range<usize>) -> Location {
        let line = self.lines.partition_point(|begin| *begin <= span.start);
        Location { file: self.file.to_owned(), line: Some(line) }
    }

    /// Notes a problem.
    pub(super) fn bad(&mut self, span: &Range<usize>, field: impl Into<String>, what: impl Into<String>) {
        let at = self.at(span);
        self.problems.push(Problem { at, field: field.into(), what: what.into() });
    }

    /// How much was noted so far.
    pub(super) const fn count(&self) -> usize {
        self.problems.len()
    }

    /// What was noted, by line, each once.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.problems.sort_by(|a, b| a.at.cmp(&b.at));
        self.problems.dedup();
        self.problems
    }

    /// Notes every key of `table` that is not in `known`.
    pub(super) fn check_keys(&mut self, table: &DeTable<'_>, prefix: &str, known: &[&str]) {
        for key in table.keys() {
            let name = key.get_ref();
            if !known.contains(&&**name) {
                let advice = nearest(name, known).map(|near| format!("; did you mean \"{near}\"?"));
                let what = format!("unknown key{} (known: {})", advice.unwrap_or_default(), known.join(", "));
                self.bad(&key.span(), format!("{prefix}{}", cut(name)), what);
            }
        }
    }

    /// Notes that a value has the wrong type.
    pub(super) fn wrong_type(&mut self, value: &Spanned<DeValue<'_>>, field: &str, right: impl Display) {
        let what = format!("is {}; right is {right}", kind(value.get_ref()));
        self.bad(&value.span(), field, what);
    }

    /// The value as text.
    pub(super) fn text<'t>(
        &mut self,
        value: &'t Spanned<DeValue<'_>>,
        field: &str,
        example: &str,
    ) -> Option<&'t str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(value, field, format_args!("a text, e.g. {}", quote(example)));
        }
        text
    }

    /// The value as true or false.
    pub(super) fn flag(&mut self, value: &Spanned<DeValue<'_>>, field: &str) -> Option<bool> {
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_type(value, field, format_args!("true or false"));
        }
        flag
    }

    /// The value as one of a few words; `noun` is what they are.
    pub(super) fn word<T: Copy>(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        field: &str,
        noun: &str,
        known: &[(&str, T)],
    ) -> Option<T> {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let word = self.text(value, field, names[0])?;
        if let Some((_, meant)) = known.iter().find(|(name, _)| *name == word) {
            return Some(*meant);
        }
        let advice = nearest(word, &names).map(|near| format!("; did you mean \"{near}\"?"));
        let what = format!(
            "unknown {noun} {}{} (known: {})",
            quote(word),
            advice.unwrap_or_default(),
            names.join(", ")
        );
        self.bad(&value.span(), field, what);
        None
    }

    /// The value as a span of time from `low` to `high`.
    pub(super) fn time(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        field: &str,
        (low, high): (Duration, Duration),
        example: &str,
    ) -> Option<Duration> {
        let text = self.text(value, field, example)?;
        let found = duration::parse(text).ok().filter(|span| (low..=high).contains(span));
        if found.is_none() {
            let (low, high) = (duration::exact(low), duration::exact(high));
            let what =
                format!("{} is no time from {low} to {high}; right is e.g. {}", quote(text), quote(example));
            self.bad(&value.span(), field, what);
        }
        found
    }

    /// The value as a whole number in `range`.
    pub(super) fn number(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        field: &str,
        range: (u32, u32),
    ) -> Option<u32> {
        let (low, high) = range;
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_type(value, field, format_args!("a whole number from {low} to {high}"));
            return None;
        };
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let fitting = number.and_then(|number| u32::try_from(number).ok());
        let found = fitting.filter(|number| (low..=high).contains(number));
        if found.is_none() {
            let what = format!("{} is out of range; right is {low} to {high}", cut(integer.as_str()));
            self.bad(&value.span(), field, what);
        }
        found
    }

    /// The value as a list of one to `most` entries.
    pub(super) fn list<'t, 'i>(
        &mut self,
        value: &'t Spanned<DeValue<'i>>,
        field: &str,
        most: usize,
        example: &str,
    ) -> Option<Vec<&'t Spanned<DeValue<'i>>>> {
        let Some(list) = value.get_ref().as_array() else {
            self.wrong_type(value, field, format_args!("a list, e.g. {example}"));
            return None;
        };
        if list.is_empty() || list.len() > most {
            let what = format!("has {} entries; 1 to {most} are possible, e.g. {example}", list.len());
            self.bad(&value.span(), field, what);
            return None;
        }
        Some(list.iter().collect())
    }

    /// The value, or each of the values that it lists, with its field: one, or one to `most`.
    pub(super) fn one_or_list<'t, 'i>(
        &mut self,
        value: &'t Spanned<DeValue<'i>>,
        field: &str,
        most: usize,
        example: &str,
    ) -> Vec<(String, &'t Spanned<DeValue<'i>>)> {
        if value.get_ref().as_array().is_none() {
            return vec![(field.to_owned(), value)];
        }
        let list = self.list(value, field, most, &format!("[{example}]")).unwrap_or_default();
        list.into_iter().zip(1..).map(|(entry, number)| (format!("{field}[{number}]"), entry)).collect()
    }

    /// The value as a table.
    pub(super) fn table<'t, 'i>(
        &mut self,
        value: &'t Spanned<DeValue<'i>>,
        field: &str,
        example: &str,
    ) -> Option<&'t DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(value, field, format_args!("a table, e.g. {example}"));
        }
        table
    }

    /// The tables of a `[[name]]`, each with its line.
    pub(super) fn tables<'t, 'i>(
        &mut self,
        value: &'t Spanned<DeValue<'i>>,
        name: &str,
    ) -> Vec<(Range<usize>, &'t DeTable<'i>)> {
        let Some(list) = value.get_ref().as_array() else {
            self.wrong_type(value, name, format_args!("a list of tables, each begun by [[{name}]]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (index, entry) in list.iter().enumerate() {
            if let Some(table) = entry.get_ref().as_table() {
                tables.push((entry.span(), table));
            } else {
                let field = format!("{name}[{}]", index + 1);
                self.wrong_type(entry, &field, format_args!("a table, begun by [[{name}]]"));
            }
        }
        tables
    }
}

const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The known word that was probably meant.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    // Comparing takes time by the product of the lengths, and nobody mistypes this much.
    if word.len() > 64 {
        return None;
    }
    let near = known.iter().map(|key| (strsim::damerau_levenshtein(&word.to_lowercase(), key), *key));
    near.min_by_key(|(distance, _)| *distance)
        .filter(|(distance, key)| *distance <= 2.max(key.len() / 3) && *distance < key.len())
        .map(|(_, key)| key)
}

/// So much of a foreign word as fits a message.
fn cut(word: &str) -> String {
    word.chars().take(60).collect()
}
