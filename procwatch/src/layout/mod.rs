//! Which CPUs which slice has: what is wanted held against what is, and set.
//!
//! [`facts`] looks, [`judge`] compares and knows nothing of files, [`plan`] says which files would have to change,
//! [`change`] changes them all or none, and [`state`] remembers what was there before.

pub mod change;
pub mod facts;
pub mod judge;
pub mod outside;
pub mod plan;
pub mod state;
pub mod unit;
pub mod usage;

use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{
    cgroup::{CgroupPath, MountError},
    config::ConfigError,
    systemd::BusError,
    text::escape,
};

/// Why a layout can be neither judged nor set.
#[derive(Debug, Error)]
pub enum LayoutError {
    /// A file could not be read, or is not what it should be.
    #[error("{}: {what}", escape(file.as_os_str().as_encoded_bytes()))]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong, escaped.
        what: String,
    },
    /// The cgroup2 hierarchy.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A cgroup that systemd does not make.
    #[error("{cgroup}: {why}")]
    NoUnit {
        /// The cgroup.
        cgroup: CgroupPath,
        /// Why it is no unit.
        why: &'static str,
    },
    /// The service manager refused or could not be asked.
    #[error(transparent)]
    Manager(#[from] BusError),
    /// Something was changed by others since it was set, and would be lost.
    #[error(
        "{}: was changed since procwatch set it, so nothing was touched; look at it, then --force overwrites it",
        escape(.0.as_os_str().as_encoded_bytes())
    )]
    Edited(PathBuf),
    /// A change failed, and all before it were taken back.
    #[error("{why}; all is as it was before")]
    TakenBack {
        /// What failed.
        why: Box<Self>,
    },
    /// A change failed, and taking back those before it did so too.
    #[error("{why}; and it could not all be taken back: {then}")]
    HalfDone {
        /// What failed first.
        why: Box<Self>,
        /// What failed when it was to be taken back.
        then: Box<Self>,
    },
    /// All was changed, and then the kernel or the service manager did not answer.
    #[error("all was written, but what came of it is not known: {why}; procwatch layout check tells")]
    Unmeasured {
        /// What failed.
        why: Box<Self>,
    },
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Standard output or input.
    #[error("the terminal or pipe: {0}")]
    Stdio(#[from] io::Error),
    /// The command cannot do this here.
    #[error("{0}")]
    Refused(String),
}

impl LayoutError {
    /// Something is wrong with a file. `what` is not of foreign origin, or escaped.
    pub(crate) fn at(file: &Path, what: impl Display) -> Self {
        Self::File { file: file.to_owned(), what: what.to_string() }
    }
}
