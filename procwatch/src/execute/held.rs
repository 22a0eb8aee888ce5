//! A process held by a pidfd, so that what is done to it is done to it and to nobody else.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    cgroup::CgroupPath,
    event::{ProcessKey, Subject},
    inspect::{self, Identity},
};

/// A process that was alive, and was the one that is meant, when the descriptor was opened.
///
/// A cgroup takes pids, not pidfds. As long as [`Self::is_alive`] says yes *after* a write, the pid was this process'
/// all the time: a pid is not given to another one before its process is gone.
#[derive(Debug)]
pub struct HeldProcess {
    fd: OwnedFd,
    key: ProcessKey,
    uid: u32,
    cgroup: Option<CgroupPath>,
}

impl HeldProcess {
    /// Holds `subject`.
    ///
    /// # Errors
    /// [`Identity::Gone`] when it has ended or another process bears its pid, [`Identity::OtherUids`] when it is
    /// somebody else's by now.
    pub fn open(subject: &Subject) -> Result<Self, Identity> {
        let pid = i32::try_from(subject.pid).ok().and_then(Pid::from_raw).ok_or(Identity::Gone)?;
        // The descriptor first: what is found to be the process meant after that stays so.
        let fd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| Identity::Gone)?;
        match inspect::identity(subject) {
            Identity::Same => Ok(Self { fd, key: subject.key(), uid: subject.uid, cgroup: None }),
            other => Err(other),
        }
    }

    /// Holds the process of this pid and start, whoever's it is; `None` when it has ended or another one bears its pid.
    pub fn of_key(key: ProcessKey) -> Option<Self> {
        let pid = i32::try_from(key.pid).ok().and_then(Pid::from_raw)?;
        // The descriptor first, as above.
        let fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some(Self { fd, key, uid: inspect::uid(key)?, cgroup: None })
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// What the kernel says; `ESRCH` when it has ended.
    pub fn send(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.fd, signal)?)
    }

    /// Waits for its end, at most `limit`. Returns how long that took; `None` when it is still there.
    ///
    /// # Errors
    /// When the descriptor cannot be asked.
    pub fn ends_within(&self, limit: Duration) -> io::Result<Option<Duration>> {
        let begun = Instant::now();
        loop {
            let left = limit.saturating_sub(begun.elapsed());
            let timeout =
                Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) if begun.elapsed() < limit => {}
                Ok(ready) => return Ok((ready > 0).then(|| begun.elapsed())),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for its end without keeping it held. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn ended(&self) -> io::Result<impl Future<Output = ()> + Send + use<>> {
        let fd = self.fd.try_clone()?;
        // SAFETY: the `OwnedFd` keeps its descriptor open, and the same, for as long as it lives.
        let end = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(async move {
            // An error is that the runtime ends, and then nobody waits.
            let _ = end.readable().await;
        })
    }

    /// The same, and in this cgroup when it was seen, where that is known.
    #[must_use]
    pub fn seen_in(self, cgroup: Option<CgroupPath>) -> Self {
        Self { cgroup, ..self }
    }

    /// The cgroup that it was seen in; `None` when that is not known.
    pub const fn cgroup(&self) -> Option<&CgroupPath> {
        self.cgroup.as_ref()
    }

    /// Its pid and start.
    pub const fn key(&self) -> ProcessKey {
        self.key
    }

    /// Its process id.
    pub const fn pid(&self) -> u32 {
        self.key.pid
    }

    /// Its real user id when it was held.
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// Whether it has not ended: its pidfd becomes readable then.
    ///
    /// # Errors
    /// When the descriptor cannot be asked.
    pub fn is_alive(&self) -> io::Result<bool> {
        is_alive(&self.fd)
    }
}

/// Whether the process behind a pidfd has not ended.
pub(super) fn is_alive(pidfd: &OwnedFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    Ok(poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0)
}
