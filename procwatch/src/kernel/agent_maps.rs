//! The maps of a running agent, which may be another process: they are found among its open descriptors.

use std::{collections::BTreeMap, fs, io, path::Path};

use aya::maps::{HashMap, Map, MapData};
use procwatch_common::policy::{PROTECTED, ProcessCell};

use super::{KernelError, pins::PinFolder};
use crate::event::{BootTime, ProcessKey};

const BPF_EXIST: u64 = 2;

/// All maps that the agent with process id `agent` has open, by their names.
///
/// # Errors
/// When they cannot be listed.
pub(super) fn of(agent: u32) -> Result<BTreeMap<String, MapData>, KernelError> {
    let ids = ids(agent).map_err(|source| KernelError::Io { what: "the agent's maps", source })?;
    let named = ids.into_iter().filter_map(|id| {
        // A map may go while we look.
        let data = MapData::from_id(id).ok()?;
        let name = data.info().ok()?.name_as_str()?.to_owned();
        Some((name, data))
    });
    Ok(named.collect())
}

/// Those that an agent has left pinned, by their names. None when nothing is pinned.
fn pinned() -> Result<BTreeMap<String, MapData>, KernelError> {
    let mut maps = BTreeMap::new();
    let states = PinFolder::find_mounted().map(|folder| folder.states()).transpose()?.unwrap_or_default();
    for state in states {
        for (name, path) in state.maps()? {
            // One that cannot be opened is as good as none.
            maps.extend(MapData::from_pin(path).ok().map(|data| (name, data)));
        }
    }
    Ok(maps)
}

fn ids(process: u32) -> io::Result<Vec<u32>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(Path::new("/proc").join(process.to_string()).join("fdinfo"))? {
        // A descriptor may be closed while we look.
        let Ok(info) = fs::read_to_string(entry?.path()) else {
            continue;
        };
        let id = info.lines().find_map(|line| line.strip_prefix("map_id:")?.trim().parse::<u32>().ok());
        ids.extend(id);
    }
    Ok(ids)
}

/// Takes back the caps that an alert's step has put on processes: on `pid`, or on all. The caps of rules stay. Without an
/// agent they may hold on, too, in what it has left pinned. Returns whose they were, each with its most threads.
///
/// # Errors
/// When the map cannot be read or written.
pub fn lift_caps(agent: Option<u32>, pid: Option<u32>) -> Result<Vec<(ProcessKey, u32)>, KernelError> {
    let named = |source| KernelError::Map { name: "THREAD_CELLS", source };
    let mut maps = agent.map_or_else(pinned, of)?;
    let Some(data) = maps.remove("THREAD_CELLS") else {
        return Ok(Vec::new());
    };
    let mut cells: HashMap<_, u32, ProcessCell> = HashMap::try_from(Map::HashMap(data)).map_err(named)?;
    let meant = |(tgid, _): &(u32, ProcessCell)| pid.is_none_or(|pid| pid == *tgid);
    let capped = |(_, cell): &(u32, ProcessCell)| cell.cap != 0 && cell.cap != PROTECTED;
    let found: Vec<_> = cells.iter().map_while(Result::ok).filter(meant).filter(capped).collect();
    let mut lifted = Vec::new();
    for (tgid, cell) in found {
        match cells.insert(tgid, ProcessCell { cap: 0, ..cell }, BPF_EXIST) {
            // It has ended meanwhile, and its cap with it.
            Err(_) if cells.get(&tgid, 0).is_err() => continue,
            done => done.map_err(named)?,
        }
        lifted.push((ProcessKey { pid: tgid, start: BootTime(cell.start_ns) }, cell.cap));
    }
    Ok(lifted)
}
