//! What one file says, checked. No I/O but the look-up of users and groups that the caller passes in.

use std::path::Path;

use toml::de::DeTable;

use super::{
    Accounts, BackendChoice, HistoryLayer, LayoutRule, LogLayer, PlaceRule, Protect, SocketLayer, Switch,
    ThreadRule,
    error::{Problem, quote},
    history::read_history,
    kernel::{Pin, read_kernel},
    layout::read_layouts,
    log::read_log,
    metrics::{MetricsLayer, read_metrics},
    outlet::{OutletRule, read_outlets},
    paths::{Written, read_written},
    place::read_places,
    protect::read_protect,
    read::Reader,
    socket::read_socket,
    threads::read_threads,
};
use crate::{record::Mode, text::escape};

const MODES: [(&str, Mode); 2] = [("observe", Mode::Observe), ("enforce", Mode::Enforce)];
const BACKENDS: [(&str, BackendChoice); 4] = [
    ("auto", BackendChoice::Auto),
    ("systemd", BackendChoice::Systemd),
    ("scope", BackendChoice::Scope),
    ("cgroupfs", BackendChoice::Cgroupfs),
];

/// What one file says. What it does not say is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// Whether decisions are carried out.
    pub mode: Option<Mode>,
    /// How processes are moved.
    pub backend: Option<BackendChoice>,
    /// Whether the agent sets the mount option.
    pub favordynmods: Option<bool>,
    /// Rules on threads. Only the last one may be a catch-all.
    pub threads: Vec<ThreadRule>,
    /// Whom nothing is done to.
    pub protect: Protect,
    /// Placement rules.
    pub place: Vec<PlaceRule>,
    /// CPUs of slices.
    pub layout: Vec<LayoutRule>,
    /// Where figures are given.
    pub metrics: Option<MetricsLayer>,
    /// Who is told of alerts.
    pub outlets: Vec<OutletRule>,
    /// Where clients ask.
    pub socket: Option<SocketLayer>,
    /// The log.
    pub log: Option<Switch<LogLayer>>,
    /// The history.
    pub history: Option<Switch<HistoryLayer>>,
    /// Whether the kernel's part outlives the agent.
    pub pin: Option<Pin>,
    /// Where it names files of outputs.
    pub(super) written: Written,
}

impl Layer {
    /// Reads the text of a file. `file` is only named in what is reported.
    ///
    /// # Errors
    /// All that is wrong with it; when it is not TOML, only that.
    pub fn parse(file: &Path, text: &str, accounts: &dyn Accounts) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(file, text);
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let span = error.span().unwrap_or_default();
            let token = text.get(span.clone()).filter(|token| !token.trim().is_empty());
            let near = token.map(|token| format!(", at {}", quote(token))).unwrap_or_default();
            reader.bad(&span, "", format!("not TOML: {}{near}", escape(error.message().as_bytes())));
        }
        let layer = if errors.is_empty() {
            read_root(&mut reader, root.get_ref(), accounts)
        } else {
            Self::default()
        };
        let problems = reader.finish();
        if problems.is_empty() { Ok(layer) } else { Err(problems) }
    }
}

fn read_root(reader: &mut Reader<'_>, root: &DeTable<'_>, accounts: &dyn Accounts) -> Layer {
    reader.check_keys(
        root,
        "",
        &[
            "mode",
            "backend",
            "favordynmods",
            "threads",
            "protect",
            "place",
            "layout",
            "socket",
            "metrics",
            "outlet",
            "log",
            "history",
            "kernel",
        ],
    );
    Layer {
        mode: root.get("mode").and_then(|value| reader.word(value, "mode", "mode", &MODES)),
        backend: root.get("backend").and_then(|value| reader.word(value, "backend", "backend", &BACKENDS)),
        favordynmods: root.get("favordynmods").and_then(|value| reader.flag(value, "favordynmods")),
        threads: root.get("threads").map(|value| read_threads(reader, value, accounts)).unwrap_or_default(),
        protect: root.get("protect").map(|value| read_protect(reader, value)).unwrap_or_default(),
        place: root.get("place").map(|value| read_places(reader, value, accounts)).unwrap_or_default(),
        pin: root.get("kernel").and_then(|value| read_kernel(reader, value)),
        layout: root.get("layout").map(|value| read_layouts(reader, value)).unwrap_or_default(),
        metrics: root.get("metrics").and_then(|value| read_metrics(reader, value)),
        outlets: root.get("outlet").map(|value| read_outlets(reader, value, accounts)).unwrap_or_default(),
        socket: root.get("socket").and_then(|value| read_socket(reader, value, accounts)),
        log: root.get("log").and_then(|value| read_log(reader, value)),
        history: root.get("history").and_then(|value| read_history(reader, value)),
        written: read_written(reader, root),
    }
}

#[cfg(test)]
mod tests;
