//! Short ways into JSON records.

use std::collections::BTreeMap;

use serde_json::Value;

/// How many records there are of each kind.
pub type Kinds<'a> = BTreeMap<&'a str, usize>;

/// Counts records by kind.
pub fn kinds(records: &[Value]) -> Kinds<'_> {
    let mut kinds = Kinds::new();
    for record in records {
        *kinds.entry(text(&record["kind"])).or_default() += 1;
    }
    kinds
}

/// The records of a kind.
pub fn of_kind<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["kind"] == kind).collect()
}

/// A number that must be there.
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// A text that must be there.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// A list of texts that must be there.
pub fn texts(value: &Value) -> Vec<&str> {
    let list = value.as_array().unwrap_or_else(|| panic!("no list: {value}"));
    list.iter().map(text).collect()
}
