//! Where a process lives, and with whom.

use std::{fs, os::unix::fs::MetadataExt as _};

use super::{
    cell::{Cell, CellKind, Origin},
    hands::Hands,
    limit::Limit,
    plan::{Company, Plan, Surroundings, Unit, plans},
    protect::protection,
    target::{Target, facts_of},
};
use crate::{cgroup::CgroupPath, config::Protect, inspect, systemd::BusError};

/// More processes than this in one cgroup are not looked at: then it counts as shared.
const MAX_COMPANY: usize = 4096;
/// The longest line of ancestors that is followed.
const MAX_LINE: usize = 64;
/// The deepest nest of cgroups that is looked into.
const MAX_DEPTH: usize = 16;

impl Hands<'_> {
    /// The cgroup that a process is to be contained by, which can have what is needed.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) fn choose(
        &self,
        target: &Target,
        need: Option<Limit>,
        protect: &Protect,
    ) -> Result<Plan, String> {
        let plans = plans(target.key(), &self.look(target, protect)?)?;
        let mut why = String::new();
        for plan in plans {
            match need.map_or(Ok(()), |limit| self.can_have(&plan.cell, limit)) {
                Ok(()) => return Ok(plan),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn look(&self, target: &Target, protect: &Protect) -> Result<Surroundings, String> {
        let cgroup = inspect::cgroup(target.key()).ok_or("it is in no cgroup of the v2 hierarchy")?;
        let folder = self.mount.point.join(cgroup.relative());
        let id = fs::metadata(&folder).map_err(|error| super::hands::said(&folder, &error))?.ino();
        let unit = if self.has_systemd { self.unit_of(target.pid())? } else { None };
        // What is done to a service is done to all of it.
        let main = unit.as_ref().filter(|unit| unit.main_pid == Some(target.pid()));
        let company = self.company(main.map_or(&cgroup, |unit| &unit.cgroup), target.pid(), protect);
        Ok(Surroundings {
            home: Origin { cgroup, id },
            unit,
            has_systemd: self.has_systemd,
            company,
            is_contained: target.facts().is_contained,
        })
    }

    /// The unit of a process; `None` when it has none.
    fn unit_of(&self, pid: u32) -> Result<Option<Unit>, String> {
        let told = |error: BusError| error.to_string();
        let manager = self.manager()?;
        let Some(name) = manager.unit_by_pid(pid).map_err(told)? else { return Ok(None) };
        let is_service = name.strip_suffix(".service").is_some();
        if !is_service && name.strip_suffix(".scope").is_none() {
            return Ok(None);
        }
        let path = |unit: &str| -> Result<CgroupPath, String> {
            let text: String = manager.type_property(unit, "ControlGroup").map_err(told)?;
            CgroupPath::parse(&text).map_err(|error| format!("{unit}: its cgroup {error}"))
        };
        let cgroup = path(&name)?;
        let slice: String = manager.type_property(&name, "Slice").map_err(told)?;
        let slice_cgroup = if slice.is_empty() { CgroupPath::root() } else { path(&slice)? };
        let main_pid =
            if is_service { Some(manager.type_property(&name, "MainPID").map_err(told)?) } else { None };
        Ok(Some(Unit { name, cgroup, slice, slice_cgroup, main_pid }))
    }

    /// Who lives in a cgroup beside a process.
    fn company(&self, cgroup: &CgroupPath, pid: u32, protect: &Protect) -> Company {
        let mut company = Company::default();
        let pids = self.inhabitants(cgroup);
        if pids.len() > MAX_COMPANY {
            company.stranger = pids.iter().copied().find(|other| *other != pid);
            return company;
        }
        for other in pids.into_iter().filter(|other| *other != pid) {
            // One that has ended meanwhile is none.
            let Some(there) = Target::of_pid(other) else { continue };
            if let Some(why) = protection(&there.nature(), protect) {
                company.protected.get_or_insert((other, why));
            }
            if company.stranger.is_none() && !stems_from(there.facts().ppid, pid) {
                company.stranger = Some(other);
            }
        }
        company
    }

    /// Processes in a cgroup and those below it.
    pub(super) fn inhabitants(&self, cgroup: &CgroupPath) -> Vec<u32> {
        let mut pids = Vec::new();
        let mut folders = vec![(self.mount.point.join(cgroup.relative()), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            // 0 is a process of another pid namespace.
            pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
            if depth < MAX_DEPTH && pids.len() <= MAX_COMPANY {
                let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
                let inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
                folders.extend(inner.map(|entry| (entry.path(), depth + 1)));
            }
        }
        pids
    }

    /// Makes sure that a cell has a controller, or can be given it.
    ///
    /// # Errors
    /// Why not, in words.
    pub(super) fn can_have(&self, cell: &Cell, limit: Limit) -> Result<(), String> {
        let name = limit.controller();
        if !self.mount.controllers.iter().any(|offered| offered == name) {
            return Err(format!("the cgroup2 hierarchy at {} has no {name} controller", self.mount.shown()));
        }
        if matches!(cell.kind, CellKind::Unit | CellKind::Scope)
            || self.file(&cell.cgroup, limit.file()).exists()
        {
            return Ok(());
        }
        let above = cell.cgroup.parent().unwrap_or_else(CgroupPath::root);
        let offered = self.read(&above, "cgroup.controllers").unwrap_or_default();
        if cell.may_enable && offered.split_ascii_whitespace().any(|offered| offered == name) {
            return Ok(());
        }
        Err(format!("the cgroups in {above} have no {name} controller"))
    }
}

/// Whether a process with this parent has `ancestor` above it.
fn stems_from(mut parent: u32, ancestor: u32) -> bool {
    for _ in 0..MAX_LINE {
        if parent == ancestor {
            return true;
        }
        match facts_of(parent) {
            Some(facts) if facts.ppid != 0 => parent = facts.ppid,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::samples;

    struct Sleeper(Child);

    impl Sleeper {
        fn start() -> Self {
            Self(Command::new("sleep").arg("60").spawn().unwrap())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn company_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let mount = samples::mount(root.path());
        let hands = Hands::new(&mount);
        let cgroup = CgroupPath::parse("/a").unwrap();
        fs::create_dir_all(root.path().join("a/inner")).unwrap();
        let (first, second) = (Sleeper::start(), Sleeper::start());
        let me = std::process::id();
        let protect = Protect::default();
        let company = |pids: &[u32], inner: &[u32], of: u32| {
            let text = |pids: &[u32]| pids.iter().map(u32::to_string).collect::<Vec<_>>().join("\n");
            fs::write(root.path().join("a/cgroup.procs"), text(pids)).unwrap();
            fs::write(root.path().join("a/inner/cgroup.procs"), text(inner)).unwrap();
            hands.company(&cgroup, of, &protect)
        };
        assert_eq!(company(&[me], &[], me), Company::default());
        assert_eq!(
            company(&[me], &[first.0.id(), 0, u32::MAX], me),
            Company::default(),
            "a child, and nobody"
        );
        let brother = company(&[first.0.id()], &[second.0.id()], first.0.id());
        assert_eq!(brother, Company { protected: None, stranger: Some(second.0.id()) });
        let with_first = company(&[first.0.id(), 1], &[], first.0.id());
        assert_eq!(with_first.protected.map(|it| it.0), Some(1));
    }

    #[test]
    fn controllers_are_there_or_can_be_enabled_or_not() {
        let root = tempfile::tempdir().unwrap();
        let mut mount = samples::mount(root.path());
        let cell = |may_enable| {
            let around = Surroundings {
                home: Origin { cgroup: CgroupPath::parse("/a/b").unwrap(), id: 1 },
                unit: None,
                has_systemd: false,
                company: Company::default(),
                is_contained: false,
            };
            Cell { may_enable, ..plans(samples::me().key(), &around).unwrap().remove(0).cell }
        };
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        let error = Hands::new(&mount).can_have(&cell(true), Limit::Cpu).unwrap_err();
        assert!(error.contains("has no cpu controller"), "{error}");
        mount.controllers = vec!["cpu".to_owned()];
        let hands = Hands::new(&mount);
        assert!(hands.can_have(&cell(true), Limit::Cpu).unwrap_err().contains("in /a have no cpu"));
        fs::write(root.path().join("a/cgroup.controllers"), "cpu pids\n").unwrap();
        assert!(hands.can_have(&cell(true), Limit::Cpu).is_ok());
        assert!(hands.can_have(&cell(false), Limit::Cpu).is_err());
        fs::write(root.path().join("a/b/cpu.max"), "max 100000\n").unwrap();
        assert!(hands.can_have(&cell(false), Limit::Cpu).is_ok());
    }
}
