//! The cgroup by which a process is contained: one that holds it, and what it made, and nobody else.

use serde::{Deserialize, Serialize};

use super::limit::Limit;
use crate::{cgroup::CgroupPath, event::ProcessKey, text::escape};

/// How the names of cells begin that we make.
const PREFIX: &str = "procwatch-cell-";
/// How the names of units end that can be a cell.
const UNITS: [&str; 2] = [".service", ".scope"];
/// Longest name of a unit, bytes.
const MAX_UNIT: usize = 255;

/// Where a process is contained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// What sort of a cgroup it is.
    pub kind: CellKind,
    /// The cgroup.
    pub cgroup: CgroupPath,
    /// The unit of the system's manager that it is, for [`CellKind::Unit`] and [`CellKind::Scope`].
    pub unit: Option<String>,
    /// Where the process was moved from; `None` when it was not moved.
    pub from: Option<Origin>,
    /// Whether controllers may be enabled for it in the cgroup above.
    pub may_enable: bool,
    /// Those that were.
    pub enabled: Vec<String>,
}

/// What sort of a cgroup a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CellKind {
    /// The one that the process is in, which it has to itself; no unit of the system's manager.
    Own,
    /// The unit that the process is the main process of, or has to itself.
    Unit,
    /// A transient scope that was made for it.
    Scope,
    /// A cgroup that was made for it by cgroupfs alone.
    Leaf,
}

/// The cgroup that a process came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Where it is.
    pub cgroup: CgroupPath,
    /// Its id: another one of the same name has another.
    pub id: u64,
}

impl Cell {
    /// What cannot be, if something cannot: for what was read from a file.
    pub fn fault(&self) -> Option<String> {
        let needs_unit = matches!(self.kind, CellKind::Unit | CellKind::Scope);
        if let Some(unit) = self.unit.as_deref().filter(|unit| !is_unit(unit)) {
            return Some(format!("\"{}\" is no unit", escape(unit.as_bytes())));
        }
        if needs_unit != self.unit.is_some() {
            return Some("a cell that is a unit has its name, and no other has one".to_owned());
        }
        let is_ours = matches!(self.kind, CellKind::Scope | CellKind::Leaf);
        if is_ours && !self.cgroup.name().is_some_and(is_cell) {
            return Some(format!("{} is no cell", self.cgroup));
        }
        let is_controller =
            |name: &&String| Limit::ALL.iter().any(|limit| limit.controller() == name.as_str());
        let odd = self.enabled.iter().find(|name| !is_controller(name));
        odd.map(|name| format!("\"{}\" is no controller that is needed", escape(name.as_bytes())))
    }
}

/// The name of a cell that is made for a process: never used again while the machine is up.
pub fn cell_name(key: ProcessKey) -> String {
    format!("{PREFIX}{}-{}", key.pid, key.start.0 / 1_000_000_000)
}

/// Whether the name of a cgroup is that of a cell that we made.
pub fn is_cell(name: &str) -> bool {
    first_of(name).is_some()
}

/// The pid of the process that the cell of this name was made for; `None` when it is no cell's.
pub fn first_of(name: &str) -> Option<u32> {
    let stem = name.strip_suffix(".scope").unwrap_or(name);
    let (pid, start) = stem.strip_prefix(PREFIX)?.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number(start) && is_number(pid) { pid.parse().ok() } else { None }
}

fn is_unit(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    name.len() <= MAX_UNIT
        && !name.starts_with('.')
        && name.bytes().all(is_allowed)
        && UNITS.iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::BootTime;

    #[test]
    fn a_cells_name_is_recognised_and_nothing_else_is() {
        let name = cell_name(ProcessKey { pid: 4242, start: BootTime(83_112_999_999_999) });
        assert_eq!(name, "procwatch-cell-4242-83112");
        assert_eq!(first_of(&format!("{name}.scope")), Some(4242));
        assert_eq!(first_of(&name), Some(4242));
        for other in [
            "procwatch-cell-1",
            "procwatch-cell--1",
            "procwatch-cell-1-x",
            "procwatch-cell-1-2-3",
            "procwatch-cell-99999999999-1",
            "procwatch-su-1-2.scope",
            "",
        ] {
            assert!(!is_cell(other), "{other}");
        }
    }

    #[test]
    fn units_are_services_and_scopes_of_usual_letters() {
        for good in ["a.service", "session-2.scope", r"my\x2dapp@1.service"] {
            assert!(is_unit(good), "{good}");
        }
        for bad in ["../a.service", "a/b.service", "a.slice", ".service", "a\n.service", ""] {
            assert!(!is_unit(bad), "{bad}");
        }
    }
}
