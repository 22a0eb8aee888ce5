//! What a rule on threads means, for people and for programs.

use serde_json::{Value, json};

use crate::{
    config::{Containment, OnMissing, Step, ThreadRule},
    duration::exact,
    record::{Mode, Severity},
};

/// Short lines: what, and how it is.
pub(super) fn lines(rule: &ThreadRule, protection: Option<&str>, mode: Mode) -> Vec<(&'static str, String)> {
    if rule.ignore {
        return vec![("ignore", "its threads are not watched".to_owned())];
    }
    let mut lines = alerts(rule);
    lines.extend(limits(rule));
    for (alert, ladder) in rule.actions.ladders() {
        if !ladder.is_empty() {
            lines.push((alert, ladder.iter().map(step).collect::<Vec<_>>().join(", ")));
        }
    }
    if let Some(why) = protection {
        lines.push(("protected", format!("nothing but alerts and a diagnosis: {why}")));
    }
    let mode = match mode {
        Mode::Observe => "observe: what would be done is recorded, nothing is done",
        Mode::Enforce => "enforce",
    };
    lines.push(("mode", mode.to_owned()));
    lines
}

fn alerts(rule: &ThreadRule) -> Vec<(&'static str, String)> {
    let numbered = (0..).zip(&rule.levels);
    let levels: Vec<String> =
        numbered.map(|(index, level)| format!("{} at {level}", Severity::of_level(index).name())).collect();
    let none = || "none".to_owned();
    let mut lines =
        vec![("levels", if levels.is_empty() { none() } else { format!("{} threads", levels.join(", ")) })];
    let burst = rule.burst.map(|it| format!("{} more threads within {}", it.threads, exact(it.within)));
    lines.push(("burst", burst.unwrap_or_else(none)));
    let leak = rule.leak.map(|it| {
        format!("{} marks, each a quarter above the one before, in {} or more", it.marks, exact(it.over))
    });
    lines.push(("leak", leak.unwrap_or_else(none)));
    if let Some(normal) = rule.normal {
        lines.push(("normal", format!("{}-{} threads", normal.low, normal.high)));
    }
    lines
}

fn limits(rule: &ThreadRule) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(cap) = rule.cap {
        let otherwise = match rule.on_missing {
            OnMissing::Fallback => "without BPF LSM pids.max of a cgroup of its own does",
            OnMissing::Refuse => "without BPF LSM the agent does not start",
        };
        lines.push(("cap", format!("the kernel refuses more than {cap} threads; {otherwise}")));
    }
    if let Some(stop_at) = rule.stop_at {
        lines.push(("stop-at", format!("the kernel stops it (SIGSTOP) at {stop_at} threads")));
    }
    lines
}

fn step(step: &Step) -> String {
    let action = match step.action {
        Containment::Throttle { percent } => format!("throttle to {percent}% of one CPU"),
        Containment::Cap { threads: Some(threads) } => format!("cap at {threads} threads"),
        Containment::Cap { threads: None } => "cap at its threads of then".to_owned(),
        other => other.name().to_owned(),
    };
    if step.after.is_zero() { action } else { format!("after {} {action}", exact(step.after)) }
}

/// The same for programs. Times are in milliseconds.
pub(super) fn object(rule: &ThreadRule) -> Value {
    let ladders = rule.actions.ladders().map(|(alert, ladder)| {
        let steps: Vec<Value> = ladder.iter().map(step_object).collect();
        (alert.to_owned(), Value::from(steps))
    });
    json!({
        "ignore": rule.ignore,
        "normal": rule.normal.map(|it| json!({ "low": it.low, "high": it.high })),
        "levels": rule.levels,
        "burst": rule.burst.map(|it| json!({ "threads": it.threads, "within_ms": it.within.as_millis() as u64 })),
        "leak": rule.leak.map(|it| json!({ "marks": it.marks, "over_ms": it.over.as_millis() as u64 })),
        "cap": rule.cap,
        "stop_at": rule.stop_at,
        "on_missing": match rule.on_missing {
            OnMissing::Fallback => "fallback",
            OnMissing::Refuse => "refuse",
        },
        "protect": rule.protect,
        "actions": Value::Object(ladders.into_iter().collect()),
    })
}

fn step_object(step: &Step) -> Value {
    let (percent, threads) = match step.action {
        Containment::Throttle { percent } => (Some(percent), None),
        Containment::Cap { threads } => (None, threads),
        _ => (None, None),
    };
    json!({
        "do": step.action.name(),
        "after_ms": step.after.as_millis() as u64,
        "percent": percent,
        "threads": threads,
    })
}
