//! CPU affinity after a move.
//!
//! A thread that was bound to CPUs which its new cgroup does not have would be left with the few that both have, or be
//! bound to them again as soon as the cgroup is given them. Such a thread is set free. One that is bound to CPUs of the
//! new cgroup alone is not touched.

use std::{collections::HashMap, fs, path::Path};

use rustix::{
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use super::{Backend, HeldProcess, Home, MoveError, PrepareError, SessionName};
use crate::{
    cgroup::{CgroupPath, Mount, SliceRef},
    cpus,
};

/// The CPUs that each thread of a process might use before a move.
#[derive(Debug)]
pub struct Before {
    /// All those of its cgroup: a thread that has them all was not bound.
    unbound: CpuSet,
    threads: HashMap<Pid, CpuSet>,
}

/// Looks at a process that is about to be moved. `None` where there is no cpuset controller, or it has ended, or it is
/// not known where it was.
pub fn before_move(process: &HeldProcess, mount: &Mount) -> Option<Before> {
    let unbound = effective(&mount.point, process.cgroup()?)?;
    let with_mask = |tid| Some((tid, sched_getaffinity(Some(tid)).ok()?));
    Some(Before { unbound, threads: threads(process).into_iter().filter_map(with_mask).collect() })
}

/// Sets those threads of a process free that were bound to CPUs which its new cgroup `leaf` does not have. Returns how
/// many. A thread that began during the move is not looked at.
pub fn after_move(process: &HeldProcess, leaf: &CgroupPath, before: &Before, mount: &Mount) -> u32 {
    let Some(allowed) = effective(&mount.point, leaf) else {
        return 0;
    };
    let contradicts = |mask: &CpuSet| *mask != before.unbound && !is_within(mask, &allowed);
    if !before.threads.values().any(contradicts) {
        return 0;
    }
    // The kernel takes from this what the cgroup allows, now and whenever that is changed.
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    let bound = threads(process).into_iter().filter(|tid| before.threads.get(tid).is_some_and(contradicts));
    bound.filter(|tid| sched_setaffinity(Some(*tid), &all).is_ok()).count() as u32
}

/// The threads of a process; none when it has ended.
fn threads(process: &HeldProcess) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir(format!("/proc/{}/task", process.pid())) else {
        return Vec::new();
    };
    let tid = |entry: fs::DirEntry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?);
    let threads = entries.flatten().filter_map(tid).collect();
    // It lives after the list was read, so the list was its own.
    if process.is_alive().unwrap_or(false) { threads } else { Vec::new() }
}

/// The CPUs that a cgroup may use: its own file's, or that of the nearest one above that has the controller.
fn effective(mount: &Path, cgroup: &CgroupPath) -> Option<CpuSet> {
    let folders = cgroup.relative().ancestors();
    let text = folders
        .map(|path| fs::read_to_string(mount.join(path).join("cpuset.cpus.effective")))
        .find_map(Result::ok)?;
    let cpus = parse_cpus(&text)?;
    (cpus.count() > 0).then_some(cpus)
}

/// `0-3,8`: the kernel's way of writing CPUs. `None` when it is not that, or has more than fit.
fn parse_cpus(text: &str) -> Option<CpuSet> {
    let list = cpus::CpuSet::parse_kernel(text).ok()?;
    let mut cpus = CpuSet::new();
    for cpu in list.iter() {
        let cpu = cpu as usize;
        if cpu >= CpuSet::MAX_CPU {
            return None;
        }
        cpus.set(cpu);
    }
    Some(cpus)
}

fn is_within(inner: &CpuSet, outer: &CpuSet) -> bool {
    (0..CpuSet::MAX_CPU).all(|cpu| !inner.is_set(cpu) || outer.is_set(cpu))
}

/// A way of moving, and after each move contradicting affinities are taken off.
pub(super) struct FreeOfAffinity {
    mount: Mount,
    inner: Box<dyn Backend>,
    freed: u32,
}

