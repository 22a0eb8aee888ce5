//! Finds the cgroups of the rules and tells the kernel programs of them.

use std::time::Duration;

use procwatch_common::{
    place::{ELSEWHERE, MAX_FROM, PLACE_AT_EXEC_ONLY, PlaceCell},
    policy::CgroupCell,
};

use super::{Placer, Rule, account::Account, facts::Facts, sessions::Sessions, watch::Watch};
use crate::{
    agent::{AgentError, rules::mark},
    cgroup::{
        Mount, ResolveError, ResolvedCgroup, SliceRef,
        resolve::{resolve, systemd_runs},
    },
    clock::Clock,
    config::{BackendChoice, Config, Owner, PlaceRule},
    detect::place::Placement,
    execute::{Backend, Home, PrepareError, backend_for, cgroupfs::CgroupFs},
    kernel::Kernel,
    record::Mode,
};

impl Placer {
    /// Finds the cgroups of all rules. `backend` makes the back end for a rule. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a slice is not there and cannot be made.
    pub fn new(
        config: &Config,
        mount: &Mount,
        mut backend: impl FnMut(&PlaceRule) -> Result<Box<dyn Backend>, PrepareError>,
    ) -> Result<Self, AgentError> {
        let mut rules = Vec::with_capacity(config.place.len());
        for written in &config.place {
            rules.push(ready(config, mount, written, &mut backend)?);
        }
        Ok(Self {
            settings: Settings::of(config),
            watch: watch(mount, &config.place)?,
            rules,
            placement: Placement::new(),
            mount: mount.clone(),
            facts: Facts::new(mount),
            sessions: Sessions::default(),
            account: Account::default(),
        })
    }

    /// Cgroups of rules that are not there now, each with its rule: they are watched for.
    pub fn absent(&self) -> Vec<String> {
        absent(&self.mount, self.rules.iter().map(|rule| &rule.written))
    }

    /// Looks the rules' cgroups up again and tells the programs of those that are others now. Returns whether any is.
    ///
    /// # Errors
    /// When the kernel side refuses.
    pub fn find_again(&mut self, kernel: &mut Kernel) -> Result<bool, AgentError> {
        let mut any = false;
        for index in 0..self.rules.len() {
            let rule = &mut self.rules[index];
            let from = sources(&self.mount, &rule.written);
            let mut changed = from != rule.from;
            rule.from = from;
            let is_other = resolve(&self.mount, &rule.written.slice).is_ok_and(|now| now != rule.home.slice);
            if is_other && let Ok(home) = rule.backend.prepare(&rule.written.slice) {
                rule.home = home;
                changed = true;
            }
            if changed {
                self.tell_rule(index, kernel)?;
            }
            any |= changed;
        }
        Ok(any)
    }

    /// Tells the kernel programs where whose processes belong.
    ///
    /// # Errors
    /// When there are more rules than the kernel side has room for.
    pub fn arm(&mut self, kernel: &mut Kernel, mount: &Mount, clock: &Clock) -> Result<(), AgentError> {
        let cells: Vec<_> = self
            .rules
            .iter()
            .enumerate()
            .map(|(index, rule)| (rule.written.owner, self.cell(index)))
            .collect();
        // A rule that has moved to another line is the same.
        let written = self.rules.iter().map(|rule| {
            let PlaceRule { owner, slice, from, hold, ignore, described, location: _ } = &rule.written;
            (owner, slice, from, hold, ignore, described)
        });
        let written: Vec<_> = written.collect();
        let mark = mark(&(written, self.settings));
        let are_others = kernel.control().place_policy != mark;
        if are_others {
            // Who was left alone under other rules is judged anew.
            kernel.placement().forget_settled()?;
        }
        kernel.placement().replace_rules(&cells)?;
        let elsewhere = ELSEWHERE.map(|(path, _)| {
            let found = SliceRef::parse(path).ok().and_then(|slice| resolve(mount, &slice).ok());
            found.as_ref().map(cell).unwrap_or_default()
        });
        let is_group = |rule: &&Rule| matches!(rule.written.owner, Owner::Gid(_));
        let groups = self.rules.iter().filter(is_group).count() as u32;
        kernel.steer(|control| {
            control.place_rules = self.rules.len() as u32;
            control.place_groups = groups;
            control.elsewhere = elsewhere;
            control.place_policy = mark;
        })?;
        if are_others {
            // The programs know no other numbers any more. Who was outside before is found by the look around that follows.
            self.placement = Placement::since(clock.now());
        }
        Ok(())
    }

