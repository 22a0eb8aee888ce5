//! The thread counts of a rule: what is normal, what raises an alert, and what the kernel refuses.

use std::time::Duration;

use procwatch_common::{
    growth::MAX_BURST,
    policy::{FLOOR_THREADS, MAX_LEVELS},
};
use toml::{Spanned, de::DeValue};

use super::{
    super::{Burst, DEFAULT_LEVELS, Leak, NormalRange, OnMissing, error::quote, read::Reader},
    DEFAULT_BURST, DEFAULT_LEAK, Entry, MAX_THREADS,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const WITHIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_hours(1));
const OVER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(30 * 24));
/// The longest wait between two rungs of a ladder.
pub(super) const AFTER: (Duration, Duration) = (MILLISECOND, Duration::from_hours(24));

const BURST_EXAMPLE: &str = "{ threads = 50, within = \"1s\" }, or false";
const LEAK_EXAMPLE: &str = "{ marks = 4, over = \"1h\" }, or false";
const MISSING: [(&str, OnMissing); 2] = [("fallback", OnMissing::Fallback), ("refuse", OnMissing::Refuse)];

/// What a rule says of counts.
pub(super) struct Growth {
    pub(super) normal: Option<NormalRange>,
    pub(super) levels: Vec<u32>,
    pub(super) burst: Option<Burst>,
    pub(super) leak: Option<Leak>,
    pub(super) cap: Option<u32>,
    pub(super) stop_at: Option<u32>,
    pub(super) on_missing: OnMissing,
}

pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Growth {
    let mut limit = |key| {
        entry.get(key).and_then(|(value, field)| reader.number(value, &field, (FLOOR_THREADS, MAX_THREADS)))
    };
    let (cap, stop_at) = (limit("cap"), limit("stop-at"));
    let on_missing = entry.get("on-missing").and_then(|(value, field)| {
        // Without a word that fits the default stands.
        reader.word(value, &field, "way", &MISSING)
    });
    Growth {
        normal: entry.get("normal").and_then(|(value, field)| read_normal(reader, value, &field)),
        levels: read_levels(reader, entry),
        burst: read_burst(reader, entry),
        leak: read_leak(reader, entry),
        cap,
        stop_at,
        on_missing: on_missing.unwrap_or_default(),
    }
}

/// `20-60`, both ends in it.
fn read_normal(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, field: &str) -> Option<NormalRange> {
    let text = reader.text(value, field, "20-60")?;
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && (1..=MAX_THREADS).contains(number))
    };
    let range = text.split_once('-').and_then(|(low, high)| Some((number(low)?, number(high)?)));
    match range {
        Some((low, high)) if low <= high => return Some(NormalRange { low, high }),
        Some((low, high)) => {
            let what = format!("the range {low}-{high} runs backwards; right is \"{high}-{low}\"");
            reader.bad(&value.span(), field, what);
        }
        None => {
            let what = format!("{} is no range of thread counts; right is e.g. \"20-60\"", quote(text));
            reader.bad(&value.span(), field, what);
        }
    }
    None
}

/// What a key has that `false` switches off: `Err(Some(…))` for its default, `Err(None)` for nothing.
fn switched<'t, 'i, T>(
    entry: &Entry<'t, 'i>,
    key: &str,
    default: T,
) -> Result<(&'t Spanned<DeValue<'i>>, String), Option<T>> {
    match entry.get(key) {
        None => Err(Some(default)),
        Some((value, _)) if value.get_ref().as_bool() == Some(false) => Err(None),
        Some(given) => Ok(given),
    }
}

fn read_levels(reader: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Vec<u32> {
    let (value, field) = match switched(entry, "levels", DEFAULT_LEVELS.to_vec()) {
        Ok(given) => given,
        Err(levels) => return levels.unwrap_or_default(),
    };
    let Some(entries) = reader.list(value, &field, MAX_LEVELS, "[80, 100, 500, 1000]") else {
        return Vec::new();
    };
    let mut levels = Vec::with_capacity(entries.len());
    for (entry, number) in entries.into_iter().zip(1..) {
        let field = format!("{field}[{number}]");
        levels.extend(reader.number(entry, &field, (FLOOR_THREADS, MAX_THREADS)));
    }
    let fall = levels.iter().zip(levels.iter().skip(1)).find(|(low, high)| low >= high);
    if let Some((low, high)) = fall {
        let what = format!("{high} after {low} does not rise; each level must be above the one before it");
        reader.bad(&value.span(), &*field, what);
    }
    levels
}

fn read_burst(reader: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Option<Burst> {
    let (value, field) = match switched(entry, "burst", DEFAULT_BURST) {
        Ok(given) => given,
        Err(burst) => return burst,
    };
    let table = reader.table(value, &field, BURST_EXAMPLE)?;
    let burst = Entry { name: field, span: value.span(), table };
    reader.check_keys(table, &burst.field(""), &["threads", "within"]);
    // The programs remember so many counts back: growth by more could never be told.
    let threads =
        burst.get("threads").and_then(|(value, field)| reader.number(value, &field, (2, MAX_BURST)));
    let within = burst.get("within").and_then(|(value, field)| reader.time(value, &field, WITHIN, "1s"));
    Some(Burst {
        threads: threads.unwrap_or(DEFAULT_BURST.threads),
        within: within.unwrap_or(DEFAULT_BURST.within),
    })
}

fn read_leak(reader: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Option<Leak> {
    let (value, field) = match switched(entry, "leak", DEFAULT_LEAK) {
        Ok(given) => given,
        Err(leak) => return leak,
    };
    let table = reader.table(value, &field, LEAK_EXAMPLE)?;
    let leak = Entry { name: field, span: value.span(), table };
    reader.check_keys(table, &leak.field(""), &["marks", "over"]);
    let marks = leak.get("marks").and_then(|(value, field)| reader.number(value, &field, (2, 20)));
    let over = leak.get("over").and_then(|(value, field)| reader.time(value, &field, OVER, "1h"));
    Some(Leak { marks: marks.unwrap_or(DEFAULT_LEAK.marks), over: over.unwrap_or(DEFAULT_LEAK.over) })
}
