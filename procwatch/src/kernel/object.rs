//! The agent's hand on the programs and their maps.

use std::io;

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray},
    programs::Iter,
};
use procwatch_common::{policy::Control, stats::Stats, wire::COMM_LEN};

use super::{
    KernelError,
    attach::{Links, PICTURE, program},
    maps::Maps,
    picture::{self, Pictured},
    pins::{PinFolder, State},
    placement::PlacementMaps,
    ring::{Origin, RingReader},
    set,
    threads::ThreadMaps,
};
use crate::rulebook::WantedPrograms;

/// The tracepoints without which there is no procwatch; program and tracepoint have the same name.
pub const TRACEPOINTS: [&str; 4] =
    ["task_newtask", "sched_process_exec", "sched_process_exit", "cgroup_attach_task"];

/// What the loader is told.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Whether execs are to be held where the kernel can do that.
    pub hold: bool,
    /// Whether threads are to be refused where the kernel can do that.
    pub cap: bool,
    /// Size of the stream ring, bytes: a power of two of at least a page.
    pub stream_bytes: u32,
    /// Whether programs and maps are kept in the kernel when the agent dies, for the next one.
    pub pin: bool,
}

/// The running kernel side. Dropping it detaches everything, but for what is pinned and was armed.
pub struct Kernel {
    pub(super) programs: Programs,
    pub(super) links: Links,
    pub(super) pinned: Option<PinnedState>,
    pub(super) stream: MapData,
    pub(super) urgent: MapData,
    pub(super) control_cell: Array<MapData, Control>,
    pub(super) control: Control,
    pub(super) stats: PerCpuArray<MapData, Stats>,
    pub(super) placement: PlacementMaps,
    pub(super) threads: ThreadMaps,
    /// How often the agent found a state map full.
    pub(super) found_full: u64,
    /// What was asked for, whether it could be had or not.
    pub(super) setup: Setup,
    pub(super) filter_uids: HashMap<MapData, u32, u8>,
    pub(super) filter_comms: HashMap<MapData, [u8; COMM_LEN], u8>,
    pub(super) filter_pids: HashMap<MapData, u32, u8>,
    pub(super) program_uids: HashMap<MapData, u32, u8>,
    pub(super) program_comms: HashMap<MapData, [u8; COMM_LEN], u8>,
    /// The others: a diagnosis reads them, and programs that are loaded later want them open.
    pub(super) _maps: Maps,
    pub(super) unavailable: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// Who keeps the programs.
pub(super) enum Programs {
    /// This process: they go with it.
    Own(Box<Ebpf>),
    /// The kernel. This is the one that is called by the agent.
    Pinned(Box<Iter>),
}

/// Where it is pinned.
pub(super) struct PinnedState {
    pub(super) folder: PinFolder,
    pub(super) state: State,
    /// It was there already.
    pub(super) is_adopted: bool,
}

/// What the stream is limited to, in the kernel.
#[derive(Clone, Debug, Default)]
pub struct StreamFilter {
    /// Set of `procwatch_common::policy::FILTER_*`, but for the cgroup's.
    pub flags: u32,
    /// Real or effective uids.
    pub uids: Vec<u32>,
    /// Names.
    pub comms: Vec<[u8; COMM_LEN]>,
    /// Process ids.
    pub pids: Vec<u32>,
}

impl Kernel {
    /// The end of the agent. What is pinned stays only if it is to be kept: levels, bursts and caps go on then, and what
    /// they tell waits for the next agent.
    ///
    /// # Errors
    /// When it cannot be taken away.
    pub fn release(mut self, keep: bool) -> Result<(), KernelError> {
        match self.pinned.take() {
            Some(pinned) if !keep => {
                pinned.folder.remove()?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether another agent has left this behind.
    pub fn is_adopted(&self) -> bool {
        self.pinned.as_ref().is_some_and(|pinned| pinned.is_adopted)
    }

    /// What was found of other agents and could not be used, in words.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What the programs were told last.
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// What this kernel cannot give, each with the reason and what it costs.
    pub fn unavailable(&self) -> &[String] {
        &self.unavailable
    }

    /// A reader of the stream ring. There may be one at a time.
    ///
    /// # Errors
    /// When it cannot be mapped.
    pub fn stream(&mut self) -> Result<RingReader, KernelError> {
        self.ring("STREAM", &self.stream)
    }

    /// A reader of the urgent ring. There may be one at a time.
    ///
    /// # Errors
    /// When it cannot be mapped.
    pub fn urgent(&mut self) -> Result<RingReader, KernelError> {
        self.ring("URGENT", &self.urgent)
    }

    fn ring(&self, name: &'static str, ring: &MapData) -> Result<RingReader, KernelError> {
        let origin = if self.is_adopted() { Origin::Adopted } else { Origin::New };
        RingReader::new(ring, ring_size(name, ring)?, origin)
            .map_err(|source| KernelError::Io { what: name, source })
    }

    /// Limits the stream. To be called before [`Self::steer`] opens it.
    ///
    /// # Errors
    /// When a map is too small for the lists.
    pub fn limit_stream(&mut self, filter: &StreamFilter) -> Result<(), KernelError> {
        fill("FILTER_UIDS", &mut self.filter_uids, &filter.uids)?;
        fill("FILTER_COMMS", &mut self.filter_comms, &filter.comms)?;
        fill("FILTER_PIDS", &mut self.filter_pids, &filter.pids)?;
        self.steer(|control| control.filters |= filter.flags)
    }

    /// Adds processes to those that the stream is limited to.
    ///
    /// # Errors
    /// When the map is full.
    pub fn watch_pids(&mut self, pids: &[u32]) -> Result<(), KernelError> {
        fill("FILTER_PIDS", &mut self.filter_pids, pids)
    }

    /// What placement has told the programs, and may tell them.
    pub const fn placement(&mut self) -> &mut PlacementMaps {
        &mut self.placement
    }

    /// Whether execs can be held.
    pub fn can_hold(&self) -> bool {
        self.links.can_hold()
    }

    /// Changes the control cell; the programs see it at their next event.
    ///
    /// # Errors
    /// When the kernel refuses the write.
    pub fn steer(&mut self, change: impl FnOnce(&mut Control)) -> Result<(), KernelError> {
        change(&mut self.control);
        self.write_control()
    }

    pub(super) fn write_control(&mut self) -> Result<(), KernelError> {
        self.control_cell.set(0, self.control, 0).map_err(of_control)
    }

    /// What the programs know of threads, and may be told.
    pub const fn threads(&mut self) -> &mut ThreadMaps {
        &mut self.threads
    }

    /// Whether threads can be refused.
    pub fn can_cap(&self) -> bool {
        self.links.can_cap()
    }

    /// Has execs told, so that a rule can be chosen for the process: these, and no others that were named before.
    ///
    /// # Errors
    /// When a map is too small for the lists.
    pub fn tell_programs(&mut self, wanted: &WantedPrograms) -> Result<(), KernelError> {
        let named = |name| move |source| KernelError::Map { name, source };
        set::replace(&mut self.program_uids, &wanted.uids).map_err(named("PROGRAM_UIDS"))?;
        set::replace(&mut self.program_comms, &wanted.comms).map_err(named("PROGRAM_COMMS"))?;
        self.steer(|control| control.programs = wanted.flags)
    }

    /// Until the next [`Self::steer`] that sets `floor` and `enforce`, growing processes are not looked at, and no
    /// thread is refused: so a process has never a number of the old rules under the new ones. What grows meanwhile is
    /// found by a picture afterwards.
    ///
    /// # Errors
    /// When the kernel refuses the write.
    pub fn pause_rules(&mut self) -> Result<(), KernelError> {
        self.steer(|control| (control.floor, control.enforce) = (u32::MAX, 0))
    }

    /// Does `work` while growing and falling processes are not looked at: what is remembered of them can be changed without
    /// a program's doing the same. Caps hold meanwhile. What falls meanwhile has to be looked for afterwards.
    ///
    /// # Errors
    /// When the kernel refuses the write.
    pub fn while_counting_rests<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> Result<T, KernelError> {
        let floor = self.control.floor;
        self.steer(|control| control.floor = u32::MAX)?;
        let done = work(self);
        self.steer(|control| control.floor = floor)?;
        Ok(done)
    }

    /// The agent found a state map full. Returns how often it did.
    pub const fn count_full(&mut self) -> u64 {
        self.found_full += 1;
        self.found_full
    }

    /// The counters, summed over all CPUs.
    ///
    /// # Errors
    /// When the kernel refuses the read.
    pub fn stats(&self) -> Result<Stats, KernelError> {
        let per_cpu = self.stats.get(&0, 0).map_err(|source| KernelError::Map { name: "STATS", source })?;
        let mut sum = Stats { state_full: self.found_full, ..Stats::default() };
        for cpu in per_cpu.iter() {
            sum.stream.sent += cpu.stream.sent;
            sum.stream.lost += cpu.stream.lost;
            sum.urgent.sent += cpu.urgent.sent;
            sum.urgent.lost += cpu.urgent.lost;
            sum.user_reads_failed += cpu.user_reads_failed;
            sum.kernel_reads_failed += cpu.kernel_reads_failed;
            sum.state_full += cpu.state_full;
            sum.unnumbered_lost += cpu.unnumbered_lost;
            sum.strays += cpu.strays;
            sum.born_outside += cpu.born_outside;
            for (sum, count) in sum.left_alone.iter_mut().zip(cpu.left_alone) {
                *sum += count;
            }
        }
        Ok(sum)
    }

    /// All live processes, now.
    ///
    /// # Errors
    /// When the iterator cannot be made or read.
    pub fn picture(&mut self) -> Result<Vec<Pictured>, KernelError> {
        let named = |source| KernelError::Program { name: PICTURE.to_owned(), source };
        let failed = |source| KernelError::Io { what: "the task iterator", source };
        let iter: &mut Iter = match &mut self.programs {
            Programs::Own(ebpf) => program(ebpf, PICTURE)?,
            Programs::Pinned(iter) => iter,
        };
        let id = iter.attach().map_err(named)?;
        let link = iter.take_link(id).map_err(named)?;
        let file = link.into_file().map_err(|error| failed(io::Error::other(error)))?;
        picture::read(file).map_err(failed)
    }

    /// Records that found the urgent ring full and that no agent has told of, and all that ever did: exact. To be asked
    /// when there is a gap in their numbers; once told of they are no news.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn untold_losses(&mut self) -> Result<Option<(u64, u64)>, KernelError> {
        let total = self.stats()?.urgent.lost;
        let untold = total.saturating_sub(self.control.lost_told);
        if untold == 0 {
            return Ok(None);
        }
        self.steer(|control| control.lost_told = total)?;
        Ok(Some((untold, total)))
    }
}

impl Drop for Kernel {
    /// What was never armed is of no use to a next agent.
    fn drop(&mut self) {
        if let Some(pinned) = self.pinned.take()
            && !pinned.is_adopted
            && self.control.urgent == 0
            && let Err(error) = pinned.folder.remove()
        {
            tracing::warn!("{error}");
        }
    }
}

/// Bytes that a ring has room for.
pub(super) fn ring_size(name: &'static str, ring: &MapData) -> Result<usize, KernelError> {
    Ok(ring.info().map_err(|source| KernelError::Map { name, source })?.max_entries() as usize)
}

pub(super) fn of_control(source: MapError) -> KernelError {
    KernelError::Map { name: "CONTROL", source }
}

/// Puts `keys` into a map that is used as a set.
fn fill<K: Pod>(
    name: &'static str,
    set: &mut HashMap<MapData, K, u8>,
    keys: &[K],
) -> Result<(), KernelError> {
    let fill = |key| set.insert(key, 0, 0).map_err(|source| KernelError::Map { name, source });
    keys.iter().try_for_each(fill)
}
