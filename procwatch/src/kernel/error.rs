//! Why the kernel side does not run.

use std::io;

use aya::{maps::MapError, programs::ProgramError};
use thiserror::Error;

use super::btf::BtfError;

/// Why the kernel side does not run.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The build left the programs out.
    #[error("this procwatch was built without its kernel programs; build it with `cargo xtask build`")]
    NoObject,
    /// No or unreadable BTF.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// A structure is not as expected.
    #[error("this kernel lacks fields that procwatch must read: {}", .0.join(", "))]
    MissingFields(Vec<String>),
    /// What is pinned, or is to be.
    #[error(transparent)]
    Pin(#[from] super::pins::PinError),
    /// A tracepoint is not there.
    #[error("this kernel has no tracepoint {0}")]
    MissingTracepoint(&'static str),
    /// The kernel refused the object.
    #[error("the kernel did not take the programs: {0}")]
    Load(#[from] aya::EbpfError),
    /// The kernel refused one program.
    #[error("the kernel refused the program {name}: {}", explain(source))]
    Program {
        /// Its name.
        name: String,
        /// What the kernel said, with the verifier's log.
        source: ProgramError,
    },
    /// A map is not usable.
    #[error("map {name}: {source}")]
    Map {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        source: MapError,
    },
    /// The object does not hold what it should.
    #[error("the built-in object has no {0}")]
    Missing(&'static str),
    /// A ring or iterator could not be read.
    #[error("{what}: {source}")]
    Io {
        /// What could not be read.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl KernelError {
    /// Whether a map has no room for one more: that costs one process something, and not everybody the agent.
    pub fn is_full(&self) -> bool {
        let Self::Map { source: MapError::SyscallError(error), .. } = self else { return false };
        matches!(error.io_error.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC | libc::ENOMEM))
    }
}

/// The error with the end of the verifier's log: what comes before is the whole program.
fn explain(error: &ProgramError) -> String {
    const SHOWN: usize = 8;
    let ProgramError::LoadError { verifier_log, .. } = error else {
        return error.to_string();
    };
    let log = verifier_log.to_string();
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let end = &lines[lines.len().saturating_sub(SHOWN)..];
    format!("{}; the verifier's last lines:\n{}", short(error), end.join("\n"))
}

/// The error without the verifier's log.
pub(super) fn short(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, .. } => io_error.to_string(),
        ProgramError::SyscallError(error) => format!("{}: {}", error.call, error.io_error),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use super::*;

    #[test]
    fn a_full_map_is_told_from_other_errors() {
        let error = |number| KernelError::Map {
            name: "THREAD_CELLS",
            source: MapError::SyscallError(SyscallError {
                call: "bpf_map_update_elem",
                io_error: io::Error::from_raw_os_error(number),
            }),
        };
        assert!(error(libc::E2BIG).is_full() && error(libc::ENOMEM).is_full());
        assert!(!error(libc::EPERM).is_full() && !KernelError::NoObject.is_full());
    }
}
