//! The lines that go over the socket.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::{ProcessRow, Status};

/// Where the socket is.
pub const AGENT_SOCKET: &str = "/run/procwatch/procwatch.sock";

/// The version of these lines.
pub const VERSION: u32 = 1;

/// What a client asks, one line each.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// One [`Answer::Status`].
    Status,
    /// One [`Answer::Processes`].
    Processes,
    /// From now on the records that fit, as lines of the stream's own schema, until the client leaves. The first is a
    /// `health` record of topic `armed`: what happens after it is told. A second request takes the place of the first.
    Events(EventsRequest),
}

/// Which records are wanted; the words are those of `procwatch watch`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventsRequest {
    /// Kinds; none is all that the agent tells by itself (alerts, decisions, actions, health, …).
    pub kinds: Vec<String>,
    /// Real or effective uids.
    pub uids: Vec<u32>,
    /// Names.
    pub comms: Vec<String>,
    /// Process ids.
    pub pids: Vec<u32>,
    /// With the children of `pids`.
    pub children: bool,
    /// A cgroup, with all below it.
    pub cgroup: Option<String>,
    /// With the ancestors of each process.
    pub lineage: bool,
}

/// What the agent answers, but for records.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// The first line.
    Hello {
        /// [`VERSION`].
        protocol: u32,
        /// The agent's version.
        version: String,
        /// Its process id.
        pid: u32,
    },
    /// The agent.
    Status(Box<Status>),
    /// All live processes.
    Processes {
        /// In no order.
        processes: Vec<ProcessRow>,
    },
    /// The request was bad, or cannot be served.
    Refused {
        /// Why, and what would be right.
        why: String,
    },
}
