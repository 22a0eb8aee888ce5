//! Loads the object, attaches its programs, and is the agent's hand on their maps.

use std::{io, process};

use aya::{
    Btf, Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf},
    programs::Iter,
};
use procwatch_common::{policy::Control, stats::Stats, wire::COMM_LEN};

use super::{
    KernelError,
    attach::{attach_all, attach_security, program},
    btf::KernelTypes,
    fields,
    picture::{self, Pictured},
    placement::PlacementMaps,
    ring::RingReader,
    set,
    threads::ThreadMaps,
};
use crate::rulebook::WantedPrograms;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/procwatch.bpf.o"));

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
}

/// The running kernel side. Dropping it detaches everything.
pub struct Kernel {
    ebpf: Ebpf,
    control_cell: Array<MapData, Control>,
    control: Control,
    stats: PerCpuArray<MapData, Stats>,
    placement: PlacementMaps,
    can_hold: bool,
    threads: ThreadMaps,
    can_cap: bool,
    /// What was asked for, whether it could be had or not.
    setup: Setup,
    program_uids: HashMap<MapData, u32, u8>,
    program_comms: HashMap<MapData, [u8; COMM_LEN], u8>,
    unavailable: Vec<String>,
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
    /// Loads and attaches all programs; the gate stays closed, so nothing is sent yet.
    ///
    /// # Errors
    /// [`KernelError`]; nothing is left in the kernel then.
    pub fn load(setup: Setup) -> Result<Self, KernelError> {
        if OBJECT.is_empty() {
            return Err(KernelError::NoObject);
        }
        let types = KernelTypes::from_running_kernel()?;
        let (fields, absent) = fields::resolve(&types).map_err(KernelError::MissingFields)?;
        for name in TRACEPOINTS {
            types.tracepoint_args(name).ok_or(KernelError::MissingTracepoint(name))?;
        }
        let group_dead = u32::from(types.tracepoint_args("sched_process_exit") == Some(2));
        let old_cgroup = fields::old_cgroup(&types);
        let tells_registers = u32::from(types.function_id("bpf_task_pt_regs").is_some());
        drop(types);

        let btf = Btf::from_sys_fs().map_err(aya::EbpfError::from)?;
        let agent = process::id();
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&btf))
            .override_global("FIELDS", &fields, true)
            .override_global("AGENT_TGID", &agent, true)
            .override_global("OLD_CGROUP", &old_cgroup, true)
            .override_global("TELLS_REGISTERS", &tells_registers, true)
            .override_global("EXIT_TELLS_GROUP_DEAD", &group_dead, true)
            .map_max_entries("STREAM", setup.stream_bytes)
            .load(OBJECT)?;

        let mut unavailable: Vec<String> =
            absent.into_iter().map(|name| format!("{name}: not in this kernel; shown as unknown")).collect();
        if tells_registers == 0 {
            unavailable.push(
                "stacks of creating threads (bpf_task_pt_regs: Linux 5.15 has it); a diagnosis looks at live threads only"
                    .to_owned(),
            );
        }
        let attached = attach_all(&mut ebpf, &btf, setup, &mut unavailable)?;
        drop(btf);
        give_back_memory();
        let mut kernel = Self {
            control_cell: typed(&mut ebpf, "CONTROL")?,
            control: Control { cred_hook: u32::from(attached.cred_hook), ..Control::default() },
            stats: typed(&mut ebpf, "STATS")?,
            placement: PlacementMaps::take(&mut ebpf)?,
            can_hold: attached.hold,
            threads: ThreadMaps::take(&mut ebpf)?,
            can_cap: attached.cap,
            setup,
            program_uids: typed(&mut ebpf, "PROGRAM_UIDS")?,
            program_comms: typed(&mut ebpf, "PROGRAM_COMMS")?,
            ebpf,
            unavailable,
        };
        kernel.write_control()?;
        Ok(kernel)
    }

    /// Attaches what another configuration wants besides. What is refused is added to what is unavailable.
    ///
    /// # Errors
    /// When the kernel's types cannot be read, or the object lacks a program.
    pub fn extend(&mut self, hold: bool, cap: bool) -> Result<(), KernelError> {
        let more = Setup { hold: hold && !self.setup.hold, cap: cap && !self.setup.cap, ..self.setup };
        if !more.hold && !more.cap {
            return Ok(());
        }
        let btf = Btf::from_sys_fs().map_err(aya::EbpfError::from)?;
        let attached = attach_security(&mut self.ebpf, &btf, more, &mut self.unavailable)?;
        drop(btf);
        give_back_memory();
        (self.can_hold, self.can_cap) = (self.can_hold | attached.hold, self.can_cap | attached.cap);
        (self.setup.hold, self.setup.cap) = (self.setup.hold | hold, self.setup.cap | cap);
        Ok(())
    }

    /// What this kernel cannot give, each with the reason and what it costs.
    pub fn unavailable(&self) -> &[String] {
        &self.unavailable
    }

    /// The reader of the stream ring. Once.
    ///
    /// # Errors
    /// When it was taken before, or cannot be mapped.
    pub fn stream(&mut self) -> Result<RingReader, KernelError> {
        self.ring("STREAM")
    }

    /// The reader of the urgent ring. Once.
    ///
    /// # Errors
    /// When it was taken before, or cannot be mapped.
    pub fn urgent(&mut self) -> Result<RingReader, KernelError> {
        self.ring("URGENT")
    }

    fn ring(&mut self, name: &'static str) -> Result<RingReader, KernelError> {
        let ring: RingBuf<MapData> = typed(&mut self.ebpf, name)?;
        RingReader::new(ring).map_err(|source| KernelError::Io { what: name, source })
    }

    /// Limits the stream. To be called before [`Self::steer`] opens it.
    ///
    /// # Errors
    /// When a map is too small for the lists.
    pub fn limit_stream(&mut self, filter: &StreamFilter) -> Result<(), KernelError> {
        fill(&mut self.ebpf, "FILTER_UIDS", &filter.uids)?;
        fill(&mut self.ebpf, "FILTER_COMMS", &filter.comms)?;
        fill(&mut self.ebpf, "FILTER_PIDS", &filter.pids)?;
        self.steer(|control| control.filters |= filter.flags)
    }

    /// Adds processes to those that the stream is limited to.
    ///
    /// # Errors
    /// When the map is full.
    pub fn watch_pids(&mut self, pids: &[u32]) -> Result<(), KernelError> {
        fill(&mut self.ebpf, "FILTER_PIDS", pids)
    }

    /// What placement has told the programs, and may tell them.
    pub const fn placement(&mut self) -> &mut PlacementMaps {
        &mut self.placement
    }

    /// Whether execs can be held.
    pub const fn can_hold(&self) -> bool {
        self.can_hold
    }

    /// Changes the control cell; the programs see it at their next event.
    ///
    /// # Errors
    /// When the kernel refuses the write.
    pub fn steer(&mut self, change: impl FnOnce(&mut Control)) -> Result<(), KernelError> {
        change(&mut self.control);
        self.write_control()
    }

    fn write_control(&mut self) -> Result<(), KernelError> {
        self.control_cell
            .set(0, self.control, 0)
            .map_err(|source| KernelError::Map { name: "CONTROL", source })
    }

    /// What the programs know of threads, and may be told.
    pub const fn threads(&mut self) -> &mut ThreadMaps {
        &mut self.threads
    }

    /// Whether threads can be refused.
    pub const fn can_cap(&self) -> bool {
        self.can_cap
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

    /// The counters, summed over all CPUs.
    ///
    /// # Errors
    /// When the kernel refuses the read.
    pub fn stats(&self) -> Result<Stats, KernelError> {
        let per_cpu = self.stats.get(&0, 0).map_err(|source| KernelError::Map { name: "STATS", source })?;
        let mut sum = Stats::default();
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
        let iter: &mut Iter = program(&mut self.ebpf, "task_picture")?;
        let named = |source| KernelError::Program { name: "task_picture".to_owned(), source };
        let id = iter.attach().map_err(named)?;
        let link = iter.take_link(id).map_err(named)?;
        let file = link.into_file().map_err(|error| KernelError::Io {
            what: "the task iterator",
            source: io::Error::other(error),
        })?;
        picture::read(file).map_err(|source| KernelError::Io { what: "the task iterator", source })
    }
}

/// Hands the heap that loading needed back to the kernel.
///
/// The kernel's types are some 200,000 small pieces once aya has read them. Freed, they would stay in the allocator's
/// lists for as long as the agent lives: 17.5 MB of the 25 MB that it held.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers, and only returns pages that hold no live allocation.
    unsafe {
        libc::malloc_trim(0);
    }
}

pub(super) fn typed<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, KernelError>
where
    M: TryFrom<Map, Error = aya::maps::MapError>,
{
    ebpf.take_map(name)
        .ok_or(KernelError::Missing(name))?
        .try_into()
        .map_err(|source| KernelError::Map { name, source })
}

/// Puts `keys` into a map that is used as a set.
fn fill<K: Pod>(ebpf: &mut Ebpf, name: &'static str, keys: &[K]) -> Result<(), KernelError> {
    let named = |source| KernelError::Map { name, source };
    let map = ebpf.map_mut(name).ok_or(KernelError::Missing(name))?;
    let mut set: HashMap<_, K, u8> = HashMap::try_from(map).map_err(named)?;
    for key in keys {
        set.insert(key, 0, 0).map_err(named)?;
    }
    Ok(())
}
