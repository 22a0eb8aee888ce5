//! What the agent tells the programs of placement.

use std::collections::BTreeSet;

use aya::maps::{HashMap, MapData, MapError};
use procwatch_common::place::{Leave, LeftKey, PlaceCell, SettledKey};

use super::{KernelError, maps::Maps, set::retain};
use crate::{config::Owner, event::ProcessKey};

/// The maps of placement.
pub struct PlacementMaps {
    uids: HashMap<MapData, u32, PlaceCell>,
    gids: HashMap<MapData, u32, PlaceCell>,
    left_cgroups: HashMap<MapData, LeftKey, u32>,
    settled: HashMap<MapData, SettledKey, u32>,
}

impl PlacementMaps {
    pub(super) fn take(maps: &mut Maps) -> Result<Self, KernelError> {
        Ok(Self {
            uids: maps.take("PLACE_UIDS")?,
            gids: maps.take("PLACE_GIDS")?,
            left_cgroups: maps.take("LEFT_CGROUPS")?,
            settled: maps.take("SETTLED")?,
        })
    }

    /// Says where the processes of `owner` belong, in place of what was said before.
    ///
    /// # Errors
    /// When the map is full.
    pub fn set_rule(&mut self, owner: Owner, cell: PlaceCell) -> Result<(), KernelError> {
        let (map, name, id) = match owner {
            Owner::Uid(uid) => (&mut self.uids, "PLACE_UIDS", uid),
            Owner::Gid(gid) => (&mut self.gids, "PLACE_GIDS", gid),
        };
        map.insert(id, cell, 0).map_err(named(name))
    }

    /// Says where the processes of all owners belong; whom it does not name no rule speaks of any more.
    ///
    /// # Errors
    /// When there are more than the programs have room for.
    pub fn replace_rules(&mut self, rules: &[(Owner, PlaceCell)]) -> Result<(), KernelError> {
        let owners = |of: fn(&Owner) -> Option<u32>| -> BTreeSet<u32> {
            rules.iter().filter_map(|(owner, _)| of(owner)).collect()
        };
        let uids = owners(|owner| if let Owner::Uid(uid) = owner { Some(*uid) } else { None });
        let gids = owners(|owner| if let Owner::Gid(gid) = owner { Some(*gid) } else { None });
        // Old ones go first, or there may be no room for new ones.
        retain(&mut self.uids, |uid| uids.contains(uid)).map_err(named("PLACE_UIDS"))?;
        retain(&mut self.gids, |gid| gids.contains(gid)).map_err(named("PLACE_GIDS"))?;
        rules.iter().try_for_each(|(owner, cell)| self.set_rule(*owner, *cell))
    }

    /// Nothing is settled any more: the programs ask again about processes and cgroups that were left alone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn forget_settled(&mut self) -> Result<(), KernelError> {
        retain(&mut self.left_cgroups, |_| false).map_err(named("LEFT_CGROUPS"))?;
        retain(&mut self.settled, |_| false).map_err(named("SETTLED"))
    }

    /// The processes of this user in this cgroup are left alone by this rule; the programs ask no more.
    ///
    /// # Errors
    /// When the kernel refuses the write.
    pub fn leave_cgroup(&mut self, left: LeftKey, why: Leave) -> Result<(), KernelError> {
        self.left_cgroups.insert(left, why as u32, 0).map_err(named("LEFT_CGROUPS"))
    }

    /// This process is left alone; an exec of it that is held goes on.
    ///
    /// # Errors
    /// When the kernel refuses the write.
    pub fn leave_process(&mut self, process: ProcessKey, why: Leave) -> Result<(), KernelError> {
        self.settled.insert(key(process), why as u32, 0).map_err(named("SETTLED"))
    }
}

const fn key(process: ProcessKey) -> SettledKey {
    SettledKey { start_ns: process.start.0, tgid: process.pid, pad: 0 }
}

fn named(name: &'static str) -> impl FnOnce(MapError) -> KernelError {
    move |source| KernelError::Map { name, source }
}
