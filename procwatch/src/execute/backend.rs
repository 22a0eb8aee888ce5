//! What every way of moving a process has in common.

use std::io;

use nix::errno::Errno;
use thiserror::Error;

use super::{HeldProcess, SessionName};
use crate::{
    cgroup::{CgroupPath, ResolveError, ResolvedCgroup, SliceRef},
    systemd::BusError,
};

/// A way of moving processes into a slice: into a leaf for each session, never into the slice itself.
///
/// A slice that processes were written into turns "domain threaded", after which its user's logins fail.
pub trait Backend {
    /// What it is called in the configuration.
    fn name(&self) -> &'static str;

    /// Makes `slice` ready to take sessions in. Called when a rule is armed, and again when a move found the slice
    /// gone: it may have become another cgroup of the same name then.
    ///
    /// # Errors
    /// [`PrepareError`]; nothing was changed then, or it was put back.
    fn prepare(&mut self, slice: &SliceRef) -> Result<Home, PrepareError>;

    /// Where the processes of `session` are put.
    fn leaf(&self, home: &Home, session: &SessionName) -> CgroupPath;

    /// Moves the process with all its threads into the session's leaf, which is made when it is not there.
    ///
    /// # Errors
    /// [`MoveError`]; the process is where it was then.
    fn place(
        &mut self,
        process: &HeldProcess,
        home: &Home,
        session: &SessionName,
    ) -> Result<CgroupPath, MoveError>;

    /// How many threads of the process placed last were bound to CPUs that its new cgroup does not have, and were set
    /// free.
    fn freed_threads(&self) -> u32 {
        0
    }

    /// Removes what it made for `slice`s and nobody lives in any more. What is inhabited stays as it is.
    fn tidy(&mut self);

    /// Another one serves the same slices from now on: what they need is left to it.
    fn hand_over(&mut self) {
        self.tidy();
    }
}

/// A slice that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The slice as it is now.
    pub slice: ResolvedCgroup,
    /// The cgroup in it below which the leaves are made.
    pub leaves: CgroupPath,
}

impl Home {
    /// A slice that is not there: nobody is in it, so its id, 0, is nobody's.
    pub fn absent(slice: &SliceRef) -> Self {
        let path = slice.path().clone();
        Self { leaves: path.clone(), slice: ResolvedCgroup { path, id: 0, depth: 0 } }
    }
}

