//! What the agent tells the programs of threads, and asks them.

use std::collections::BTreeMap;

use aya::maps::{Array, HashMap, MapData, MapError};
use procwatch_common::{
    growth::{BURST, Growth, LEAK, WAYS},
    policy::{MAX_THREAD_RULES, PROTECTED, ProcessCell, ThreadCell},
};

use super::{
    KernelError,
    carry::{self, Change, Over, Told},
    maps::Maps,
};
use crate::event::{BootTime, ProcessKey, Way};

const BPF_NOEXIST: u64 = 1;
const BPF_EXIST: u64 = 2;

/// The maps of threads.
pub struct ThreadMaps {
    rules: Array<MapData, ThreadCell>,
    cells: HashMap<MapData, u32, ProcessCell>,
    /// By start, and (tgid, bound).
    crossed: HashMap<MapData, [u64; 2], u8>,
    /// By start, and (tgid, 0).
    growth: HashMap<MapData, [u64; 2], Growth>,
}

impl ThreadMaps {
    pub(super) fn take(maps: &mut Maps) -> Result<Self, KernelError> {
        Ok(Self {
            rules: maps.take("THREAD_RULES")?,
            cells: maps.take("THREAD_CELLS")?,
            crossed: maps.take("CROSSED")?,
            growth: maps.take("GROWTH")?,
        })
    }

    /// Says what each rule wants to know, by number, in place of all that was said before. What processes were told of
    /// under the rules before is returned: once the processes have their new rules, [`Self::carry_over`] wants it. To be
    /// called while the rules pause, see [`super::Kernel::pause_rules`].
    ///
    /// # Errors
    /// When the kernel refuses a write.
    pub fn replace_rules(&mut self, cells: &[ThreadCell]) -> Result<Told, KernelError> {
        let mut told = Told::default();
        // What ends meanwhile ends the walk; what it had begun is no more.
        let processes: Vec<[u64; 2]> = self.growth.keys().map_while(Result::ok).collect();
        for process in processes {
            let number = self.rule_number(process);
            told.push(process, number, self.rules.get(&number, 0).map_err(named("THREAD_RULES"))?);
        }
        let nothing = ThreadCell::default();
        for number in 0..MAX_THREAD_RULES {
            let cell = cells.get(number).unwrap_or(&nothing);
            self.rules.set(number as u32, cell, 0).map_err(named("THREAD_RULES"))?;
        }
        Ok(told)
    }

    /// What was told under the rules before and holds under those of now is not told again, and what holds no more is
    /// forgotten: it would hide an alert to come. Returns what was forgotten.
    ///
    /// # Errors
    /// When the kernel refuses a write.
    pub fn carry_over(&mut self, told: Told) -> Result<Vec<Over>, KernelError> {
        let mut over = Vec::new();
        for (process, rule, before) in told {
            let Ok(growth) = self.growth.get(&process, 0) else {
                continue;
            };
            let now = self.rules.get(&self.rule_number(process), 0).map_err(named("THREAD_RULES"))?;
            let Some(change) = carry::change(&growth, &before, &now) else {
                continue;
            };
            for way in change.forget {
                // That it is not there is as good.
                let _ = self.crossed.remove(&named_way(process, way));
                let bound = carry::bound(&before, way);
                over.extend(bound.map(|(way, bound)| Over {
                    process: process_key(process),
                    rule,
                    way,
                    bound,
                }));
            }
            for way in change.remember {
                // Where there is no room it is told once more, when there is some.
                let _ = self.crossed.insert(named_way(process, way), 0, 0);
            }
            // One that has ended stays away.
            let _ = self.growth.insert(process, change.growth, BPF_EXIST);
        }
        Ok(over)
    }

    /// The number of a process' rule, by its name in the map `GROWTH`.
    fn rule_number(&self, process: [u64; 2]) -> u32 {
        self.rule_of(process_key(process)).unwrap_or(0)
    }

