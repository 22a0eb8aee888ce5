//! What is wanted, held against what is. No I/O.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{
    facts::{CPUS, CgroupFacts, Facts, Inhabitant, SUBTREE_CONTROL, way_to},
    unit,
};
use crate::{cgroup::CgroupPath, config::LayoutRule, cpus::CpuSet};

/// Inhabitants that are named.
const NAMED: usize = 10;

/// A slice of the layout as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SliceReport {
    /// The slice as written.
    pub slice: String,
    /// Its path below the mount.
    pub path: String,
    /// CPUs that it is to have.
    pub wanted: CpuSet,
    /// CPUs that processes in it have; absent when the kernel does not say.
    pub effective: Option<CpuSet>,
    /// Whether it has exactly those, and is fit to be lived in.
    pub as_wanted: bool,
    /// What stands in the way; nothing when it is as wanted.
    pub obstacles: Vec<Obstacle>,
}

/// Something that keeps a slice from its CPUs. Paths are for output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The hierarchy has no cpuset controller: it is bound to cgroup v1, or switched off.
    NoController,
    /// The cgroup does not exist.
    Missing {
        /// Its path.
        cgroup: String,
        /// Its unit, where there is a service manager.
        unit: Option<String>,
    },
    /// The unit is not active.
    Inactive {
        /// The unit.
        unit: String,
    },
    /// A process was written into a slice itself.
    Threaded {
        /// The cgroup.
        cgroup: String,
        /// Its `cgroup.type`.
        kind: String,
        /// Who lives in it itself.
        inhabitants: Vec<Inhabitant>,
    },
    /// The machine does not have these CPUs.
    NotPresent {
        /// Which.
        cpus: CpuSet,
    },
    /// These CPUs are switched off.
    Offline {
        /// Which.
        cpus: CpuSet,
    },
    /// A cgroup above does not give its children the controller.
    ControllerOff {
        /// The file in which it is missing.
        file: String,
    },
    /// A cgroup above does not have these CPUs itself.
    ParentTooNarrow {
        /// The highest such.
        cgroup: String,
        /// What it has.
        effective: CpuSet,
        /// What it lacks.
        missing: CpuSet,
    },
    /// The slice is told to have other CPUs, or none in particular.
    NotSet {
        /// The file.
        file: String,
        /// What is in it.
        cpus: CpuSet,
    },
}

/// Judges each rule.
pub fn judge(rules: &[LayoutRule], facts: &Facts) -> Vec<SliceReport> {
    rules.iter().map(|rule| SliceReport::new(rule, facts)).collect()
}

impl SliceReport {
    fn new(rule: &LayoutRule, facts: &Facts) -> Self {
        let path = rule.slice.path();
        let effective = facts.effective(path).cloned();
        let threaded = threaded(path, facts);
        let exists = facts.cgroups.contains_key(path);
        let as_wanted = exists && threaded.is_none() && effective.as_ref() == Some(&rule.cpus);
        let obstacles = if as_wanted { Vec::new() } else { obstacles(rule, facts, threaded) };
        Self {
            slice: rule.slice.to_string(),
            path: path.to_string(),
            wanted: rule.cpus.clone(),
            effective,
            as_wanted,
            obstacles,
        }
    }
}

/// From the machine down to the slice.
fn obstacles(rule: &LayoutRule, facts: &Facts, threaded: Option<Obstacle>) -> Vec<Obstacle> {
    let path = rule.slice.path();
    let mut found = Vec::new();
    if !facts.controller {
        found.push(Obstacle::NoController);
    }
    let absent = rule.cpus.difference(&facts.present);
    let off = rule.cpus.intersection(&facts.present).difference(&facts.online);
    if !absent.is_empty() {
        found.push(Obstacle::NotPresent { cpus: absent });
    }
    if !off.is_empty() {
        found.push(Obstacle::Offline { cpus: off });
    }
    found.extend(missing(rule, facts));
    found.extend(threaded);
    if facts.controller {
        found.extend(narrow(rule, facts));
        found.extend(switched_off(path, facts));
    }
    let own = facts.cgroups.get(path).and_then(|slice| slice.cpus.as_ref());
    if let Some(cpus) = own.filter(|own| **own != rule.cpus) {
        found.push(Obstacle::NotSet { file: file(path, CPUS), cpus: cpus.clone() });
    }
    found
}