    /// From here on execs are held: those who are left alone are known by now.
    ///
    /// # Errors
    /// When the kernel side refuses.
    pub fn begin_to_hold(&self, kernel: &mut Kernel) -> Result<(), AgentError> {
        let holds = kernel.can_hold() && self.settings.mode == Mode::Enforce;
        Ok(kernel.steer(|control| control.hold = u32::from(holds))?)
    }

    pub(super) fn tell_rule(&self, index: usize, kernel: &mut Kernel) -> Result<(), AgentError> {
        Ok(kernel.placement().set_rule(self.rules[index].written.owner, self.cell(index))?)
    }

    fn cell(&self, index: usize) -> PlaceCell {
        let Rule { written, home, from, .. } = &self.rules[index];
        let mut cells = [CgroupCell::default(); MAX_FROM];
        for (slot, source) in cells.iter_mut().zip(from) {
            *slot = cell(source);
        }
        let hold = if self.settings.mode == Mode::Enforce { written.hold } else { Duration::ZERO };
        PlaceCell {
            target: cell(&home.slice),
            from: cells,
            hold_ns: hold.as_nanos() as u64,
            rule: index as u32,
            flags: if written.ignore.is_by_program() { PLACE_AT_EXEC_ONLY } else { 0 },
        }
    }
}

/// What holds for all rules: back ends serve for as long as it is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Whether decisions are carried out.
    pub(super) mode: Mode,
    backend: BackendChoice,
}

impl Settings {
    pub(super) const fn of(config: &Config) -> Self {
        Self { mode: config.mode, backend: config.backend }
    }
}

/// The way of moving that the configuration names. In observe mode that which touches nothing to know where a slice is.
///
/// # Errors
/// When a service manager is needed and cannot be reached.
pub fn backend(config: &Config, rule: &PlaceRule, mount: &Mount) -> Result<Box<dyn Backend>, PrepareError> {
    match config.mode {
        Mode::Observe => Ok(Box::new(CgroupFs::new(mount))),
        Mode::Enforce => backend_for(config.backend, &rule.slice, mount),
    }
}

/// A rule with its cgroups found.
pub(super) fn ready(
    config: &Config,
    mount: &Mount,
    written: &PlaceRule,
    backend: &mut impl FnMut(&PlaceRule) -> Result<Box<dyn Backend>, PrepareError>,
) -> Result<Rule, AgentError> {
    let named = |source| AgentError::Slice {
        context: format!("{}: {}", written.location, written.described),
        source,
    };
    let mut backend = backend(written).map_err(named)?;
    let home = match backend.prepare(&written.slice) {
        Err(error) if config.mode == Mode::Observe && may_come(&written.slice, &error) => {
            Home::absent(&written.slice)
        }
        home => home.map_err(named)?,
    };
    Ok(Rule { written: written.clone(), home, from: sources(mount, written), backend })
}

/// Cgroups of these rules that are not there now, each with its rule.
pub(super) fn absent<'r>(mount: &Mount, rules: impl Iterator<Item = &'r PlaceRule>) -> Vec<String> {
    let absent = rules.flat_map(|rule| {
        let named = [("slice", &rule.slice)].into_iter().chain(rule.from.iter().map(|it| ("from", it)));
        let gone = named.filter(|(_, slice)| resolve(mount, slice).is_err());
        gone.map(|(key, slice)| {
            format!("{}: {key} {slice} is not there yet; it is watched for", rule.described)
        })
    });
    absent.collect()
}

/// Watches for all cgroups that these rules name. Must be called within a tokio runtime.
pub(super) fn watch(mount: &Mount, rules: &[PlaceRule]) -> Result<Option<Watch>, AgentError> {
    let paths = rules.iter().flat_map(|rule| rule.from.iter().chain([&rule.slice]));
    let watch = (!rules.is_empty()).then(|| Watch::new(mount, paths.map(SliceRef::path)));
    watch.transpose().map_err(AgentError::io("watching the cgroups of rules"))
}

/// Whether a slice that could not be made ready is one of systemd's, which come and go with their units.
fn may_come(slice: &SliceRef, error: &PrepareError) -> bool {
    slice.unit().is_some()
        && systemd_runs()
        && matches!(error, PrepareError::Slice(ResolveError::Missing { .. }))
}

/// The sources of a rule that are there now.
pub(super) fn sources(mount: &Mount, rule: &PlaceRule) -> Vec<ResolvedCgroup> {
    rule.from.iter().filter_map(|from| resolve(mount, from).ok()).collect()
}

/// Whether execs are to be held by this configuration.
pub fn wants_hold(config: &Config) -> bool {
    config.mode == Mode::Enforce && config.place.iter().any(|rule| !rule.hold.is_zero())
}

const fn cell(cgroup: &ResolvedCgroup) -> CgroupCell {
    CgroupCell { id: cgroup.id, depth: cgroup.depth, pad: 0 }
}
