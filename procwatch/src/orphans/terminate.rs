//! Asks orphans to end, and looks whether they did. Never more than SIGTERM.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use procfs::process::Process;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{Finding, facts, protected::is_protected};

/// Processes held at a time, each by a descriptor.
pub const BATCH: usize = 256;

/// What came of one process.
#[derive(Debug)]
pub enum Ending {
    /// It ended, so long after the signal.
    Ended(Duration),
    /// It was still there, so long after the signal.
    StillThere(Duration),
    /// It had ended before anything was sent.
    Gone,
    /// It is not as it was when it was judged, so nothing was sent.
    Changed(&'static str),
    /// The kernel refused the signal.
    Refused(io::Error),
}

/// A process that was sent the signal.
#[derive(Debug)]
struct Signalled {
    index: usize,
    fd: OwnedFd,
    at: Instant,
}

/// Sends SIGTERM to each of `findings`, at most [`BATCH`] of them, and waits for all of them together, at most `limit`.
/// Each is held by a pidfd, and then compared with what was judged. Returns what came of each, in their order.
pub fn terminate(findings: &[&Finding], limit: Duration) -> Vec<Ending> {
    let mut endings = Vec::with_capacity(findings.len());
    let mut open = Vec::new();
    for (index, finding) in findings.iter().enumerate() {
        match signal(finding) {
            Ok(fd) => {
                open.push(Signalled { index, fd, at: Instant::now() });
                endings.push(Ending::StillThere(Duration::ZERO));
            }
            Err(ending) => endings.push(ending),
        }
    }
    let deadline = Instant::now() + limit;
    while !open.is_empty() {
        let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
        if wait(&mut open, left, &mut endings).is_err() {
            break;
        }
    }
    for late in open {
        endings[late.index] = Ending::StillThere(late.at.elapsed());
    }
    endings
}

/// Holds the process, checks that it is still the one that was judged, and signals it.
fn signal(finding: &Finding) -> Result<OwnedFd, Ending> {
    let pid = i32::try_from(finding.facts.pid).ok().and_then(Pid::from_raw).ok_or(Ending::Gone)?;
    // The descriptor first: what is found to be the process meant after that stays so.
    let fd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| refusal(error.into()))?;
    unchanged(finding)?;
    pidfd_send_signal(&fd, Signal::TERM).map_err(|error| refusal(error.into()))?;
    Ok(fd)
}

fn refusal(error: io::Error) -> Ending {
    match error.raw_os_error() {
        Some(libc::ESRCH) => Ending::Gone,
        _ => Ending::Refused(error),
    }
}

/// Compares a process with what was judged. Its parent may be another one by now: that may just have been ended.
fn unchanged(finding: &Finding) -> Result<(), Ending> {
    let was = &finding.facts;
    let process = Process::new(was.pid.cast_signed()).map_err(|_| Ending::Gone)?;
    let is = facts::read(&process, |_| true).ok_or(Ending::Gone)?;
    if !is.is_same_process(was) || is.is_zombie() {
        return Err(Ending::Gone);
    }
    if (is.uid, is.euid) != (was.uid, was.euid) {
        return Err(Ending::Changed("it has another user now"));
    }
    if is.has_terminal && !was.has_terminal {
        return Err(Ending::Changed("it has a terminal now"));
    }
    if is_protected(&is.comm) {
        return Err(Ending::Changed("it runs a program now that is never touched"));
    }
    if is.origin != was.origin {
        return Err(Ending::Changed("it lives in another cgroup now"));
    }
    Ok(())
}

/// Waits until one or more have ended, at most `left`.
fn wait(open: &mut Vec<Signalled>, left: Duration, endings: &mut [Ending]) -> io::Result<()> {
    let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
    let mut polled: Vec<PollFd<'_>> = open.iter().map(|it| PollFd::new(&it.fd, PollFlags::IN)).collect();
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    // A pidfd is readable once the process has ended, reaped or not.
    let ended: Vec<bool> = polled.iter().map(|it| it.revents().contains(PollFlags::IN)).collect();
    let mut ended = ended.into_iter();
    open.retain(|it| {
        let has_ended = ended.next().unwrap_or(false);
        if has_ended {
            endings[it.index] = Ending::Ended(it.at.elapsed());
        }
        !has_ended
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        os::unix::process::ExitStatusExt as _,
        process::{Child, Command, Stdio},
    };

    use super::*;

    fn child(script: &str) -> Child {
        let mut command = Command::new("/bin/sh");
        let mut child = command.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        // It says when it is ready for a signal.
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        child
    }

    fn finding(child: &Child) -> Finding {
        let process = Process::new(child.id().cast_signed()).unwrap();
        Finding { facts: facts::read(&process, |_| true).unwrap(), why: String::new() }
    }

    #[test]
    fn what_ends_and_what_does_not_is_measured() {
        let mut obedient = child("echo ready; exec sleep 60");
        let mut stubborn = child("trap '' TERM; echo ready; exec sleep 60");
        let (first, second) = (finding(&obedient), finding(&stubborn));
        let endings = terminate(&[&first, &second], Duration::from_millis(200));
        assert!(matches!(endings[0], Ending::Ended(_)), "{endings:?}");
        assert!(matches!(endings[1], Ending::StillThere(after) if after.as_millis() >= 200), "{endings:?}");
        assert_eq!(obedient.wait().unwrap().signal(), Some(libc::SIGTERM));
        assert!(stubborn.try_wait().unwrap().is_none(), "never more than SIGTERM");
        stubborn.kill().unwrap();
        stubborn.wait().unwrap();
    }

    #[test]
    fn another_process_of_the_same_pid_is_left_alone() {
        let mut child = child("echo ready; exec sleep 60");
        let mut other = finding(&child);
        other.facts.start_ticks += 1;
        assert!(matches!(terminate(&[&other], Duration::ZERO)[..], [Ending::Gone]));
        let mut other = finding(&child);
        other.facts.uid += 1;
        assert!(matches!(terminate(&[&other], Duration::ZERO)[..], [Ending::Changed(_)]));
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        let gone = finding_of_gone(&child);
        assert!(matches!(terminate(&[&gone], Duration::ZERO)[..], [Ending::Gone]));
    }

    fn finding_of_gone(child: &Child) -> Finding {
        let facts = facts::read(&Process::myself().unwrap(), |_| false).unwrap();
        Finding { facts: super::super::Facts { pid: child.id(), ..facts }, why: String::new() }
    }
}
