//! Why a process cannot be looked at.

use std::io;

use thiserror::Error;

/// Why nothing can be said about a process.
#[derive(Debug, Error)]
pub enum DiagnoseError {
    /// Nobody bears that pid.
    #[error("there is no process {0}")]
    None(u32),
    /// The process has ended, or ended meanwhile and another one bears its pid.
    #[error("process {0} ended while it was looked at")]
    Gone(u32),
    /// The id is that of a thread.
    #[error("{tid} is a thread of process {pid}; use: procwatch diagnose {pid}")]
    Thread {
        /// The id.
        tid: u32,
        /// Its process.
        pid: u32,
    },
    /// It is a thread of the kernel.
    #[error("{0} is a thread of the kernel: it has no threads and no code that could be named")]
    Kernel(u32),
    /// It may not be looked at, or could not be.
    #[error("process {pid}: {source}")]
    Unreadable {
        /// Its pid.
        pid: u32,
        /// What the kernel said.
        source: io::Error,
    },
}
