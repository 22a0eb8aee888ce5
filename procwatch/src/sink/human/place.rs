//! What is particular to the records of placement.

use super::line::Line;
use crate::{
    record::{Decision, Hold, Mode, Outcome, Placement, Quantiles, Result, Verdict},
    sink::duration::Span,
};

pub(super) fn add_decision(decision: &Decision, line: &mut Line) {
    line.push(match (decision.verdict, decision.mode) {
        (Verdict::Move, Mode::Observe) => "would move",
        (Verdict::Move, Mode::Enforce) => "move",
        (Verdict::Leave, _) => "leave",
    });
    line.add(format_args!(" ({}", decision.reason.name()));
    if let Some(evidence) = &decision.evidence {
        line.push(": ");
        line.words(evidence);
    }
    line.push(")");
    if decision.verdict == Verdict::Move {
        line.push(" → ");
        line.words(&decision.target);
    }
    line.push("  rule ");
    line.words(&decision.rule);
    if let Some(tty) = &decision.tty {
        line.push("  ");
        line.foreign(tty, line.columns());
    }
}

pub(super) fn add_outcome(outcome: &Outcome, line: &mut Line) {
    line.push(match outcome.result {
        Result::Verified => "moved, verified",
        Result::Unverified => "move ordered, not verified",
        Result::Failed => "not moved",
        Result::Gone => "ended before it was moved",
    });
    if let Some(error) = &outcome.error {
        line.push(": ");
        line.words(error);
    }
    if let Some(outside_ns) = outcome.outside_ns {
        line.add(format_args!(", outside {}", Span(outside_ns)));
    }
    if let Some(threads) = outcome.freed_threads.filter(|threads| *threads > 0) {
        line.add(format_args!(", {threads} threads freed of their CPU affinity"));
    }
    if let Some(strays) = outcome.strays.filter(|strays| *strays > 0) {
        line.add(format_args!(", {strays} more after it"));
    }
    if let Some(still_outside) = outcome.still_outside {
        line.add(format_args!(", {still_outside} still outside"));
    }
    line.push("  ");
    if let Some(from) = &outcome.from {
        line.foreign(from, line.columns() / 2);
        line.push(" ");
    }
    line.push("→ ");
    line.words(&outcome.to);
}

pub(super) fn add_hold(hold: &Hold, line: &mut Line) {
    line.add(format_args!("held {}, {}  ", Span(hold.held_ns), hold.result.name()));
    line.foreign(&hold.file, line.columns());
}

pub(super) fn add_account(account: &Placement, line: &mut Line) {
    let Placement { sessions, moved, strays, born_outside, .. } = account;
    line.add(format_args!(
        "{sessions} sessions, {moved} moved; {strays} strays seen, {born_outside} born outside"
    ));
    if account.outside.count > 0 {
        line.push("; outside ");
        add_quantiles(account.outside, line);
    }
    for (result, count) in &account.holds.results {
        line.add(format_args!("; {count} held, {}", result.name()));
    }
    if account.holds.held.count > 0 {
        line.push("; held ");
        add_quantiles(account.holds.held, line);
    }
    for (reason, count) in &account.left_alone {
        line.add(format_args!("; {} {count}", reason.name()));
    }
    for (error, count) in &account.errors {
        line.add(format_args!("; refused {count}: "));
        line.words(error);
    }
}

fn add_quantiles(times: Quantiles, line: &mut Line) {
    let Quantiles { p50_ns, p99_ns, max_ns, .. } = times;
    line.add(format_args!("p50 {} p99 {} max {}", Span(p50_ns), Span(p99_ns), Span(max_ns)));
}
