//! Finds the cgroups of the rules and tells the kernel programs of them.

use std::time::Duration;

use procwatch_common::{
    place::{ELSEWHERE, MAX_FROM, PLACE_AT_EXEC_ONLY, PlaceCell},
    policy::CgroupCell,
};

use super::{Placer, Rule};
use crate::{
    agent::AgentError,
    cgroup::{Mount, ResolvedCgroup, SliceRef, resolve},
    config::{Config, Owner, PlaceRule},
    execute::{Backend, PrepareError},
    kernel::Kernel,
    record::Mode,
};

impl Placer {
    /// Finds the cgroups of all rules. `backend` makes the back end for a rule.
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
            let named = |source| AgentError::Slice {
                context: format!("{}: {}", written.location, written.described),
                source,
            };
            let mut backend = backend(written).map_err(named)?;
            let home = backend.prepare(&written.slice).map_err(named)?;
            let from = written.from.iter().map(|from| resolve(mount, from));
            let from = from.collect::<Result<_, _>>().map_err(|source| named(source.into()))?;
            rules.push(Rule { written: written.clone(), home, from, backend });
        }
        Ok(Self::assemble(config.mode, rules, mount))
    }

    /// Tells the kernel programs where whose processes belong.
    ///
    /// # Errors
    /// When there are more rules than the kernel side has room for.
    pub fn arm(&self, kernel: &mut Kernel, mount: &Mount) -> Result<(), AgentError> {
        for index in 0..self.rules.len() {
            self.tell_rule(index, kernel)?;
        }
        let elsewhere = ELSEWHERE.map(|(path, _)| {
            let found = SliceRef::parse(path).ok().and_then(|slice| resolve(mount, &slice).ok());
            found.as_ref().map(cell).unwrap_or_default()
        });
        let is_group = |rule: &&Rule| matches!(rule.written.owner, Owner::Gid(_));
        let groups = self.rules.iter().filter(is_group).count() as u32;
        let holds = kernel.can_hold() && self.mode == Mode::Enforce;
        Ok(kernel.steer(|control| {
            control.place_rules = self.rules.len() as u32;
            control.place_groups = groups;
            control.elsewhere = elsewhere;
            control.hold = u32::from(holds);
        })?)
    }

    pub(super) fn tell_rule(&self, index: usize, kernel: &mut Kernel) -> Result<(), AgentError> {
        let Rule { written, home, from, .. } = &self.rules[index];
        let mut cells = [CgroupCell::default(); MAX_FROM];
        for (slot, source) in cells.iter_mut().zip(from) {
            *slot = cell(source);
        }
        let hold = if self.mode == Mode::Enforce { written.hold } else { Duration::ZERO };
        let cell = PlaceCell {
            target: cell(&home.slice),
            from: cells,
            hold_ns: hold.as_nanos() as u64,
            rule: index as u32,
            flags: if written.ignore.is_by_program() { PLACE_AT_EXEC_ONLY } else { 0 },
        };
        Ok(kernel.placement().set_rule(written.owner, cell)?)
    }
}

/// Whether execs are to be held by this configuration.
pub fn wants_hold(config: &Config) -> bool {
    config.mode == Mode::Enforce && config.place.iter().any(|rule| !rule.hold.is_zero())
}

const fn cell(cgroup: &ResolvedCgroup) -> CgroupCell {
    CgroupCell { id: cgroup.id, depth: cgroup.depth, pad: 0 }
}
