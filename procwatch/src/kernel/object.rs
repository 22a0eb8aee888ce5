//! Loads the object, attaches its programs, and is the agent's hand on their maps.

use std::{io, process};

use aya::{
    Btf, Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf},
    programs::{BtfTracePoint, FEntry, Iter, Program, ProgramError},
};
use procwatch_common::{
    picture::PictureEntry,
    policy::{Control, PlaceCell},
    stats::Stats,
    wire::COMM_LEN,
};
use thiserror::Error;

use super::{
    btf::{BtfError, KernelTypes},
    fields, picture,
    ring::RingReader,
};
use crate::event::ProcessKey;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/procwatch.bpf.o"));

/// The tracepoints without which there is no procwatch; program and tracepoint have the same name.
pub const TRACEPOINTS: [&str; 4] =
    ["task_newtask", "sched_process_exec", "sched_process_exit", "cgroup_attach_task"];

/// Why the kernel side does not run.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The build left the programs out.
    #[error("this procwatch was built without its kernel programs; build it with `cargo xtask build`")]
    NoObject,
    /// No or unreadable BTF.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// A structure is not as expected.
    #[error("this kernel lacks fields that procwatch must read: {}", .0.join(", "))]
    MissingFields(Vec<String>),
    /// A tracepoint is not there.
    #[error("this kernel has no tracepoint {0}")]
    MissingTracepoint(&'static str),
    /// The kernel refused the object.
    #[error("the kernel did not take the programs: {0}")]
    Load(#[from] aya::EbpfError),
    /// The kernel refused one program.
    #[error("the kernel refused the program {name}: {}", explain(source))]
    Program {
        /// Its name.
        name: String,
        /// What the kernel said, with the verifier's log.
        source: ProgramError,
    },
    /// A map is not usable.
    #[error("map {name}: {source}")]
    Map {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        source: aya::maps::MapError,
    },
    /// The object does not hold what it should.
    #[error("the built-in object has no {0}")]
    Missing(&'static str),
    /// A ring or iterator could not be read.
    #[error("{what}: {source}")]
    Io {
        /// What could not be read.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What the loader is told.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Size of the stream ring, bytes: a power of two of at least a page.
    pub stream_bytes: u32,
}

/// The running kernel side. Dropping it detaches everything.
pub struct Kernel {
    ebpf: Ebpf,
    control_cell: Array<MapData, Control>,
    control: Control,
    stats: PerCpuArray<MapData, Stats>,
    place: HashMap<MapData, u32, PlaceCell>,
    crossed: HashMap<MapData, [u64; 2], u8>,
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
        drop(types);

        let btf = Btf::from_sys_fs().map_err(aya::EbpfError::from)?;
        let agent = process::id();
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&btf))
            .override_global("FIELDS", &fields, true)
            .override_global("AGENT_TGID", &agent, true)
            .override_global("OLD_CGROUP", &old_cgroup, true)
            .override_global("EXIT_TELLS_GROUP_DEAD", &group_dead, true)
            .map_max_entries("STREAM", setup.stream_bytes)
            .load(OBJECT)?;

        let mut unavailable: Vec<String> =
            absent.into_iter().map(|name| format!("{name}: not in this kernel; shown as unknown")).collect();
        let cred_hook = attach_all(&mut ebpf, &btf, &mut unavailable)?;
        drop(btf);
        give_back_memory();
        let mut kernel = Self {
            control_cell: typed(&mut ebpf, "CONTROL")?,
            control: Control { cred_hook: u32::from(cred_hook), ..Control::default() },
            stats: typed(&mut ebpf, "STATS")?,
            place: typed(&mut ebpf, "PLACE_UIDS")?,
            crossed: typed(&mut ebpf, "CROSSED")?,
            ebpf,
            unavailable,
        };
        kernel.write_control()?;
        Ok(kernel)
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

    /// Says where the processes of a uid belong.
    ///
    /// # Errors
    /// When the map is full.
    pub fn place(&mut self, uid: u32, cell: PlaceCell) -> Result<(), KernelError> {
        self.place.insert(uid, cell, 0).map_err(|source| KernelError::Map { name: "PLACE_UIDS", source })
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

    /// Claims the alert for a level that a process is above already. False when the kernel side has raised it.
    ///
    /// # Errors
    /// When the map is full.
    pub fn claim_crossing(&mut self, process: ProcessKey, index: u32) -> Result<bool, KernelError> {
        const BPF_NOEXIST: u64 = 1;
        // The start, and (tgid, index) as a pair of 32 bit words.
        let key = [process.start.0, bytemuck::cast([process.pid, index])];
        match self.crossed.insert(key, 0, BPF_NOEXIST) {
            Ok(()) => Ok(true),
            Err(_) if self.crossed.get(&key, 0).is_ok() => Ok(false),
            Err(source) => Err(KernelError::Map { name: "CROSSED", source }),
        }
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
        }
        Ok(sum)
    }

    /// All live processes, now.
    ///
    /// # Errors
    /// When the iterator cannot be made or read.
    pub fn picture(&mut self) -> Result<Vec<PictureEntry>, KernelError> {
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

/// Attaches every program. Returns whether credential changes are seen at once.
fn attach_all(ebpf: &mut Ebpf, btf: &Btf, unavailable: &mut Vec<String>) -> Result<bool, KernelError> {
    for name in TRACEPOINTS {
        let tracepoint: &mut BtfTracePoint = program(ebpf, name)?;
        tracepoint
            .load(name, btf)
            .and_then(|()| tracepoint.attach().map(drop))
            .map_err(|source| KernelError::Program { name: name.to_owned(), source })?;
    }
    let iter: &mut Iter = program(ebpf, "task_picture")?;
    iter.load("task", btf)
        .map_err(|source| KernelError::Program { name: "task_picture".to_owned(), source })?;

    let fentry: &mut FEntry = program(ebpf, "commit_creds")?;
    match fentry.load("commit_creds", btf).and_then(|()| fentry.attach().map(drop)) {
        Ok(()) => Ok(true),
        Err(error) => {
            unavailable.push(format!(
                "uid changes at the change itself (fentry commit_creds: {}); they are seen at the next fork, exec or \
                 exit of the process",
                short(&error)
            ));
            Ok(false)
        }
    }
}

/// The error with the end of the verifier's log: what comes before is the whole program.
fn explain(error: &ProgramError) -> String {
    const SHOWN: usize = 8;
    let ProgramError::LoadError { verifier_log, .. } = error else {
        return error.to_string();
    };
    let log = verifier_log.to_string();
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let end = &lines[lines.len().saturating_sub(SHOWN)..];
    format!("{}; the verifier's last lines:\n{}", short(error), end.join("\n"))
}

/// The error without the verifier's log.
fn short(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, .. } => io_error.to_string(),
        ProgramError::SyscallError(error) => format!("{}: {}", error.call, error.io_error),
        other => other.to_string(),
    }
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, KernelError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or(KernelError::Missing(name))?
        .try_into()
        .map_err(|source| KernelError::Program { name: name.to_owned(), source })
}

fn typed<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, KernelError>
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
