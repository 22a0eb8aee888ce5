//! Filters as they are typed.

use std::collections::{BTreeSet, HashSet};

use clap::ValueEnum;
use nix::unistd::User;
use procwatch_common::wire::{COMM_LEN, Kind};
use thiserror::Error;

use super::{Filter, MAX_PIDS, MAX_VALUES, watched::Watched};
use crate::text::Comm;

/// A kind of event as listeners name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum EventKind {
    /// A process was created
    Fork,
    /// A process runs a new program
    Exec,
    /// A process ended
    Exit,
    /// A thread was created
    Thread,
    /// A thread ended and its process lives on
    ThreadExit,
    /// A process changed its uids
    Uid,
    /// A process was moved to another cgroup
    Cgroup,
    /// A process rose to a thread level, or fell back below it
    Alert,
}

impl EventKind {
    /// The kernel's kinds that this one stands for.
    pub const fn wire_kinds(self) -> &'static [Kind] {
        match self {
            Self::Fork => &[Kind::Fork],
            Self::Exec => &[Kind::Exec],
            Self::Exit => &[Kind::Exit],
            Self::Thread => &[Kind::Thread],
            Self::ThreadExit => &[Kind::ThreadExit],
            Self::Uid => &[Kind::Uid],
            Self::Cgroup => &[Kind::Cgroup],
            Self::Alert => &[Kind::LevelCrossed, Kind::LevelCleared],
        }
    }

    /// What listeners call the kernel's `kind`; `None` for those that concern placement alone.
    pub fn of(kind: Kind) -> Option<Self> {
        Self::value_variants().iter().copied().find(|event| event.wire_kinds().contains(&kind))
    }
}

/// What the command line says about which events are wanted. Lists are separated by commas; options may be repeated;
/// different options must all agree.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct FilterArgs {
    /// Only these kinds of events
    #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',')]
    pub kind: Vec<EventKind>,
    /// Of whom.
    #[command(flatten)]
    pub who: WhoArgs,
}

/// What the command line says about whose events are wanted.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct WhoArgs {
    /// Only processes of these real or effective uids
    #[arg(long, value_name = "UID", value_delimiter = ',')]
    pub uid: Vec<u32>,
    /// Only processes of these users; adds to --uid
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub user: Vec<String>,
    /// Only events caused by tasks of these names (at most 15 bytes each)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub comm: Vec<String>,
    /// Only these processes
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// With --pid: and all that they fork
    #[arg(long, requires = "pid")]
    pub children: bool,
    /// Only processes in or below this cgroup, as user.slice or /user.slice/user-1000.slice
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<String>,
}

/// A filter that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FilterError {
    /// No such user.
    #[error("--user {name:?}: no such user; `getent passwd` lists those there are, --uid takes a number")]
    UnknownUser {
        /// As it was given.
        name: String,
    },
    /// The user database did not answer.
    #[error("--user {name:?}: the user database failed ({error}); --uid takes a number")]
    UserDatabase {
        /// As it was given.
        name: String,
        /// What it said.
        error: nix::Error,
    },
    /// No task can have this name.
    #[error(
        "--comm {name:?} has {} bytes: the kernel keeps 1 to {} of a name (TASK_COMM_LEN); give those",
        name.len(),
        COMM_LEN - 1
    )]
    CommLength {
        /// As it was given.
        name: String,
    },
    /// More than the kernel's map holds.
    #[error("{option}: {given} values are more than the {max} that the kernel programs can hold")]
    TooMany {
        /// The option.
        option: &'static str,
        /// How many fit.
        max: usize,
        /// How many it got.
        given: usize,
    },
    /// `--children` of nobody.
    #[error("--children needs --pid: whose children?")]
    ChildrenOfNobody,
    /// Not the path of a cgroup.
    #[error(
        "--cgroup {path:?} is no path below the cgroup root: give it as user.slice or /user.slice/user-1000.slice"
    )]
    CgroupPath {
        /// As it was given.
        path: String,
    },
}

impl Filter {
    /// The filter that `args` describe. Users are looked up in the system's database; whether processes and the
    /// cgroup exist is not asked.
    ///
    /// # Errors
    /// When a value cannot be meant as it stands; the message names the option, the value and what to do.
    pub fn from_args(args: &FilterArgs) -> Result<Self, FilterError> {
        let kinds = if args.kind.is_empty() { EventKind::value_variants() } else { &args.kind };
        Self::new(kinds.iter().copied().collect(), &args.who)
    }

    /// The filter for these kinds, none of them for an empty set, of those that `args` describe.
    ///
    /// # Errors
    /// As for [`Self::from_args`].
    pub fn new(kinds: BTreeSet<EventKind>, args: &WhoArgs) -> Result<Self, FilterError> {
        if args.children && args.pid.is_empty() {
            return Err(FilterError::ChildrenOfNobody);
        }
        let pids = bounded("--pid", MAX_PIDS, args.pid.iter().copied().collect())?;
        Ok(Self {
            kinds,
            uids: uids(args)?,
            comms: comms(args)?,
            watched: args.children.then(|| Watched::new(pids.iter().copied())),
            pids,
            cgroup: args.cgroup.as_deref().map(cgroup_path).transpose()?,
            alerts: HashSet::new(),
            alone: false,
        })
    }
}

fn uids(args: &WhoArgs) -> Result<BTreeSet<u32>, FilterError> {
    let mut uids: BTreeSet<u32> = args.uid.iter().copied().collect();
    for name in &args.user {
        uids.insert(uid_of(name)?);
    }
    bounded("--uid and --user", MAX_VALUES, uids)
}

fn uid_of(name: &str) -> Result<u32, FilterError> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err(FilterError::UnknownUser { name: name.to_owned() }),
        Err(error) => Err(FilterError::UserDatabase { name: name.to_owned(), error }),
    }
}

fn comms(args: &WhoArgs) -> Result<HashSet<Comm>, FilterError> {
    let comms: BTreeSet<&str> = args.comm.iter().map(String::as_str).collect();
    bounded("--comm", MAX_VALUES, comms)?.into_iter().map(comm).collect()
}

fn comm(name: &str) -> Result<Comm, FilterError> {
    let bytes = name.as_bytes();
    let mut raw = [0; COMM_LEN];
    match raw.get_mut(..bytes.len()) {
        // The last byte is the zero that ends it.
        Some(start) if !bytes.is_empty() && bytes.len() < COMM_LEN => start.copy_from_slice(bytes),
        _ => {
            return Err(FilterError::CommLength { name: name.to_owned() });
        }
    }
    Ok(Comm::new(raw))
}

fn bounded<T>(option: &'static str, max: usize, values: BTreeSet<T>) -> Result<BTreeSet<T>, FilterError> {
    if values.len() > max {
        return Err(FilterError::TooMany { option, max, given: values.len() });
    }
    Ok(values)
}

/// With a leading and without a trailing slash; the root is empty.
fn cgroup_path(path: &str) -> Result<String, FilterError> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let is_odd = |part: &&str| matches!(*part, "." | "..") || part.contains('\0');
    if path.is_empty() || parts.iter().any(is_odd) {
        return Err(FilterError::CgroupPath { path: path.to_owned() });
    }
    Ok(parts.iter().fold(String::new(), |whole, part| whole + "/" + part))
}
