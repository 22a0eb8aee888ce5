//! Units of ours that keep slices in being.
//!
//! A user's slice is stopped when its last unit ends, and all cgroups in it are removed. A service of ours in it, whose
//! only process waits, prevents that; its cgroup is delegated to us, so that we may make others below it.
//!
//! Stopping the unit, the slice, or the user's sessions (`loginctl terminate-user`) kills nobody who lives below it.
//! What does is what is meant to: `loginctl kill-user`, `systemctl kill` of the unit without `--kill-who=main`, and the
//! end of the machine's work.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::OwnedFd,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{Home, PrepareError, SessionName, held, leaves::Leaves};
use crate::{
    cgroup::{CgroupPath, Mount, SliceRef, resolve},
    systemd::{BusError, Manager, Property, Value, Waits},
    text::escape,
};

/// How long a unit that is on its way up or down, or back up after its process was killed, is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Longest name of a unit, bytes.
const MAX_UNIT: usize = 255;
/// What the names of the units begin with.
const PREFIX: &str = "procwatch-";
/// The argument that makes procwatch the waiting process.
const KEEP: &str = "keep";

/// The units and what they keep.
#[derive(Debug)]
pub(super) struct Keepers {
    mount: Mount,
    /// `None` after a failure: the bus may have been started anew.
    manager: Option<Manager>,
    kept: BTreeMap<CgroupPath, Keeper>,
}

/// A unit that runs.
#[derive(Debug)]
struct Keeper {
    unit: String,
    /// The unit that is kept.
    slice: String,
    /// Its cgroup.
    cgroup: CgroupPath,
    /// Its main process: when that ends the unit has ended, or is about to be started anew.
    main: OwnedFd,
    /// It did not run before.
    is_new: bool,
}

impl Keepers {
    /// None yet.
    pub(super) const fn new(mount: Mount, manager: Manager) -> Self {
        Self { mount, manager: Some(manager), kept: BTreeMap::new() }
    }

    /// The service manager.
    pub(super) fn manager(&mut self) -> Result<&Manager, BusError> {
        match self.manager.take() {
            Some(manager) => Ok(self.manager.insert(manager)),
            None => Ok(self.manager.insert(Manager::connect(Waits::Beside)?)),
        }
    }

    /// Sees to it that the unit of `slice` runs, whoever started it. The leaves are those below its cgroup.
    pub(super) fn keep(&mut self, slice: &SliceRef) -> Result<Home, PrepareError> {
        let unit = unit_of(slice)?;
        let was_new = self.kept.remove(slice.path()).is_some_and(|keeper| keeper.is_new);
        let cgroup = slice.path().child(&unit);
        let (main, is_new) = match self.run(&unit, slice, &cgroup) {
            // The bus may have been started anew since it was asked last.
            Err(PrepareError::Bus(error)) if self.forget_broken(&error) => self.run(&unit, slice, &cgroup)?,
            run => run?,
        };
        let is_there = self.mount.point.join(cgroup.relative()).is_dir();
        let elsewhere = format!("it runs, but not in {cgroup}; stop it: systemctl stop {unit}");
        let elsewhere = (!is_there).then(|| PrepareError::Manager { unit: unit.clone(), what: elsewhere });
        let keeper = Keeper {
            unit,
            slice: slice.unit().unwrap_or_default().to_owned(),
            cgroup: cgroup.clone(),
            main,
            is_new: is_new || was_new,
        };
        self.kept.insert(slice.path().clone(), keeper);
        match elsewhere {
            Some(error) => Err(error),
            None => Ok(Home { slice: resolve(&self.mount, slice)?, leaves: cgroup }),
        }
    }

    /// The slice as a unit, as long as the unit in it runs.
    pub(super) fn kept(&self, slice: &CgroupPath) -> Option<&str> {
        let keeper = self.kept.get(slice)?;
        held::is_alive(&keeper.main).unwrap_or(false).then_some(&keeper.slice)
    }

    /// Removes empty leaves below the units, and stops those units that keep their slice for nobody.
    pub(super) fn tidy(&mut self, leaves: &mut Leaves) {
        leaves.remove_empty();
        for (slice, keeper) in std::mem::take(&mut self.kept) {
            if leaves.remove_empty_below(&keeper.cgroup) + leaves.inhabited_scopes(&slice) > 0 {
                continue;
            }
            let stopped = self.manager().and_then(|manager| {
                let is_ours = is_ours(manager, &keeper.unit, &keeper.slice)?;
                if is_ours { manager.stop(&keeper.unit) } else { Ok(()) }
            });
            if let Err(error) = stopped {
                tracing::warn!("{error}; the unit goes on");
            }
        }
    }

    /// Another one keeps the units running from now on.
    pub(super) fn hand_over(&mut self, leaves: &mut Leaves) {
        leaves.remove_empty();
        self.kept.clear();
    }

