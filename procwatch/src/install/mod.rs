//! The files that make procwatch a service of a machine, and putting them there.
//!
//! [`files`] says which they are and where they belong; [`folder`] puts them there and takes them away again, exactly;
//! [`system`] has the rest of the machine take note. `procwatch install` does all of it for the binary that it is a part
//! of; a Debian package is made of the same files.

pub mod files;
pub mod folder;
mod manual;
pub mod receipt;
pub mod system;

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::text::shown;

/// Why procwatch is not installed, or not removed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A file or folder cannot be read, made or removed.
    #[error("{}: {source}", shown(.path))]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Something that is not ours stands where a file belongs.
    #[error("{}: {what}", shown(.path))]
    InTheWay {
        /// Where.
        path: PathBuf,
        /// What it is, and what to do.
        what: &'static str,
    },
    /// The machine is not in a state for it.
    #[error("{0}")]
    Refused(String),
    /// A program of the system failed.
    #[error("`{command}` failed: {what}")]
    Command {
        /// The command line.
        command: String,
        /// Its last words, or why it could not be started; escaped.
        what: String,
    },
}

impl InstallError {
    /// For `map_err`: names the file.
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