    /// Says which rule a process has. What an alert's step has capped stays capped, unless it is protected now.
    ///
    /// # Errors
    /// When the map is full.
    pub fn choose_rule(
        &mut self,
        process: ProcessKey,
        rule: u32,
        is_protected: bool,
    ) -> Result<(), KernelError> {
        let own = self.cell_of(process).map_or(0, |cell| cell.cap);
        let kept = if own == PROTECTED { 0 } else { own };
        self.set_process(process, rule, if is_protected { PROTECTED } else { kept })
    }

    /// Says which rule a process has; a `cap` of other than 0 holds in place of the rule's.
    ///
    /// # Errors
    /// When the map is full.
    pub fn set_process(&mut self, process: ProcessKey, rule: u32, cap: u32) -> Result<(), KernelError> {
        let cell = ProcessCell { start_ns: process.start.0, rule, cap };
        self.cells.insert(process.pid, cell, 0).map_err(named("THREAD_CELLS"))
    }

    /// The process has no rule of its own, or has ended.
    ///
    /// # Errors
    /// When the kernel refuses; that there was none is no error.
    pub fn forget_process(&mut self, pid: u32) -> Result<(), KernelError> {
        match self.cells.remove(&pid) {
            Err(source) if self.cells.get(&pid, 0).is_ok() => Err(named("THREAD_CELLS")(source)),
            _ => Ok(()),
        }
    }

    /// The rule that a process has, when it is one of its own.
    pub fn rule_of(&self, process: ProcessKey) -> Option<u32> {
        self.cell_of(process).map(|cell| cell.rule)
    }

    fn cell_of(&self, process: ProcessKey) -> Option<ProcessCell> {
        self.cells.get(&process.pid, 0).ok().filter(|cell| cell.start_ns == process.start.0)
    }

    /// The burst and the leak of a process, if they were told and are not over.
    pub fn lasting(&self, process: ProcessKey) -> Vec<Way> {
        let told = self.growth.get(&key(process, 0), 0).map(|growth| growth.told).unwrap_or_default();
        let ways = [(BURST, Way::Burst), (LEAK, Way::Leak)].into_iter();
        ways.filter(|(number, _)| told[*number as usize] != 0).map(|(_, way)| way).collect()
    }

    /// How many processes each rule of other than the number 0 has now, by number.
    pub fn processes_by_rule(&self) -> BTreeMap<u32, u32> {
        let mut counts = BTreeMap::new();
        // A process that ends while we walk may end the walk: what was seen is told.
        for (_, cell) in self.cells.iter().map_while(Result::ok) {
            *counts.entry(cell.rule).or_default() += 1;
        }
        counts
    }

    /// Threads that a process has created since it was first seen above the floor; `None` for one that never was.
    pub fn creations_of(&self, process: ProcessKey) -> Option<u64> {
        self.growth.get(&key(process, 0), 0).ok().map(|growth| growth.creations)
    }

    /// Which alerts of a process last, by the number of their bound (`procwatch_common::growth`).
    pub fn lasting_alerts(&self, process: ProcessKey) -> [bool; WAYS] {
        let growth = self.growth.get(&key(process, 0), 0);
        growth.map_or([false; WAYS], |growth| std::array::from_fn(|way| growth.told[way] != 0))
    }

    /// Whether the programs know that a process is above its `levels` lowest levels.
    pub fn knows_levels(&self, process: ProcessKey, levels: u32) -> bool {
        levels == 0 || {
            let told = self.lasting_alerts(process);
            (0..levels).all(|level| told[level as usize] && self.is_crossed(process, level))
        }
    }

    /// Whether a process of `live` threads is below a bound of which the programs believe that it is above it.
    pub fn has_fallen(&self, process: ProcessKey, live: u32) -> bool {
        let growth = self.growth.get(&key(process, 0), 0);
        growth.is_ok_and(|growth| self.fallen(process, &growth, live).is_some())
    }

    /// Claims the alerts for the `levels` lowest levels, which a process is above already. False when the kernel side
    /// has raised the highest of them. To be called while the counting rests, see [`super::Kernel::while_counting_rests`].
    ///
    /// # Errors
    /// When a map is full; nothing is claimed then.
    pub fn claim_levels(&mut self, process: ProcessKey, levels: u32) -> Result<bool, KernelError> {
        let mut claimed = Vec::new();
        let done = self.claim_each(process, levels, &mut claimed);
        // Without the memory of it nobody would tell when it is over.
        let done = done.and_then(|()| self.note_told(process, levels));
        if done.is_err() {
            for level in &claimed {
                // It was there a moment ago.
                let _ = self.crossed.remove(&key(process, *level));
            }
        }
        done.map(|()| claimed.last().is_some_and(|highest| highest + 1 == levels))
    }

