//! What every way of moving a process has in common.

use std::io;

use nix::errno::Errno;
use thiserror::Error;

use crate::cgroup::CgroupPath;

/// A way of moving processes into a slice.
pub trait Backend {
    /// Moves the process with all its threads into a leaf below `slice`. Returns the leaf.
    ///
    /// # Errors
    /// [`MoveError`]; the process is where it was then.
    fn place(&mut self, pid: u32, slice: &CgroupPath) -> Result<CgroupPath, MoveError>;

    /// The leaf that processes of `slice` are moved into.
    fn leaf(&self, slice: &CgroupPath) -> CgroupPath;

    /// Removes what it made and nobody lives in any more.
    fn tidy(&mut self);
}

/// Why a process was not moved.
#[derive(Debug, Error)]
#[error("{path}: {}", explain(.source))]
pub struct MoveError {
    /// The cgroup that refused.
    pub path: CgroupPath,
    /// What the kernel said.
    pub source: io::Error,
}

impl MoveError {
    /// The process ended before it could be moved.
    pub fn is_gone(&self) -> bool {
        errno(&self.source) == Some(Errno::ESRCH)
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

/// What the kernel means by it, and what to do.
fn explain(error: &io::Error) -> String {
    let why = match errno(error) {
        Some(Errno::ESRCH) => "the process has ended",
        Some(Errno::ENOENT) => {
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
            let shown = MoveError { path: CgroupPath::root(), source }.to_string();
            assert!(shown.contains(&plain) && shown.len() > plain.len() + 10, "{shown}");
        }
    }
}