/// The slice is not there, or not in force.
fn missing(rule: &LayoutRule, facts: &Facts) -> Option<Obstacle> {
    let unit = unit::of(&rule.slice).ok().filter(|unit| facts.units.contains_key(unit));
    if !facts.cgroups.contains_key(rule.slice.path()) {
        return Some(Obstacle::Missing { cgroup: rule.slice.path().to_string(), unit });
    }
    let unit = unit.filter(|unit| facts.units.get(unit).is_some_and(|facts| !facts.active))?;
    Some(Obstacle::Inactive { unit })
}

/// The highest cgroup on the way, or the slice itself, that is no domain any more.
pub(crate) fn threaded(path: &CgroupPath, facts: &Facts) -> Option<Obstacle> {
    let on_the_way = way_to(path);
    let mut known = on_the_way.iter().filter_map(|at| Some((at, facts.cgroups.get(at)?)));
    known.find_map(|(at, cgroup)| {
        Some(Obstacle::Threaded {
            cgroup: at.to_string(),
            kind: cgroup.threaded.clone()?,
            inhabitants: cgroup.inhabitants.clone(),
        })
    })
}

/// The highest cgroup above that lacks CPUs which are on.
fn narrow(rule: &LayoutRule, facts: &Facts) -> Option<Obstacle> {
    let possible = rule.cpus.intersection(&facts.online);
    above(rule.slice.path()).iter().find_map(|at| {
        let effective = facts.cgroups.get(at)?.effective.as_ref()?;
        let missing = possible.difference(effective);
        (!missing.is_empty()).then(|| Obstacle::ParentTooNarrow {
            cgroup: at.to_string(),
            effective: effective.clone(),
            missing,
        })
    })
}

/// Each cgroup above that does not hand the controller on.
fn switched_off(path: &CgroupPath, facts: &Facts) -> Vec<Obstacle> {
    let is_off = |at: &&CgroupPath| facts.cgroups.get(at).is_some_and(|cgroup: &CgroupFacts| !cgroup.enables);
    let off = |at| Obstacle::ControllerOff { file: file(at, SUBTREE_CONTROL) };
    above(path).iter().filter(is_off).map(off).collect()
}

fn above(path: &CgroupPath) -> Vec<CgroupPath> {
    let mut way = way_to(path);
    way.pop();
    way
}

/// A file of a cgroup, for output.
fn file(cgroup: &CgroupPath, name: &str) -> String {
    format!("{}/{name}", cgroup.to_string().trim_end_matches('/'))
}

impl Obstacle {
    /// What it is called in JSON.
    const fn kind(&self) -> &'static str {
        match self {
            Self::NoController => "no-controller",
            Self::Missing { .. } => "missing",
            Self::Inactive { .. } => "inactive",
            Self::Threaded { .. } => "threaded",
            Self::NotPresent { .. } => "cpu-not-present",
            Self::Offline { .. } => "cpu-offline",
            Self::ControllerOff { .. } => "controller-off",
            Self::ParentTooNarrow { .. } => "parent-too-narrow",
            Self::NotSet { .. } => "not-set",
        }
    }

    /// Whether `layout apply` takes it out of the way.
    pub const fn is_ours_to_remove(&self) -> bool {
        matches!(self, Self::ControllerOff { .. } | Self::NotSet { .. })
    }
}

