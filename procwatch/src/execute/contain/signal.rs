//! The end of a process: asked for, or brought about.

use std::{io, time::Duration};

use rustix::process::Signal;

use super::{freeze::shown, target::Target, work::Measured};
use crate::record::ActResult;

/// How long a process has to end after SIGTERM before that is told.
const TERMINATED_WITHIN: Duration = Duration::from_secs(10);
/// The same after SIGKILL.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// Asks the process to end, and waits for that. `loosen` is called once it was asked: one that is frozen or stopped hears
/// nothing. It says in words what it did, if it did anything.
pub(super) fn terminate(target: &Target, loosen: impl FnOnce() -> Option<String>) -> Measured {
    if let Err(measured) = send(target, Signal::TERM) {
        return measured;
    }
    let loosened = loosen();
    let measured = wait(target, "SIGTERM", TERMINATED_WITHIN);
    match loosened {
        Some(words) => Measured { detail: format!("{}; {words} for it", measured.detail), ..measured },
        None => measured,
    }
}

/// Ends the process, and waits until it is gone. A frozen one ends, too.
pub(super) fn kill(target: &Target) -> Measured {
    send(target, Signal::KILL).map_or_else(|gone| gone, |()| wait(target, "SIGKILL", KILLED_WITHIN))
}

/// Sends a signal; the error is what the action came to then.
pub(super) fn send(target: &Target, signal: Signal) -> Result<(), Measured> {
    let sent = target.held().send(signal);
    sent.map_err(|error| match error.raw_os_error() {
        Some(libc::ESRCH) => Measured::gone(),
        _ => Measured::new(ActResult::Failed, format!("the kernel refused the signal: {error}")),
    })
}

fn wait(target: &Target, signal: &str, limit: Duration) -> Measured {
    match target.held().ends_within(limit) {
        Ok(Some(took)) => Measured::new(ActResult::Verified, format!("ended {} after {signal}", shown(took))),
        Ok(None) => {
            Measured::new(ActResult::Unverified, format!("still there {} after {signal}", shown(limit)))
        }
        Err(error) => unasked(&error),
    }
}

fn unasked(error: &io::Error) -> Measured {
    Measured::new(ActResult::Unverified, format!("its end could not be waited for: {error}"))
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::ExitStatusExt as _,
        process::{Child, Command},
    };

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[test]
    fn an_end_is_measured() {
        let mut child = sleeper();
        let target = Target::of_pid(child.id()).unwrap();
        let measured = terminate(&target, || Some("thawed".to_owned()));
        assert_eq!(measured.result, ActResult::Verified);
        assert!(measured.detail.contains("after SIGTERM; thawed for it"), "{}", measured.detail);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
        assert_eq!(kill(&target), Measured::gone());
    }

    #[test]
    fn what_does_not_end_is_told() {
        let mut child = sleeper();
        let target = Target::of_pid(child.id()).unwrap();
        let measured = wait(&target, "SIGTERM", Duration::from_millis(30));
        assert_eq!(measured, Measured::new(ActResult::Unverified, "still there 30 ms after SIGTERM"));
        assert_eq!(kill(&target).result, ActResult::Verified);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    }
}
