//! What the agent is and does now: what `status`, `top` and the metrics are made of.

pub mod screen;
pub mod verdict;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    config::Config,
    record::{Mode, Placement, Record, Ring},
    text::{Comm, Text},
};

/// The whole agent at one moment.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When this was so.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// When it was armed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// From its start until then, ms.
    pub armed_ms: u64,
    /// Whether decisions are carried out.
    pub mode: Mode,
    /// How it is, in one word.
    pub health: Health,
    /// Why it is not [`Health::Ok`], a line each.
    pub reasons: Vec<String>,
    /// What it was told to do.
    pub config: ConfigStatus,
    /// The rules about threads, the one for all last.
    pub thread_rules: Vec<ThreadRuleStatus>,
    /// The rules about placement.
    pub place_rules: Vec<PlaceRuleStatus>,
    /// Functions that this kernel cannot give, each with the reason.
    pub unavailable: Vec<String>,
    /// The ways from kernel to agent.
    pub rings: Vec<RingStatus>,
    /// The kernel programs.
    pub programs: Vec<ProgramStatus>,
    /// What the kernel programs could not do.
    pub kernel: KernelCounts,
    /// What is kept in the kernel when the agent dies; null when nothing is.
    pub pinned: Option<Pinned>,
    /// Resident memory of the agent, bytes.
    pub resident_bytes: u64,
    /// CPU time that the agent has used, ns.
    pub cpu_ns: u64,
    /// Processes that were alive when this was asked, kernel threads aside.
    pub processes: u32,
    /// Their threads.
    pub threads: u64,
    /// Records told since the agent was armed, by kind.
    pub told: Vec<Count>,
    /// Placement so far; null when there is no rule for it.
    pub placement: Option<Placement>,
    /// Where records go.
    pub outputs: Vec<OutputStatus>,
    /// Clients at the socket.
    pub clients: u32,
    /// The last alerts, actions, outcomes, losses and complaints, oldest first; at most 20.
    pub recent: Vec<Record>,
}

/// How the agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// All is well.
    Ok,
    /// It works, with less than was asked for: losses, refused functions, an output that fails.
    Degraded,
    /// It cannot do its work.
    Failed,
}

/// Where its orders come from.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConfigStatus {
    /// The files, in their order; none when all is built in.
    pub files: Vec<Text>,
    /// When they were read.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub loaded: Timestamp,
    /// Why the last reload was refused; null when it was not.
    pub refused: Option<String>,
}

impl ConfigStatus {
    /// Of a configuration that was read just now and holds.
    pub fn of(config: &Config) -> Self {
        let files = config.files.iter().map(|file| Text::new(file.as_os_str().as_encoded_bytes())).collect();
        Self { files, loaded: Timestamp::now(), refused: None }
    }
}

/// A rule about threads.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ThreadRuleStatus {
    /// In words, escaped.
    pub rule: String,
    /// Its levels, threads.
    pub levels: Vec<u32>,
    /// Its cap, threads.
    pub cap: Option<u32>,
    /// Processes that have it now; null for the rule of all others.
    pub processes: Option<u32>,
}

/// A rule about placement.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PlaceRuleStatus {
    /// In words, escaped.
    pub rule: String,
    /// The slice.
    pub slice: String,
    /// Whether that is there now.
    pub present: bool,
    /// CPUs that processes in it may use now, as a list such as `4-19`; null where the kernel has no cpuset for it.
    pub cpus: Option<String>,
}

/// A ring.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RingStatus {
    /// Which one.
    pub ring: Ring,
    /// Its size, bytes.
    pub size_bytes: u64,
    /// What waits in it, bytes.
    pub waiting_bytes: u64,
    /// Records sent since the kernel side was loaded.
    pub sent: u64,
    /// Records that found it full.
    pub lost: u64,
}

/// A program in the kernel.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProgramStatus {
    /// Its name.
    pub name: String,
    /// How often it ran; 0 unless `kernel.bpf_stats_enabled` is set.
    pub runs: u64,
    /// How long it ran, ns; 0 as above.
    pub run_ns: u64,
}

/// What the kernel programs could not do.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct KernelCounts {
    /// Arguments that could not be read.
    pub argv_unread: u64,
    /// Names that could not be read.
    pub names_unread: u64,
    /// How often a state map was full.
    pub state_full: u64,
}

/// What is kept in the kernel.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Pinned {
    /// Where.
    pub folder: String,
    /// Since when.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// Whether this agent found it there.
    pub adopted: bool,
}

/// How many of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    /// The kind of record.
    pub of: String,
    /// How many.
    pub count: u64,
}

/// How a place fares that records go to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputStatus {
    /// `log`, `history`, `webhook ops`, …
    pub name: String,
    /// Records that it took.
    pub taken: u64,
    /// Records that it dropped.
    pub dropped: u64,
    /// Records that it has still to write.
    #[serde(default)]
    pub waiting: u64,
    /// Failures of what it does with them.
    pub failed: u64,
    /// The last failure while it lasts, in words.
    pub error: Option<String>,
}

/// A live process, as `top` shows it. Threads of the kernel are none.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProcessRow {
    /// Process id.
    pub pid: u32,
    /// When it started, `CLOCK_BOOTTIME` ns.
    pub start_ns: u64,
    /// Parent.
    pub ppid: u32,
    /// Real uid.
    pub uid: u32,
    /// Its name, where there is one.
    pub user: Option<String>,
    /// Name, escaped.
    pub comm: Comm,
    /// Path of its cgroup, escaped.
    pub cgroup: Option<Text>,
    /// Live threads.
    pub threads: u32,
    /// Threads created above the floor since the kernel side saw it there; null below it.
    pub creations: Option<u64>,
    /// The rule it has, in words.
    pub rule: String,
    /// The gravest alert that lasts, as a word; null when there is none.
    pub alert: Option<String>,
}
