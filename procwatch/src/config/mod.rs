//! What the agent is told to do: built-in defaults, then files, then the command line.

mod error;
mod history;
mod ignore;
mod kernel;
mod layout;
mod load;
mod log;
pub mod metrics;
mod names;
pub mod outlet;
mod output;
mod owner;
mod paths;
mod place;
mod protect;
mod read;
mod rules;
mod socket;
mod thread_rule;
pub mod threads;

use std::{path::PathBuf, time::Duration};

pub use error::{ConfigError, Location, Problem};
pub use history::{HistoryConfig, HistoryLayer};
pub use ignore::Ignore;
pub use kernel::Pin;
pub use load::{DEFAULT_FOLDER, default_files_exist, load, load_from};
pub use log::{LogConfig, LogLayer, Sync};
pub use output::Switch;
pub use owner::{Accounts, Owner, SystemAccounts};
pub use protect::Protect;
pub use rules::Layer;
pub use socket::{SocketConfig, SocketLayer};
pub use thread_rule::{
    Actions, Burst, Containment, Leak, Match, NormalRange, OnMissing, Program, Step, ThreadRule,
};

use crate::{cgroup::SliceRef, cpus::CpuSet, record::Mode};

/// Thread counts that raise an alert when nothing else is said.
pub const DEFAULT_LEVELS: [u32; 4] = [80, 100, 500, 1000];

/// How long an exec is held when nothing else is said.
pub const DEFAULT_HOLD: Duration = Duration::from_millis(250);

/// The whole configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether decisions are carried out.
    pub mode: Mode,
    /// How processes are moved.
    pub backend: BackendChoice,
    /// Whether the agent sets the mount option `favordynmods` on the cgroup2 hierarchy.
    pub favordynmods: bool,
    /// How threads are watched: the first rule that fits a process holds for it. The last one fits every process.
    pub threads: Vec<ThreadRule>,
    /// Whom nothing but alerts and a diagnosis is ever done to, besides those that no rule can hit.
    pub protect: Protect,
    /// Where whose processes belong: at most one rule for an owner, none for root.
    pub place: Vec<PlaceRule>,
    /// Which CPUs which slice has: at most one entry for a slice, and none wider than one above it.
    pub layout: Vec<LayoutRule>,
    /// Where the agent's figures can be fetched, if anywhere.
    pub metrics: Option<metrics::MetricsConfig>,
    /// Who is told of alerts: no two of one name.
    pub outlets: Vec<outlet::OutletRule>,
    /// Where clients ask the agent; `None` when they cannot.
    pub socket: Option<SocketConfig>,
    /// Records as lines in a file; none by default.
    pub log: Option<LogConfig>,
    /// What happened, in a database.
    pub history: Option<HistoryConfig>,
    /// Whether the kernel's part outlives the agent.
    pub pin: Pin,
    /// The files that were read, in their order; none when all is built in.
    pub files: Vec<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            backend: BackendChoice::Auto,
            favordynmods: false,
            threads: vec![ThreadRule::built_in()],
            protect: Protect::default(),
            place: Vec::new(),
            layout: Vec::new(),
            metrics: None,
            outlets: Vec::new(),
            socket: Some(SocketConfig::default()),
            log: None,
            history: Some(HistoryConfig::default()),
            pin: Pin::default(),
            files: Vec::new(),
        }
    }
}

impl Config {
    /// The thread levels of the processes that no other rule fits.
    pub fn default_levels(&self) -> &[u32] {
        self.threads.last().map_or(&DEFAULT_LEVELS, |rule| &rule.levels)
    }
}

/// How processes are moved into a slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// [`Self::Systemd`] where systemd is pid 1, else [`Self::Cgroupfs`].
    #[default]
    Auto,
    /// A delegated unit of ours in the slice, a leaf for each session below it, a write for each move.
    Systemd,
    /// A transient scope for each session.
    Scope,
    /// Leaves made in the slice itself.
    Cgroupfs,
}

/// One slice has these CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutRule {
    /// Which slice; never the root.
    pub slice: SliceRef,
    /// Its CPUs; never none.
    pub cpus: CpuSet,
    /// The entry in words, escaped: `layout[1] slice=system.slice`, counted from 1 in its file.
    pub described: String,
    /// Where it is written.
    pub location: Location,
}

/// Processes of one uid belong in one slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceRule {
    /// Whose processes; never root's.
    pub owner: Owner,
    /// Where they belong.
    pub slice: SliceRef,
    /// They are taken from in and below these only: one to four, none in or below `slice`.
    pub from: Vec<SliceRef>,
    /// Longest time that an exec is held until its process is in `slice`; zero holds nothing.
    pub hold: Duration,
    /// Who is left alone all the same.
    pub ignore: Ignore,
    /// The rule in words, escaped: `place[1] user=aimgr`, counted from 1 in its file.
    pub described: String,
    /// Where it is written.
    pub location: Location,
}
