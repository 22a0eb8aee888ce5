//! What the kernel and the service manager say about the cgroups of a layout.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{LayoutError, unit};
use crate::{
    cgroup::{CgroupPath, SliceRef},
    cpus::CpuSet,
    text::{Text, until_zero},
};

/// Where the kernel tells of the machine's CPUs.
pub const CPU_FOLDER: &str = "/sys/devices/system/cpu";
/// The name of the controller.
pub(super) const CPUSET: &str = "cpuset";
/// CPUs that a cgroup is to have.
pub(super) const CPUS: &str = "cpuset.cpus";
/// CPUs that it has.
pub(super) const EFFECTIVE: &str = "cpuset.cpus.effective";
/// Controllers that its children have.
pub(super) const SUBTREE_CONTROL: &str = "cgroup.subtree_control";

/// All that a judgement is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether the hierarchy has the cpuset controller at all.
    pub controller: bool,
    /// CPUs that are switched on.
    pub online: CpuSet,
    /// CPUs that the machine has.
    pub present: CpuSet,
    /// The cgroups from the root down to each slice, those that are there.
    pub cgroups: BTreeMap<CgroupPath, CgroupFacts>,
    /// The units of the slices by name, where a service manager keeps them.
    pub units: BTreeMap<String, UnitFacts>,
}

/// One cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupFacts {
    /// What was written into its `cpuset.cpus`; absent where its parent has not enabled the controller, and at the root.
    pub cpus: Option<CpuSet>,
    /// What it got; absent where its parent has not enabled the controller.
    pub effective: Option<CpuSet>,
    /// Whether its children have the controller.
    pub enables: bool,
    /// `cgroup.type` when it is not an ordinary domain: `domain threaded`, `domain invalid` or `threaded`.
    pub threaded: Option<String>,
    /// Who lives in it itself; only looked up when it is threaded.
    pub inhabitants: Vec<Inhabitant>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Inhabitant {
    /// Its id.
    pub pid: u32,
    /// Its name; empty when it has ended.
    pub comm: Text,
}

/// What a service manager says about a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFacts {
    /// Whether it is active. The settings of one that is not are in force nowhere.
    pub active: bool,
}

/// Asks a service manager about a unit.
pub type AskUnit<'a> = dyn FnMut(&str) -> Result<UnitFacts, LayoutError> + 'a;

/// Where the kernel's files are.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The mount point of the cgroup2 hierarchy.
    pub hierarchy: PathBuf,
    /// The folder of the CPUs, `/sys/devices/system/cpu`.
    pub cpus: PathBuf,
}

impl Facts {
    /// Looks at all that concerns these slices. `ask` is absent where there is no service manager.
    ///
    /// # Errors
    /// When a file of the kernel's is there and cannot be read, or the service manager cannot be asked.
    pub fn gather(
        sources: &Sources,
        slices: &[SliceRef],
        mut ask: Option<&mut AskUnit<'_>>,
    ) -> Result<Self, LayoutError> {
        let controllers = read(&sources.hierarchy.join("cgroup.controllers"))?.unwrap_or_default();
        let mut facts = Self {
            controller: has_word(&controllers),
            online: cpus_of(&sources.cpus.join("online"))?.unwrap_or_default(),
            present: cpus_of(&sources.cpus.join("present"))?.unwrap_or_default(),
            ..Self::default()
        };
        for slice in slices {
            for path in way_to(slice.path()) {
                if facts.cgroups.contains_key(&path) {
                    continue;
                }
                match CgroupFacts::gather(&sources.hierarchy.join(path.relative()))? {
                    Some(found) => facts.cgroups.insert(path, found),
                    None => break,
                };
            }
            if let (Some(ask), Ok(unit)) = (&mut ask, unit::of(slice)) {
                facts.units.insert(unit.clone(), ask(&unit)?);
            }
        }
        Ok(facts)
    }

    /// The CPUs that processes in this cgroup may use: its own effective set, or that of the next one above it that has
    /// one. Not known where the hierarchy does not have the controller.
    pub fn effective(&self, path: &CgroupPath) -> Option<&CpuSet> {
        way_to(path).into_iter().rev().find_map(|at| self.cgroups.get(&at)?.effective.as_ref())
    }

    /// The same, of one that is there.
    pub fn effective_of_existing(&self, path: &CgroupPath) -> Option<&CpuSet> {
        self.cgroups.get(path).and_then(|_| self.effective(path))
    }
}

impl CgroupFacts {
    /// `None` when there is no such cgroup.
    fn gather(folder: &Path) -> Result<Option<Self>, LayoutError> {
        if !folder.is_dir() {
            return Ok(None);
        }
        let threaded = read(&folder.join("cgroup.type"))?
            .map(|kind| kind.trim_end().to_owned())
            .filter(|kind| kind != "domain");
        Ok(Some(Self {
            cpus: cpus_of(&folder.join(CPUS))?,
            effective: cpus_of(&folder.join(EFFECTIVE))?,
            enables: read(&folder.join(SUBTREE_CONTROL))?.is_some_and(|words| has_word(&words)),
            inhabitants: if threaded.is_some() { inhabitants(folder)? } else { Vec::new() },
            threaded,
        }))
    }
}

/// The root, and each step down to `path`.
pub(super) fn way_to(path: &CgroupPath) -> Vec<CgroupPath> {
    let mut way = vec![CgroupPath::root()];
    for name in path.relative().iter().filter_map(|name| name.to_str()) {
        if let Some(last) = way.last() {
            way.push(last.child(name));
        }
    }
    way
}

/// A list of CPUs; `None` when there is no such file.
pub(super) fn cpus_of(file: &Path) -> Result<Option<CpuSet>, LayoutError> {
    let Some(text) = read(file)? else { return Ok(None) };
    CpuSet::parse_kernel(&text).map(Some).map_err(|error| LayoutError::at(file, error))
}

fn has_word(words: &str) -> bool {
    words.split_ascii_whitespace().any(|word| word == CPUSET)
}

/// A file of the kernel's. It is absent when its cgroup does not have the controller, or goes away just now.
fn read(file: &Path) -> Result<Option<String>, LayoutError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound || is_gone(&error) => Ok(None),
        Err(error) => Err(LayoutError::at(file, error)),
    }
}

/// A file of a cgroup that was removed while it was open.
fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENODEV)
}

/// Those who live in a cgroup itself. A member of a threaded domain does not tell its processes, only its threads.
fn inhabitants(folder: &Path) -> Result<Vec<Inhabitant>, LayoutError> {
    let file = folder.join("cgroup.procs");
    let ids = match fs::read_to_string(&file) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => read(&folder.join("cgroup.threads"))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound || is_gone(&error) => None,
        Err(error) => return Err(LayoutError::at(&file, error)),
        Ok(ids) => Some(ids),
    };
    let pids = ids.unwrap_or_default();
    Ok(pids
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .map(|pid| Inhabitant { pid, comm: comm_of(pid) })
        .collect())
}

fn comm_of(pid: u32) -> Text {
    let raw = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    Text::new(until_zero(raw.strip_suffix(b"\n").unwrap_or(&raw)).to_vec())
}
