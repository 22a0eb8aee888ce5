//! `[threads.actions]`: what is done at which alert, step by step.

use std::time::Duration;

use procwatch_common::policy::FLOOR_THREADS;
use toml::{Spanned, de::DeValue};

use super::{
    super::{Actions, Containment, Step, error::quote, read::Reader},
    Entry, MAX_THREADS,
    growth::AFTER,
};

/// Most rungs of one ladder.
const MOST: usize = 16;
/// Most percent of one CPU.
const MOST_PERCENT: u32 = 10_000;
const KEYS: [&str; 6] = ["notice", "warning", "critical", "emergency", "burst", "leak"];
const EXAMPLE: &str = "[\"diagnose\", { do = \"throttle\", cpu = \"50%\", after = \"30s\" }]";

/// A word of a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// What happens in any case.
    Alert,
    /// Needs to be told how much.
    Throttle,
    Do(Containment),
}

const WORDS: [(&str, Word); 9] = [
    ("diagnose", Word::Do(Containment::Diagnose)),
    ("throttle", Word::Throttle),
    ("freeze", Word::Do(Containment::Freeze)),
    ("thaw", Word::Do(Containment::Thaw)),
    ("cap", Word::Do(Containment::Cap { threads: None })),
    ("terminate", Word::Do(Containment::Terminate)),
    ("restart", Word::Do(Containment::Restart)),
    ("kill", Word::Do(Containment::Kill)),
    ("alert", Word::Alert),
];

pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Actions {
    let Some((value, field)) = entry.get("actions") else {
        return Actions::default();
    };
    let Some(table) = reader.table(value, &field, "{ warning = [\"diagnose\"] }") else {
        return Actions::default();
    };
    let actions = Entry { name: field, span: value.span(), table };
    reader.check_keys(table, &actions.field(""), &KEYS);
    let mut ladder = |key| read_ladder(reader, &actions, key);
    Actions {
        notice: ladder("notice"),
        warning: ladder("warning"),
        critical: ladder("critical"),
        emergency: ladder("emergency"),
        burst: ladder("burst"),
        leak: ladder("leak"),
    }
}

fn read_ladder(reader: &mut Reader<'_>, actions: &Entry<'_, '_>, key: &str) -> Vec<Step> {
    let Some((value, field)) = actions.get(key) else {
        return Vec::new();
    };
    let rungs = reader.list(value, &field, MOST, EXAMPLE).unwrap_or_default();
    let numbered = rungs.into_iter().zip(1..);
    numbered.filter_map(|(rung, number)| read_rung(reader, rung, &format!("{field}[{number}]"))).collect()
}

/// A word, or a table with more about it. `None` for an alert, which is no step, and for what is wrong.
fn read_rung(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, field: &str) -> Option<Step> {
    match value.get_ref() {
        DeValue::Table(table) => {
            let rung = Entry { name: field.to_owned(), span: value.span(), table };
            read_table(reader, &rung)
        }
        DeValue::String(_) => {
            let action = match reader.word(value, field, "action", &WORDS)? {
                Word::Do(action) => action,
                Word::Alert => return None,
                Word::Throttle => {
                    let right = "{ do = \"throttle\", cpu = \"50%\" }";
                    reader.bad(
                        &value.span(),
                        field,
                        format!("throttle needs to be told how much; right is e.g. {right}"),
                    );
                    return None;
                }
            };
            Some(Step { action, after: Duration::ZERO })
        }
        _ => {
            reader.wrong_type(value, field, format_args!("a word or a table, e.g. {EXAMPLE}"));
            None
        }
    }
}

fn read_table(reader: &mut Reader<'_>, rung: &Entry<'_, '_>) -> Option<Step> {
    reader.check_keys(rung.table, &rung.field(""), &["do", "cpu", "threads", "after"]);
    let after = rung.get("after").and_then(|(value, field)| reader.time(value, &field, AFTER, "30s"));
    let cpu = rung.get("cpu").and_then(|(value, field)| read_percent(reader, value, &field));
    let threads = rung
        .get("threads")
        .and_then(|(value, field)| reader.number(value, &field, (FLOOR_THREADS, MAX_THREADS)));
    let Some((value, field)) = rung.get("do") else {
        reader.bad(&rung.span, rung.field("do"), "missing; right is e.g. do = \"diagnose\"");
        return None;
    };
    let word = reader.word(value, &field, "action", &WORDS)?;
    let is_cap = matches!(word, Word::Do(Containment::Cap { .. }));
    for (key, fits, right) in [
        ("cpu", word == Word::Throttle, "throttle"),
        ("threads", is_cap, "cap"),
        ("after", word != Word::Alert, "an action; the alert itself comes at once"),
    ] {
        if !fits && let Some((value, field)) = rung.get(key) {
            let what = format!("is nothing that {} has; it belongs to {right}", shown(rung));
            reader.bad(&value.span(), field, what);
        }
    }
    let action = match word {
        Word::Alert => return None,
        Word::Do(Containment::Cap { .. }) => Containment::Cap { threads },
        Word::Do(action) => action,
        Word::Throttle => {
            if rung.get("cpu").is_none() {
                reader.bad(&rung.span, rung.field("cpu"), "missing; right is e.g. cpu = \"50%\", of one CPU");
            }
            Containment::Throttle { percent: cpu? }
        }
    };
    Some(Step { action, after: after.unwrap_or_default() })
}

fn shown(rung: &Entry<'_, '_>) -> String {
    rung.get("do").and_then(|(value, _)| value.get_ref().as_str()).map(quote).unwrap_or_default()
}

/// `50%`, of one CPU.
fn read_percent(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, field: &str) -> Option<u32> {
    let text = reader.text(value, field, "50%")?;
    let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let percent = digits.and_then(|digits| digits.parse().ok()).filter(|it| (1..=MOST_PERCENT).contains(it));
    if percent.is_none() {
        let what = format!(
            "{} is no share of CPU time from 1% to {MOST_PERCENT}%; right is e.g. \"50%\", half of one CPU",
            quote(text)
        );
        reader.bad(&value.span(), field, what);
    }
    percent
}