impl FreeOfAffinity {
    pub(super) fn new(mount: &Mount, inner: Box<dyn Backend>) -> Self {
        Self { mount: mount.clone(), inner, freed: 0 }
    }
}

impl Backend for FreeOfAffinity {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn prepare(&mut self, slice: &SliceRef) -> Result<Home, PrepareError> {
        self.inner.prepare(slice)
    }

    fn leaf(&self, home: &Home, session: &SessionName) -> CgroupPath {
        self.inner.leaf(home, session)
    }

    fn place(
        &mut self,
        process: &HeldProcess,
        home: &Home,
        session: &SessionName,
    ) -> Result<CgroupPath, MoveError> {
        self.freed = 0;
        let before = before_move(process, &self.mount);
        let leaf = self.inner.place(process, home, session)?;
        self.freed = before.map_or(0, |before| after_move(process, &leaf, &before, &self.mount));
        Ok(leaf)
    }

    fn freed_threads(&self) -> u32 {
        self.freed
    }

    fn tidy(&mut self) {
        self.inner.tidy();
    }

    fn hand_over(&mut self) {
        self.inner.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn cpus(text: &str) -> CpuSet {
        parse_cpus(text).unwrap()
    }

    #[test]
    fn lists_are_read_as_the_kernel_writes_them() {
        let set = cpus("0-2,7");
        assert_eq!((0..9).filter(|cpu| set.is_set(*cpu)).collect::<Vec<_>>(), [0, 1, 2, 7]);
        assert_eq!(cpus("").count(), 0);
        for odd in ["x", "1-", "-", "5000", "1,,y"] {
            assert!(parse_cpus(odd).is_none(), "{odd}");
        }
        assert!(is_within(&cpus("1"), &set) && !is_within(&cpus("1,3"), &set));
    }

    #[test]
    fn the_nearest_file_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let leaf = CgroupPath::parse("/user.slice/leaf").unwrap();
        fs::create_dir_all(root.path().join(leaf.relative())).unwrap();
        assert!(effective(root.path(), &leaf).is_none());
        fs::write(root.path().join("cpuset.cpus.effective"), "0-3\n").unwrap();
        assert_eq!(effective(root.path(), &leaf), Some(cpus("0-3")));
        fs::write(root.path().join("user.slice/cpuset.cpus.effective"), "2-3\n").unwrap();
        assert_eq!(effective(root.path(), &leaf), Some(cpus("2-3")));
        fs::write(root.path().join("user.slice/cpuset.cpus.effective"), "\n").unwrap();
        assert_eq!(effective(root.path(), &leaf), None, "no CPU at all is no set to go by");
    }

    #[test]
    fn only_what_contradicts_is_set_free() {
        let root = tempfile::tempdir().unwrap();
        let mount = samples::mount(root.path());
        let me = HeldProcess::open(&samples::me()).unwrap();
        let tid = rustix::thread::gettid();
        let mask = sched_getaffinity(Some(tid)).unwrap();
        let allow = |text: &str| fs::write(root.path().join("cpuset.cpus.effective"), text).unwrap();
        let freed = |before: &CpuSet, unbound: &CpuSet| {
            let before = Before { unbound: *unbound, threads: HashMap::from([(tid, *before)]) };
            after_move(&me, &CgroupPath::root(), &before, &mount)
        };
        let (one, two) = (cpus("1000"), cpus("1001"));
        assert_eq!(freed(&one, &two), 0, "no controller");
        allow("1000-1001");
        assert_eq!(freed(&one, &two), 0, "bound to CPUs that it still has");
        allow("1001");
        assert_eq!(freed(&one, &one), 0, "never bound");
        assert_eq!(freed(&one, &cpus("999-1000")), 1);
        assert_eq!(sched_getaffinity(Some(tid)).unwrap(), mask, "all that the real cgroup allows");
    }
}
