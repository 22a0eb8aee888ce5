//! Stopping a process by a signal, and letting it go on.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    freeze::shown,
    signal::send,
    target::Target,
    work::{Measured, Work},
};
use crate::{event::ProcessKey, record::ActResult};

/// How long the kernel may take to show a process as stopped or not.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Stops the process, all its threads.
pub(super) fn stop(work: &mut Work<'_>) -> Result<Measured, Measured> {
    let mut entry = work.entry();
    let before = if work.target.is_stopped() { "stopped" } else { "running" };
    let known = entry.stopped.take();
    let before = known.as_ref().map_or_else(|| before.to_owned(), |known| known.before.clone());
    entry.stopped = Some(work.effect(known.as_ref(), before.clone(), false));
    work.keep(&entry)?;
    if let Err(measured) = send(work.target, Signal::STOP) {
        entry.stopped = known;
        work.settle(entry)?;
        return Err(measured);
    }
    entry.stopped = Some(work.effect(known.as_ref(), before, true));
    work.keep(&entry)?;
    Ok(match await_state(work.target, true) {
        Some(took) => Measured::new(ActResult::Verified, format!("stopped after {}", shown(took))),
        None => Measured::new(ActResult::Unverified, format!("not stopped after {}", shown(SHOWN_WITHIN))),
    })
}

/// Notes that the process was stopped by the kernel program, and waits until that shows.
pub(super) fn note(work: &mut Work<'_>) -> Result<Measured, Measured> {
    let mut entry = work.entry();
    let known = entry.stopped.take();
    let before = known.as_ref().map_or_else(|| "running".to_owned(), |known| known.before.clone());
    entry.stopped = Some(work.effect(known.as_ref(), before, true));
    work.keep(&entry)?;
    Ok(match await_state(work.target, true) {
        Some(_) => Measured::new(ActResult::Verified, "stopped by the kernel program"),
        None => Measured::new(ActResult::Unverified, format!("not stopped after {}", shown(SHOWN_WITHIN))),
    })
}

/// Lets a process go on that was stopped, unless it was stopped before that.
///
/// # Errors
/// What the kernel says, or shows in place of that, in words.
pub(super) fn resume(key: ProcessKey, before: &str) -> Result<String, String> {
    let Some(target) = Target::of_key(key) else {
        return Ok("it has ended".to_owned());
    };
    if before == "stopped" {
        return Ok("stopped as it was before".to_owned());
    }
    match send(&target, Signal::CONT) {
        Err(measured) if measured.result == ActResult::Gone => return Ok("it has ended".to_owned()),
        Err(measured) => return Err(measured.detail),
        Ok(()) => {}
    }
    match await_state(&target, false) {
        Some(took) => Ok(format!("goes on after {}", shown(took))),
        None => Err(format!("still stopped {} after SIGCONT", shown(SHOWN_WITHIN))),
    }
}

/// Waits until it is stopped, or is not. Returns how long that took.
fn await_state(target: &Target, stopped: bool) -> Option<Duration> {
    let begun = Instant::now();
    while target.is_stopped() != stopped {
        if begun.elapsed() > SHOWN_WITHIN {
            return None;
        }
        thread::sleep(LOOK_AGAIN);
    }
    Some(begun.elapsed())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_was_stopped_goes_on() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let target = Target::of_pid(child.id()).unwrap();
        send(&target, Signal::STOP).unwrap();
        assert!(await_state(&target, true).is_some());
        assert_eq!(resume(target.key(), "stopped").unwrap(), "stopped as it was before");
        assert!(target.is_stopped());
        assert!(resume(target.key(), "running").unwrap().starts_with("goes on after"));
        assert!(!target.is_stopped());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(resume(target.key(), "running").unwrap(), "it has ended");
    }
}