    /// Takes a broken connection out of use. False when it was not that.
    pub(super) fn forget_broken(&mut self, error: &BusError) -> bool {
        let is_broken = matches!(error, BusError::NoAnswer { .. });
        if is_broken {
            self.manager = None;
        }
        is_broken
    }

    /// Starts the unit unless it runs. Returns its main process, and whether it had to be started.
    fn run(
        &mut self,
        unit: &str,
        slice: &SliceRef,
        cgroup: &CgroupPath,
    ) -> Result<(OwnedFd, bool), PrepareError> {
        let mut is_new = false;
        let folder = self.mount.point.join(cgroup.relative());
        let manager = self.manager()?;
        let begun = Instant::now();
        loop {
            let state: String = manager.unit_property(unit, "ActiveState")?;
            let is_there = manager.unit_property::<String>(unit, "LoadState")? != "not-found";
            // One that runs may have lost its file.
            if (is_there || state == "active") && !is_ours(manager, unit, slice.unit().unwrap_or_default())? {
                return Err(PrepareError::Manager { unit: unit.to_owned(), what: foreign(slice) });
            }
            if state == "active" {
                if let Some(main) = hold(manager.type_property(unit, "MainPID")?) {
                    return Ok((main, is_new));
                }
            } else {
                is_new = true;
                make_enterable(&folder);
                start(manager, unit, slice, is_there, &state)?;
            }
            if begun.elapsed() > PATIENCE {
                let result = escape(state.as_bytes()).into_owned();
                return Err(BusError::Job { unit: unit.to_owned(), order: "start it", result }.into());
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Drop for Keepers {
    /// Of an agent that could not start, or a configuration that was refused, nothing is left; what ran before goes on.
    /// After a clean stop there is nothing to do any more.
    fn drop(&mut self) {
        self.kept.retain(|_, keeper| keeper.is_new);
        let mut leaves = Leaves::new(&self.mount);
        self.tidy(&mut leaves);
    }
}

/// Whether a unit that is there is one that we made: somebody's own may bear the same name, and is his.
fn is_ours(manager: &Manager, unit: &str, slice: &str) -> Result<bool, BusError> {
    Ok(manager.unit_property(unit, "Transient")? && manager.type_property::<String>(unit, "Slice")? == slice)
}

/// What is said of a unit that is not ours.
fn foreign(slice: &SliceRef) -> String {
    format!(
        "there is a unit of that name that procwatch has not made, and it is not touched; procwatch needs the name to keep \
         {slice}: give yours another one, or set backend = \"cgroupfs\""
    )
}

/// Starts the unit once. A start that came between is as good.
fn start(
    manager: &Manager,
    unit: &str,
    slice: &SliceRef,
    is_there: bool,
    state: &str,
) -> Result<(), BusError> {
    if !is_there {
        return match manager.start_transient(unit, &properties(slice, &program()?)) {
            Err(error) if error.is("UnitExists") => Ok(()),
            other => other,
        };
    }
    if state == "failed" {
        manager.reset_failed(unit)?;
    }
    match manager.start(unit) {
        Err(error) if error.is("NoSuchUnit") => Ok(()),
        other => other,
    }
}

/// The unit that keeps `slice`.
fn unit_of(slice: &SliceRef) -> Result<String, PrepareError> {
    let refuse = |what: &str| PrepareError::Manager { unit: slice.to_string(), what: what.to_owned() };
    let Some(stem) = slice.unit().and_then(|unit| unit.strip_suffix(".slice")) else {
        return Err(refuse(
            "a path is no unit of systemd; name a slice such as \"user-1003.slice\", or set backend = \"cgroupfs\"",
        ));
    };
    let unit = format!("{PREFIX}{stem}.service");
    match (stem, unit.len() <= MAX_UNIT) {
        ("-", _) => Err(refuse("nobody is placed into the root slice; name one below it")),
        (_, false) => Err(refuse("the name is too long for the unit that procwatch makes of it")),
        _ => Ok(unit),
    }
}

/// Whether this is the cgroup of a unit of ours, where the system's manager puts it: one that keeps a slice, or the scope
/// of a session. What a user calls his own cgroups says nothing.
pub fn is_unit_of_ours(cgroup: &CgroupPath) -> bool {
    let (Some(name), Some(slice)) = (cgroup.name(), cgroup.parent()) else {
        return false;
    };
    let kept = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(".service"));
    match kept {
        Some(stem) => SliceRef::parse(&format!("{stem}.slice")).is_ok_and(|kept| *kept.path() == slice),
        None => SessionName::of_scope(name).is_some() && slice.is_slice(),
    }
}

/// This very program, for systemd to start. When its file was replaced it is the new one.
fn program() -> Result<String, BusError> {
    let odd =
        |what: String| BusError::Odd { unit: "procwatch".to_owned(), order: "start a copy of it", what };
    let path = std::env::current_exe().map_err(|error| odd(error.to_string()))?;
    let Some(path) = path.to_str() else {
        return Err(odd("the path of the program is no UTF-8".to_owned()));
    };
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    if !Path::new(path).exists() {
        return Err(odd(format!("{} is not there any more; start procwatch anew", escape(path.as_bytes()))));
    }
    Ok(path.to_owned())
}

/// What the unit is like.
///
/// Stopping it signals its main process alone. What systemd does by means of the unit's cgroup would hold for all who
/// live below it, so the main process is confined by other means only: no `PrivateDevices=` and no `ProtectClock=`,
/// which forbid devices.
fn properties<'a>(slice: &'a SliceRef, program: &'a str) -> Vec<Property<'a>> {
    let allow_list = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Value::from((true, names))
    };
    let argv = vec![program.to_owned(), KEEP.to_owned(), "--apart".to_owned()];
    vec![
        ("Description", Value::from(format!("procwatch's place for su sessions in {slice}"))),
        ("Slice", Value::from(slice.unit().unwrap_or_default())),
        ("Type", Value::from("exec")),
        ("ExecStart", Value::from(vec![(program.to_owned(), argv, false)])),
        ("Restart", Value::from("always")),
        ("RestartUSec", Value::from(100_000_u64)),
        ("CollectMode", Value::from("inactive-or-failed")),
        ("Delegate", Value::from(true)),
        ("KillMode", Value::from("process")),
        ("SendSIGKILL", Value::from(false)),
        ("OOMPolicy", Value::from("continue")),
        ("TasksMax", Value::from(u64::MAX)),
        ("NoNewPrivileges", Value::from(true)),
        ("CapabilityBoundingSet", Value::from(0_u64)),
        ("ProtectSystem", Value::from("strict")),
        ("ProtectHome", Value::from("read-only")),
        ("RestrictAddressFamilies", allow_list(&[])),
        ("RestrictNamespaces", Value::from(0_u64)),
        ("SystemCallFilter", allow_list(&["@system-service"])),
        ("LockPersonality", Value::from(true)),
        ("MemoryDenyWriteExecute", Value::from(true)),
        ("RestrictRealtime", Value::from(true)),
        ("RestrictSUIDSGID", Value::from(true)),
    ]
}

/// A process that is to enter a cgroup cannot do so while controllers are enabled below it. Those that live below from
/// an earlier run of the unit lose the limits that they had as single sessions; the slice's hold on.
fn make_enterable(unit: &Path) {
    let file = unit.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&file).unwrap_or_default();
    let off: Vec<String> = enabled.split_ascii_whitespace().map(|name| format!("-{name}")).collect();
    if off.is_empty() {
        return;
    }
    match fs::write(&file, off.join(" ")) {
        Ok(()) => {
            tracing::warn!("limits of single sessions were taken off, so that the unit can start again");
        }
        Err(error) => tracing::warn!("{}: {error}", escape(file.as_os_str().as_encoded_bytes())),
    }
}

fn hold(pid: u32) -> Option<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slice_has_a_unit_of_its_own() {
        let unit = |text: &str| unit_of(&SliceRef::parse(text).unwrap()).map_err(|error| error.to_string());
        assert_eq!(unit("user-1003.slice").unwrap(), "procwatch-user-1003.service");
        assert_eq!(unit(r"my\x2dapp.slice").unwrap(), r"procwatch-my\x2dapp.service");
        assert!(unit("-.slice").unwrap_err().contains("root slice"));
        assert!(unit(&format!("{}.slice", "x".repeat(249))).unwrap_err().contains("too long"));
        let path = unit("/test/target").unwrap_err();
        assert!(path.starts_with("/test/target: a path is no unit of systemd"), "{path}");
    }

