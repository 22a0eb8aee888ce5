//! What `run` and `watch` are made of: the loop's parts between the rings and the output.

pub mod ask;
pub mod containing;
pub mod diagnosing;
pub mod feed;
pub mod guard;
pub mod heritage;
pub mod inbox;
pub mod measures;
pub mod orders;
pub mod output;
pub mod outputs;
pub mod placing;
pub mod priority;
pub mod reload;
pub mod report;
pub mod rules;
mod settle;
pub mod shutdown;
pub mod status;
pub mod stream;
mod tally;
mod tap;
pub mod workers;

use crate::kernel::KernelError;

/// Why the agent cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The kernel side.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The caller may not do this.
    #[error("procwatch {0} loads programs into the kernel and must run as root; use: sudo procwatch {0} …")]
    NotRoot(&'static str),
    /// The cgroup2 hierarchy.
    #[error(transparent)]
    Mount(#[from] crate::cgroup::MountError),
    /// A slice.
    #[error("{context}: {source}")]
    Slice {
        /// The rule or option that names it.
        context: String,
        /// What is wrong with it.
        source: crate::execute::PrepareError,
    },
    /// The configuration.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// Another agent runs.
    #[error(transparent)]
    Lock(#[from] crate::lock::LockError),
    /// A process that was asked about.
    #[error(transparent)]
    Explain(#[from] crate::explain::ExplainError),
    /// A process whose threads were asked about.
    #[error(transparent)]
    Diagnose(#[from] crate::diagnose::DiagnoseError),
    /// The CPUs of slices.
    #[error(transparent)]
    Layout(#[from] crate::layout::LayoutError),
    /// A recorded stream.
    #[error(transparent)]
    Replay(#[from] crate::replay::read::ReadError),
    /// The notes of what is contained.
    #[error(transparent)]
    Contained(#[from] crate::execute::contain::state::StateError),
    /// The agent's socket.
    #[error(transparent)]
    Socket(#[from] crate::socket::server::SocketError),
    /// The address where figures are given.
    #[error(transparent)]
    Metrics(#[from] crate::metrics::MetricsError),
    /// The agent, asked by its socket.
    #[error(transparent)]
    Client(#[from] crate::socket::client::ClientError),
    /// Installing or removing.
    #[error(transparent)]
    Install(#[from] crate::install::InstallError),
    /// A file that records go to.
    #[error("{what}: {source}")]
    Output {
        /// The file, escaped.
        what: String,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// The history, or a file of its report.
    #[error(transparent)]
    History(#[from] crate::history::HistoryError),
    /// The command line.
    #[error("{0}")]
    Usage(String),
    /// The system.
    #[error("{what}: {source}")]
    Io {
        /// What failed.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl AgentError {
    /// For `map_err`: names what failed.
    pub fn io<E: Into<std::io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { what, source: source.into() }
    }
}

/// Refuses callers who may not load programs.
///
/// # Errors
/// [`AgentError::NotRoot`].
pub fn require_root(command: &'static str) -> Result<(), AgentError> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { Err(AgentError::NotRoot(command)) }
}
