//! Records of a process' threads, in words.

use std::time::Duration;

use super::{detail::add_command, line::Line};
use crate::{
    record::{Alert, Bound, Cleared, Diagnosed, DiagnosisResult, Growth, Refused},
    sink::duration::Span,
};

pub(super) fn add_alert(alert: &Alert, line: &mut Line) {
    line.severity(alert.severity);
    line.add(format_args!(" {} threads (", alert.process.threads));
    add_why(alert, line);
    line.push(") ");
    let half = line.columns() / 2;
    add_command(&alert.command, half, line);
    for text in [&alert.exe, &alert.process.cgroup].into_iter().flatten() {
        line.push(" · ");
        line.foreign(text, half);
    }
    line.add(format_args!(" · age {}", Span(alert.age_ns)));
    if let Some(latency_ns) = alert.latency_ns {
        line.add(format_args!(" · +{}", Span(latency_ns)));
    }
    if alert.at_start {
        line.push(" · before procwatch came");
    }
}

/// The bound and what shows that it was crossed.
fn add_why(alert: &Alert, line: &mut Line) {
    match (alert.bound, &alert.growth) {
        (Bound::Burst, Some(growth)) => {
            let grown = alert.process.threads.saturating_sub(growth.from);
            line.add(format_args!("burst: +{grown} in {}", Span(growth.took_ns)));
        }
        (Bound::Leak, Some(growth)) => add_leak(alert, growth, line),
        (Bound::Stop, _) if alert.stopped == Some(true) => {
            line.add(format_args!("stopped at {}", alert.level));
        }
        (Bound::Stop, _) => line.add(format_args!("would be stopped at {}", alert.level)),
        _ => line.add(format_args!("level {}", alert.level)),
    }
    if alert.rule != "default" && !alert.rule.is_empty() {
        line.push(", ");
        line.words(&alert.rule);
    }
}

fn add_leak(alert: &Alert, growth: &Growth, line: &mut Line) {
    let Growth { from, took_ns, per_hour, next_level, next_level_in_s, .. } = growth;
    let threads = alert.process.threads;
    line.add(format_args!("leak: {from} to {threads} in {}, {per_hour:.1} an hour", Span(*took_ns)));
    if let (Some(level), Some(seconds)) = (next_level, next_level_in_s) {
        let left = Duration::from_secs(*seconds).as_nanos();
        line.add(format_args!("; {level} in {}", Span(u64::try_from(left).unwrap_or(u64::MAX))));
    }
}

pub(super) fn add_cleared(cleared: &Cleared, line: &mut Line) {
    line.severity(cleared.severity);
    if cleared.ended {
        line.push(" over: the process ended");
    } else {
        line.add(format_args!(" over: {} threads", cleared.process.threads));
    }
    line.add(format_args!(" ({} {})", cleared.bound.name(), cleared.level));
}

pub(super) fn add_diagnosis(diagnosed: &Diagnosed, line: &mut Line) {
    if diagnosed.result == DiagnosisResult::Failed {
        line.push("could not be looked at: ");
    }
    line.words(&diagnosed.headline);
    if diagnosed.result != DiagnosisResult::Failed {
        line.add(format_args!("  after {}", Span(diagnosed.took_ns)));
    }
}

pub(super) fn add_refused(refused: &Refused, line: &mut Line) {
    let verb = if refused.enforced { "refused" } else { "would have been refused" };
    line.add(format_args!("{} threads {verb}", refused.refused));
    match refused.cap {
        Some(cap) => line.add(format_args!(" so far (cap {cap})")),
        None => line.push(" in all; the process ended"),
    }
}