    fn claim_each(
        &mut self,
        process: ProcessKey,
        levels: u32,
        claimed: &mut Vec<u32>,
    ) -> Result<(), KernelError> {
        for level in 0..levels {
            match self.crossed.insert(key(process, level), 0, BPF_NOEXIST) {
                Ok(()) => claimed.push(level),
                Err(_) if self.is_crossed(process, level) => {}
                Err(source) => return Err(named("CROSSED")(source)),
            }
        }
        Ok(())
    }

    /// Takes back what was claimed for a process that has ended. False when the kernel side has told of its end.
    pub fn disclaim_levels(&mut self, process: ProcessKey, levels: u32) -> bool {
        // That it is not there is as good.
        let _ = self.growth.remove(&key(process, 0));
        let ended: Vec<bool> =
            (0..levels).map(|level| self.crossed.remove(&key(process, level)).is_err()).collect();
        !ended.contains(&true)
    }

    fn note_told(&mut self, process: ProcessKey, levels: u32) -> Result<(), KernelError> {
        let name = key(process, 0);
        let known = self.growth.get(&name, 0).ok();
        let mut growth = known.unwrap_or(Growth::NEW);
        growth.told[..levels as usize].fill(1);
        let flags = if known.is_some() { BPF_EXIST } else { BPF_NOEXIST };
        match self.growth.insert(name, growth, flags) {
            // It has ended meanwhile, or the program has begun it in the very moment when the counting came to rest.
            Err(source) if known.is_none() && self.growth.get(&name, 0).is_err() => {
                Err(named("GROWTH")(source))
            }
            _ => Ok(()),
        }
    }

    fn is_crossed(&self, process: ProcessKey, level: u32) -> bool {
        self.crossed.get(&key(process, level), 0).is_ok()
    }

    /// The alerts that are over because the process has `live` threads by now, which the programs did not see. To be called
    /// while the counting rests.
    pub fn take_fallen(&mut self, process: ProcessKey, live: u32) -> Vec<(Way, u32)> {
        let Ok(growth) = self.growth.get(&key(process, 0), 0) else { return Vec::new() };
        let Some((change, rule)) = self.fallen(process, &growth, live) else { return Vec::new() };
        // One that has ended stays away.
        let _ = self.growth.insert(key(process, 0), change.growth, BPF_EXIST);
        // What could not be told when it was crossed is not told to be over.
        let told: Vec<u32> = change
            .forget
            .into_iter()
            .filter(|way| self.crossed.remove(&key(process, *way)).is_ok())
            .collect();
        told.into_iter().filter_map(|way| carry::bound(&rule, way)).collect()
    }

    fn fallen(&self, process: ProcessKey, growth: &Growth, live: u32) -> Option<(Change, ThreadCell)> {
        let rule = self.rules.get(&self.rule_of(process).unwrap_or(0), 0).ok()?;
        Some((carry::fallen(growth, &rule, live)?, rule))
    }
}

const fn key(process: ProcessKey, bound: u32) -> [u64; 2] {
    named_way([process.start.0, process.pid as u64], bound)
}

/// A process by its name in the map `GROWTH`.
const fn process_key([start_ns, pid]: [u64; 2]) -> ProcessKey {
    ProcessKey { pid: pid as u32, start: BootTime(start_ns) }
}

/// The name of a bound that a process has crossed, in the map `CROSSED`.
const fn named_way([start_ns, pid]: [u64; 2], way: u32) -> [u64; 2] {
    // Two words of 32 bits; BPF objects of this build are little-endian.
    [start_ns, pid | (way as u64) << 32]
}

fn named(name: &'static str) -> impl FnOnce(MapError) -> KernelError {
    move |source| KernelError::Map { name, source }
}