/// Why a slice is not ready.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// It is not there.
    #[error(transparent)]
    Slice(#[from] ResolveError),
    /// A service manager refused, or could not be asked.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A service manager cannot do this, or did something else.
    #[error("{unit}: {what}")]
    Manager {
        /// The slice, or the unit in it.
        unit: String,
        /// What was said, escaped.
        what: String,
    },
    /// The kernel refused.
    #[error("{path}: {source}")]
    Io {
        /// The cgroup.
        path: CgroupPath,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why a process was not moved.
#[derive(Debug, Error)]
#[error("{path}: {}", .why.explained())]
pub struct MoveError {
    /// The cgroup that refused.
    pub path: CgroupPath,
    /// Why.
    pub why: Refusal,
}

/// What stood in the way of a move.
#[derive(Debug)]
pub enum Refusal {
    /// The kernel refused.
    Kernel(io::Error),
    /// A service manager refused, in its own words, escaped.
    Manager(String),
    /// The process ended while it was being moved, and its pid may have become another's.
    EndedMeanwhile,
    /// The unit that keeps the slice was stopped: limits of the slice may not hold in it any more.
    Unkept,
    /// The slice was not ready for the first of these reasons, and could not be made ready for the second.
    Unready(Box<Self>, PrepareError),
}

impl MoveError {
    /// The kernel's refusal at `path`.
    pub const fn kernel(path: CgroupPath, source: io::Error) -> Self {
        Self { path, why: Refusal::Kernel(source) }
    }

    /// The process ended before it could be moved.
    pub fn is_gone(&self) -> bool {
        matches!(self.why, Refusal::EndedMeanwhile) || self.errno() == Some(Errno::ESRCH)
    }

    /// The slice, or our leaf or unit in it, is not there any more: preparing it again may help.
    pub fn is_homeless(&self) -> bool {
        matches!(self.why, Refusal::Unkept) || matches!(self.errno(), Some(Errno::ENOENT | Errno::ENODEV))
    }

    /// Whether it may be otherwise in a moment, without anybody's doing: a service manager that is busy, a slice that comes
    /// back. What else the kernel refuses, it refuses again.
    pub fn may_pass(&self) -> bool {
        matches!(self.why, Refusal::Manager(_) | Refusal::Unready(..)) || self.is_homeless()
    }

    /// The same, after what was tried to make the slice ready failed, too.
    #[must_use]
    pub fn unready(self, why: PrepareError) -> Self {
        Self { why: Refusal::Unready(Box::new(self.why), why), ..self }
    }

    /// What it is counted as: the kernel's name of its error, `manager`, `ended` or `unkept`.
    pub fn name(&self) -> String {
        self.why.name()
    }

    /// The kernel's error, if it was the kernel.
    pub fn errno(&self) -> Option<Errno> {
        self.why.errno()
    }
}

impl Refusal {
    fn name(&self) -> String {
        match (self, self.errno()) {
            (Self::Unready(first, _), _) => first.name(),
            (_, Some(errno)) => format!("{errno:?}"),
            (Self::Kernel(error), None) => format!("{:?}", error.kind()),
            (Self::Manager(_), None) => "manager".to_owned(),
            (Self::EndedMeanwhile, None) => "ended".to_owned(),
            (Self::Unkept, None) => "unkept".to_owned(),
        }
    }

    fn errno(&self) -> Option<Errno> {
        match self {
            Self::Kernel(error) => error.raw_os_error().map(Errno::from_raw),
            Self::Unready(first, _) => first.errno(),
            Self::Manager(_) | Self::EndedMeanwhile | Self::Unkept => None,
        }
    }

    /// What is meant by it, and what to do.
    fn explained(&self) -> String {
        match self {
            Self::Kernel(error) => explain(error),
            Self::Manager(what) => what.clone(),
            Self::EndedMeanwhile => "the process has ended".to_owned(),
            Self::Unkept => "procwatch's unit in the slice was stopped".to_owned(),
            Self::Unready(first, why) => {
                format!("{}; and it could not be made ready: {why}", first.explained())
            }
        }
    }
}

fn explain(error: &io::Error) -> String {
    let why = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ESRCH) => "the process has ended",
        Some(Errno::ENOENT | Errno::ENODEV) => {
            "the slice is gone; it exists while its user has a session or a unit runs in it"
        }
        Some(Errno::EBUSY) => "the slice has controllers enabled below it or a partition refuses processes",
        Some(Errno::EOPNOTSUPP) => {
            "the slice is threaded: a process was written into the slice itself; move it into a leaf"
        }
        Some(Errno::ENOSPC) => "the slice's effective CPU or memory node set is empty",
        Some(Errno::EACCES) => "a delegation boundary or a security module forbids it",
        _ => return error.to_string(),
    };
    format!("{why} ({error})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expected_refusal_is_explained() {
        for errno in
            [Errno::ESRCH, Errno::ENOENT, Errno::EBUSY, Errno::EOPNOTSUPP, Errno::ENOSPC, Errno::EACCES]
        {
            let source = io::Error::from(errno);
            let plain = source.to_string();
            let shown = MoveError::kernel(CgroupPath::root(), source).to_string();
            assert!(shown.contains(&plain) && shown.len() > plain.len() + 10, "{shown}");
        }
    }

    #[test]
    fn why_a_slice_could_not_be_made_ready_is_told() {
        let refused = |why| MoveError { path: CgroupPath::root(), why };
        let manager = PrepareError::Manager { unit: "a.slice".to_owned(), what: "is masked".to_owned() };
        let error = refused(Refusal::Unkept).unready(manager);
        let expected = "/: procwatch's unit in the slice was stopped; and it could not be made ready: a.slice: is masked";
        assert_eq!(
            (error.to_string().as_str(), &*error.name(), error.may_pass()),
            (expected, "unkept", true)
        );
    }

    #[test]
    fn what_may_pass_is_told_from_what_stays() {
        let may_pass = |errno: Errno| MoveError::kernel(CgroupPath::root(), errno.into()).may_pass();
        assert!(may_pass(Errno::ENOENT) && may_pass(Errno::ENODEV));
        assert!(!may_pass(Errno::EOPNOTSUPP) && !may_pass(Errno::EACCES));
        let busy = MoveError { path: CgroupPath::root(), why: Refusal::Manager("busy".to_owned()) };
        assert!(busy.may_pass());
    }
}