/// One line: what it is, and what helps.
impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoController => f.write_str(
                "the cgroup2 hierarchy has no cpuset controller: cgroup v1 has it, or it is switched off",
            ),
            Self::Missing { cgroup, unit: None } => write!(f, "{cgroup} does not exist; make it first"),
            Self::Missing { cgroup, unit: Some(unit) } if unit.starts_with("user-") => {
                write!(f, "{cgroup} does not exist: {unit} is active while that user is logged in")
            }
            Self::Missing { cgroup, unit: Some(unit) } => {
                write!(f, "{cgroup} does not exist: {unit} is not active; systemctl start {unit}")
            }
            Self::Inactive { unit } if unit.starts_with("user-") => {
                write!(
                    f,
                    "{unit} is not active, so its CPUs are set nowhere: it is while that user is logged in"
                )
            }
            Self::Inactive { unit } => {
                write!(f, "{unit} is not active, so its CPUs are set nowhere; systemctl start {unit}")
            }
            Self::Threaded { cgroup, kind, inhabitants } => write_threaded(f, cgroup, kind, inhabitants),
            Self::NotPresent { cpus } => write!(f, "{} not in this machine", plural(cpus)),
            Self::Offline { cpus } => {
                write!(f, "{} offline (/sys/devices/system/cpu/cpuN/online)", plural(cpus))
            }
            Self::ControllerOff { file } => write!(f, "cpuset is not enabled in {file}"),
            Self::ParentTooNarrow { cgroup, effective, missing } => {
                write!(f, "{cgroup} above it has {effective} only, without {missing}; widen that one")
            }
            Self::NotSet { file, cpus } if cpus.is_empty() => write!(f, "{file} is empty"),
            Self::NotSet { file, cpus } => write!(f, "{file} is {cpus}"),
        }
    }
}

fn plural(cpus: &CpuSet) -> String {
    if cpus.len() == 1 { format!("CPU {cpus} is") } else { format!("CPUs {cpus} are") }
}

fn write_threaded(
    f: &mut fmt::Formatter<'_>,
    cgroup: &str,
    kind: &str,
    living: &[Inhabitant],
) -> fmt::Result {
    write!(
        f,
        "{cgroup} is \"{}\", which breaks its user's next login: ",
        crate::text::escape(kind.as_bytes())
    )?;
    let names = living.iter().take(NAMED).map(|one| format!("{} ({})", one.pid, one.comm));
    let names = names.collect::<Vec<_>>().join(", ");
    match living.len() {
        0 => f.write_str("a thread or a cgroup of threads lives in it"),
        1 => write!(f, "pid {names} was written into it; move it into a leaf below"),
        more if more <= NAMED => write!(f, "pids {names} were written into it; move them into a leaf below"),
        more => write!(f, "{more} pids, {names} …, were written into it; move them into a leaf below"),
    }
}

impl Serialize for Obstacle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", self.kind())?;
        map.serialize_entry("text", &self.to_string())?;
        match self {
            Self::NoController => {}
            Self::Missing { cgroup, unit } => {
                map.serialize_entry("cgroup", cgroup)?;
                map.serialize_entry("unit", unit)?;
            }
            Self::Inactive { unit } => map.serialize_entry("unit", unit)?,
            Self::Threaded { cgroup, inhabitants, .. } => {
                map.serialize_entry("cgroup", cgroup)?;
                map.serialize_entry("inhabitants", inhabitants)?;
            }
            Self::NotPresent { cpus } | Self::Offline { cpus } => map.serialize_entry("cpus", cpus)?,
            Self::ControllerOff { file } => map.serialize_entry("file", file)?,
            Self::ParentTooNarrow { cgroup, effective, missing } => {
                map.serialize_entry("cgroup", cgroup)?;
                map.serialize_entry("effective", effective)?;
                map.serialize_entry("missing", missing)?;
            }
            Self::NotSet { file, cpus } => {
                map.serialize_entry("file", file)?;
                map.serialize_entry("cpus", cpus)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
pub(super) mod tests;
