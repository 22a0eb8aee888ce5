//! What is particular to the records of containment.

use super::line::Line;
use crate::{
    record::{Act, ActResult, Deed, Mode},
    sink::duration::Span,
};

/// `throttle to 50% of a CPU: verified, cpu.max 50000 100000, 510→512 threads`, then what asked for it, and the cell.
pub(super) fn add_act(act: &Act, line: &mut Line) {
    add_deed(act, line);
    line.add(format_args!(": {}", act.result.name()));
    if let Some(reason) = act.reason {
        line.add(format_args!(" ({})", reason.name()));
    }
    if !act.detail.is_empty() {
        line.push(", ");
        line.words(&act.detail);
    }
    if let (Some(before), Some(after)) = (act.threads_before, act.threads_after) {
        line.add(format_args!(", {before}→{after} threads"));
    }
    if !matches!(act.result, ActResult::Refused | ActResult::Unavailable | ActResult::Would) {
        line.add(format_args!(", took {}", Span(act.took_ns)));
    }
    line.add(format_args!(" · {}", act.occasion.name()));
    if let Some(rule) = &act.rule {
        line.push(" of ");
        line.words(rule);
    }
    if let Some(cell) = &act.cell {
        line.push(" · ");
        line.foreign(cell, line.columns() / 2);
    }
}

fn add_deed(act: &Act, line: &mut Line) {
    if act.undo {
        line.push("undo ");
    } else if act.mode == Mode::Observe {
        line.push("would ");
    }
    line.push(act.action.name());
    match (act.action, act.limit) {
        (Deed::Throttle, Some(percent)) => line.add(format_args!(" to {percent}% of a CPU")),
        (Deed::Cap, Some(threads)) => line.add(format_args!(" at {threads} threads")),
        _ => {}
    }
}
