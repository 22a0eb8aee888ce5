//! Who watches while something is timed.

use std::path::PathBuf;

use anyhow::Result;

use super::{
    Bench,
    peers::{self, PEERS, Peer},
    report::Figure,
};
use crate::{agent::Agent, interrupt};

/// Somebody who may watch.
#[derive(Clone, Copy, Debug)]
pub(super) enum Watcher {
    /// Nobody, by this name.
    Nobody(&'static str),
    /// procwatch with these words.
    Procwatch(&'static [&'static str]),
    /// Another program.
    Peer(Peer),
}

/// Whom all are compared with.
pub(super) const NOBODY: Watcher = Watcher::Nobody("nobody watches");
/// The same once more: what the clock makes up.
pub(super) const NOBODY_AGAIN: Watcher = Watcher::Nobody("nobody, once more");
/// The agent as it is shipped.
pub(super) const RUN: Watcher = Watcher::Procwatch(&["run"]);
/// The full stream.
pub(super) const WATCH: Watcher = Watcher::Procwatch(&["watch", "--json"]);

/// Nobody twice, procwatch, and the peers that are here or, in a full benchmark, can be installed. Who is not, with the
/// reason.
pub(super) fn all(bench: &Bench) -> Result<(Vec<Watcher>, Vec<Figure>)> {
    let mut watchers = vec![NOBODY, NOBODY_AGAIN, RUN, WATCH];
    let mut absent = Vec::new();
    for peer in PEERS {
        match peer.prepare(!bench.quick) {
            Ok(()) => watchers.push(Watcher::Peer(peer)),
            Err(error) => absent.push(Figure::missing(peer.name, format!("{error:#}"))),
        }
        interrupt::check()?;
    }
    Ok((watchers, absent))
}

impl Watcher {
    /// What it is called in the tables.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Nobody(name) => (*name).to_owned(),
            Self::Procwatch(words) => words.join(" "),
            Self::Peer(peer) => peer.name.to_owned(),
        }
    }

    /// The command as a person would type it; none for nobody.
    pub(super) fn command(&self) -> Option<String> {
        match self {
            Self::Nobody(_) => None,
            Self::Procwatch(words) => Some(format!("procwatch {} > /dev/null", words.join(" "))),
            Self::Peer(peer) => Some(peer.shown().to_owned()),
        }
    }

    /// Whether it has programs in the kernel.
    pub(super) const fn has_programs(&self) -> bool {
        match self {
            Self::Nobody(_) => false,
            Self::Procwatch(_) => true,
            Self::Peer(peer) => peer.programs > 0,
        }
    }

    /// Starts it, with its output thrown away, and waits until it stands.
    pub(super) fn start(&self, bench: &Bench) -> Result<Watching> {
        Ok(match self {
            Self::Nobody(_) => Watching::Nobody,
            Self::Procwatch(words) => Watching::Agent(Agent::start_unheard(&mut bench.procwatch(words)?)?),
            Self::Peer(peer) => Watching::Peer(peer.start()?),
        })
    }
}

/// Somebody who watches. Ended when this is dropped.
pub(super) enum Watching {
    Nobody,
    Agent(Agent),
    Peer(peers::Running),
}

impl Watching {
    /// Its folder in /proc; none for nobody.
    pub(super) fn proc(&self) -> Option<PathBuf> {
        match self {
            Self::Nobody => None,
            Self::Agent(agent) => Some(agent.proc()),
            Self::Peer(peer) => Some(peer.proc()),
        }
    }

    /// Ends it. procwatch has to end well.
    pub(super) fn stop(self) -> Result<()> {
        match self {
            Self::Nobody | Self::Peer(_) => Ok(()),
            Self::Agent(agent) => agent.stop(|_| {}),
        }
    }
}