    #[test]
    fn a_unit_of_ours_is_known_by_its_place() {
        let is_ours = |path: &str| is_unit_of_ours(&CgroupPath::parse(path).unwrap());
        for path in [
            "/user.slice/user-1003.slice/procwatch-user-1003.service",
            "/_cpu.slice/cpu-heavy.slice/procwatch-cpu-heavy.service",
            "/ai.slice/procwatch-su-4242-83112.scope",
        ] {
            assert!(is_ours(path), "{path}");
        }
        for path in [
            "/",
            "/user.slice/user-1003.slice/procwatch-ai.service",
            "/user.slice/user-1003.slice/user@1003.service/ai.slice/procwatch-ai.service",
            "/user.slice/user-1003.slice/user@1003.service/app.slice/procwatch-su-1-2.scope",
            "/ai.slice/procwatch.service",
            "/ai.slice/procwatch-ai.service/su-1-2",
        ] {
            assert!(!is_ours(path), "{path}");
        }
    }

    #[test]
    fn controllers_are_taken_off_where_they_hinder() {
        let folder = tempfile::tempdir().unwrap();
        make_enterable(folder.path());
        let file = folder.path().join("cgroup.subtree_control");
        assert!(!file.exists());
        fs::write(&file, "cpu memory\n").unwrap();
        make_enterable(folder.path());
        assert_eq!(fs::read_to_string(&file).unwrap(), "-cpu -memory");
    }
}
