//! Reads what the programs of a running agent know about the creators of threads.

use aya::maps::{HashMap, Map, MapData, MapError};
use procwatch_common::{
    creators::{RefusalCell, SampleCell, SampleKey, StackCell, StackKey},
    growth::Growth,
};

use super::{KernelError, agent_maps};
use crate::{
    creators::{CreatorStack, Creators, StackSample},
    event::{BootTime, ProcessKey},
    inspect,
    text::Comm,
};

/// What the agent with process id `agent` has seen of the creators of `process`. `None` when the process never was above
/// the floor, or that agent has no such maps.
///
/// # Errors
/// When a map of it cannot be read.
pub fn read(agent: u32, process: ProcessKey) -> Result<Option<Creators>, KernelError> {
    let mut maps = agent_maps::of(agent)?;
    let mut take = |name| maps.remove(name);
    let (growth, stacks, samples, refusals) =
        (take("GROWTH"), take("STACKS"), take("SAMPLES"), take("REFUSALS"));
    let (Some(growth), Some(stacks), Some(samples), Some(refusals)) = (growth, stacks, samples, refusals)
    else {
        return Ok(None);
    };
    let name = [process.start.0, u64::from(process.pid)];
    let growth: HashMap<_, [u64; 2], Growth> = map(Map::HashMap(growth), "GROWTH")?;
    let Ok(growth) = growth.get(&name, 0) else {
        return Ok(None);
    };
    let refusals: HashMap<_, [u64; 2], RefusalCell> = map(Map::HashMap(refusals), "REFUSALS")?;
    let stacks = stacks_of(process, &map(Map::LruHashMap(stacks), "STACKS")?);
    let kept: u64 = stacks.iter().map(|stack| stack.count).sum();
    Ok(Some(Creators {
        samples: samples_of(process, &map(Map::LruHashMap(samples), "SAMPLES")?),
        creations: growth.creations,
        unkept: growth.creations.saturating_sub(kept),
        refused: refusals.get(&name, 0).map_or(0, |cell| cell.refused),
        stacks,
    }))
}

/// The lasting name of the live process `pid`, when the agent with process id `agent` has seen it above the floor: /proc
/// tells its start only to a clock tick.
///
/// # Errors
/// When the agent's maps cannot be read.
pub fn key_of(agent: u32, pid: u32) -> Result<Option<ProcessKey>, KernelError> {
    let Some(data) = agent_maps::of(agent)?.remove("GROWTH") else {
        return Ok(None);
    };
    let growth: HashMap<_, [u64; 2], Growth> = map(Map::HashMap(data), "GROWTH")?;
    let own = growth.keys().map_while(Result::ok).filter(|key| key[1] == u64::from(pid));
    let mut keys = own.map(|key| ProcessKey { pid, start: BootTime(key[0]) });
    Ok(keys.find(|key| inspect::is_alive(*key)))
}

fn map<M: TryFrom<Map, Error = MapError>>(map: Map, name: &'static str) -> Result<M, KernelError> {
    M::try_from(map).map_err(|source| KernelError::Map { name, source })
}

fn stacks_of(process: ProcessKey, map: &HashMap<MapData, StackKey, StackCell>) -> Vec<CreatorStack> {
    // A key that goes away while we walk ends the walk: what was seen is told.
    let keys = map.keys().map_while(Result::ok);
    let own = keys.filter(|key| (key.tgid, key.start_ns) == (process.pid, process.start.0));
    let mut stacks: Vec<CreatorStack> = own
        .filter_map(|key| {
            let cell = map.get(&key, 0).ok()?;
            let depth = (cell.depth as usize).min(cell.frames.len());
            Some(CreatorStack {
                hash: key.hash,
                count: cell.count,
                refused: cell.refused,
                frames: cell.frames[..depth].to_vec(),
            })
        })
        .collect();
    stacks.sort_by_key(|stack| std::cmp::Reverse((stack.count, stack.refused)));
    stacks
}

fn samples_of(process: ProcessKey, map: &HashMap<MapData, SampleKey, SampleCell>) -> Vec<StackSample> {
    let slots = 0..procwatch_common::creators::MAX_SAMPLES;
    let mut samples: Vec<StackSample> = slots
        .filter_map(|slot| {
            let key = SampleKey { start_ns: process.start.0, tgid: process.pid, slot };
            map.get(&key, 0).ok().map(|cell| sample(&cell))
        })
        .collect();
    samples.sort_by_key(|sample| sample.time);
    samples
}

fn sample(cell: &SampleCell) -> StackSample {
    let len = (cell.len as usize).min(cell.stack.len());
    StackSample {
        time: BootTime(cell.time_ns),
        tid: cell.tid,
        comm: Comm::new(cell.comm),
        stack_hash: cell.hash,
        ip: cell.ip,
        sp: cell.sp,
        bp: cell.bp,
        stack: cell.stack[..len].to_vec(),
    }
}
