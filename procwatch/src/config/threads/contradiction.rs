//! What is wrong with a rule though each of its values is right.

use super::{
    super::{Containment, ThreadRule, read::Reader},
    Entry, hazard,
};

/// Places of the levels in their list.
const ORDINALS: [&str; 4] = ["first", "second", "third", "fourth"];

pub(super) fn check(reader: &mut Reader<'_>, entry: &Entry<'_, '_>, rule: &ThreadRule) {
    if rule.ignore {
        return check_ignored(reader, entry);
    }
    check_counts(reader, entry, rule);
    check_ladders(reader, entry, rule);
    check_protection(reader, entry, rule);
    check_hazard(reader, entry, rule);
}

/// Whom nobody watches nothing happens to.
fn check_ignored(reader: &mut Reader<'_>, entry: &Entry<'_, '_>) {
    for key in ["normal", "levels", "burst", "leak", "cap", "stop-at", "on-missing", "protect", "actions"] {
        if let Some((value, field)) = entry.get(key) {
            let what =
                format!("goes against ignore = true, which watches nothing; take {key} or ignore away");
            reader.bad(&value.span(), field, what);
        }
    }
}

fn check_counts(reader: &mut Reader<'_>, entry: &Entry<'_, '_>, rule: &ThreadRule) {
    if let (Some(cap), Some(stop_at)) = (rule.cap, rule.stop_at)
        && stop_at > cap
    {
        let what = format!(
            "{stop_at} is never reached, because cap refuses more than {cap}; lower it, or raise cap"
        );
        reader.bad(&entry.span_of("stop-at"), entry.field("stop-at"), what);
    }
    if let (Some(normal), Some(level)) = (rule.normal, rule.levels.first())
        && normal.high >= *level
    {
        let what = format!(
            "{} threads are normal, and {level} raise an alert; give levels above {}",
            normal.high, normal.high
        );
        reader.bad(&entry.span_of("normal"), entry.field("normal"), what);
    }
    let caps = containments(rule).iter().any(|(_, name)| *name == "cap");
    if entry.get("on-missing").is_some() && !caps {
        let what = "says what to do instead of cap, and this rule has no cap; give one, or take it away";
        reader.bad(&entry.span_of("on-missing"), entry.field("on-missing"), what);
    }
}

/// Each ladder hangs on an alert.
fn check_ladders(reader: &mut Reader<'_>, entry: &Entry<'_, '_>, rule: &ThreadRule) {
    let Some(actions) = entry.table.get("actions").and_then(|value| value.get_ref().as_table()) else {
        return;
    };
    for (index, (key, _)) in rule.actions.ladders().into_iter().enumerate() {
        let missing = match key {
            "burst" => rule.burst.is_none().then(|| "burst is false".to_owned()),
            "leak" => rule.leak.is_none().then(|| "leak is false".to_owned()),
            _ => (index >= rule.levels.len()).then(|| match rule.levels.len() {
                0 => "levels is false".to_owned(),
                count => format!("{key} is the {} level, and levels has {count}", ORDINALS[index]),
            }),
        };
        if let (Some(missing), Some(value)) = (missing, actions.get(key)) {
            let what = format!("never happens, because {missing}; give that alert, or take the ladder away");
            reader.bad(&value.span(), entry.field(&format!("actions.{key}")), what);
        }
    }
}

fn check_protection(reader: &mut Reader<'_>, entry: &Entry<'_, '_>, rule: &ThreadRule) {
    for (path, name) in containments(rule).into_iter().filter(|_| rule.protect) {
        let what =
            format!("{name} goes against protect = true, which lets only diagnose be; take one of them away");
        reader.bad(&entry.span_of(&path), entry.field(&path), what);
    }
}

/// What stops or ends a process needs to be told whom it may hit, and may hit nobody who is protected.
fn check_hazard(reader: &mut Reader<'_>, entry: &Entry<'_, '_>, rule: &ThreadRule) {
    let grave: Vec<_> = containments(rule).into_iter().filter(|(_, name)| hazard::is_grave(name)).collect();
    if grave.is_empty() {
        return;
    }
    let why = if rule.is_catch_all() {
        "could hit every process, because this rule has no match key; name whom it may hit, e.g. comm = \"python3\""
            .to_owned()
    } else if let Some(victim) = hazard::victim(&rule.matches) {
        format!("could hit {victim}, which is protected; name whom it may hit more closely, e.g. by comm")
    } else {
        return;
    };
    for (path, name) in grave {
        reader.bad(&entry.span_of(&path), entry.field(&path), format!("{name} {why}"));
    }
}

/// What the rule does to a process, but for diagnoses: where that stands, and its name; of a ladder the first of each.
pub(super) fn containments(rule: &ThreadRule) -> Vec<(String, &'static str)> {
    let of_kernel = [("cap", rule.cap), ("stop-at", rule.stop_at)];
    let mut found: Vec<_> = of_kernel
        .into_iter()
        .filter(|(_, limit)| limit.is_some())
        .map(|(name, _)| (name.to_owned(), name))
        .collect();
    for (key, ladder) in rule.actions.ladders() {
        for step in ladder.iter().filter(|step| step.action != Containment::Diagnose) {
            found.push((format!("actions.{key}"), step.action.name()));
        }
    }
    found.dedup();
    found
}
