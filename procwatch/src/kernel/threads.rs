//! What the agent tells the programs of threads, and asks them.

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError},
};
use bytemuck::Zeroable as _;
use procwatch_common::{
    growth::Growth,
    policy::{ProcessCell, ThreadCell},
};

use super::{KernelError, object::typed};
use crate::event::ProcessKey;

const BPF_NOEXIST: u64 = 1;

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
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            rules: typed(ebpf, "THREAD_RULES")?,
            cells: typed(ebpf, "THREAD_CELLS")?,
            crossed: typed(ebpf, "CROSSED")?,
            growth: typed(ebpf, "GROWTH")?,
        })
    }

    /// Says what each rule wants to know, by number.
    ///
    /// # Errors
    /// When the kernel refuses the write.
    pub fn set_rules(&mut self, cells: &[ThreadCell]) -> Result<(), KernelError> {
        for (number, cell) in cells.iter().enumerate() {
            self.rules.set(number as u32, cell, 0).map_err(named("THREAD_RULES"))?;
        }
        Ok(())
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
        let cell = self.cells.get(&process.pid, 0).ok()?;
        (cell.start_ns == process.start.0).then_some(cell.rule)
    }

    /// Claims the alerts for the `levels` lowest levels, which a process is above already. False when the kernel side
    /// has raised the highest of them.
    ///
    /// # Errors
    /// When a map is full.
    pub fn claim_levels(&mut self, process: ProcessKey, levels: u32) -> Result<bool, KernelError> {
        let mut first = false;
        let mut growth = Growth::zeroed();
        for level in 0..levels {
            let key = key(process, level);
            growth.told[level as usize] = 1;
            first = match self.crossed.insert(key, 0, BPF_NOEXIST) {
                Ok(()) => true,
                Err(_) if self.crossed.get(&key, 0).is_ok() => false,
                Err(source) => return Err(named("CROSSED")(source)),
            };
        }
        // One that the program has begun meanwhile knows of the levels by itself.
        let name = key(process, 0);
        match self.growth.insert(name, growth, BPF_NOEXIST) {
            Err(source) if self.growth.get(&name, 0).is_err() => Err(named("GROWTH")(source)),
            _ => Ok(first),
        }
    }
}

const fn key(process: ProcessKey, bound: u32) -> [u64; 2] {
    // Two words of 32 bits; BPF objects of this build are little-endian.
    [process.start.0, process.pid as u64 | (bound as u64) << 32]
}

fn named(name: &'static str) -> impl FnOnce(MapError) -> KernelError {
    move |source| KernelError::Map { name, source }
}
