//! How the kernel side is: what `status` and the metrics show of it.

use std::time::SystemTime;

use aya::{maps::MapData, programs::ProgramInfo};
use jiff::Timestamp;
use procwatch_common::stats::{RingCount, Stats};

use super::{
    Kernel, KernelError,
    object::{Programs, ring_size},
    ring_memory::RingMemory,
};
use crate::{
    record::Ring,
    status::{Pinned, ProgramStatus, RingStatus},
    text::escape,
};

impl Kernel {
    /// What is kept in the kernel when the agent dies; `None` when nothing is.
    pub fn pinned(&self) -> Option<Pinned> {
        let pinned = self.pinned.as_ref()?;
        let since = pinned.state.since().unwrap_or(SystemTime::UNIX_EPOCH);
        Some(Pinned {
            folder: escape(pinned.folder.path().as_os_str().as_encoded_bytes()).into_owned(),
            since: Timestamp::try_from(since).unwrap_or(Timestamp::UNIX_EPOCH),
            adopted: pinned.is_adopted,
        })
    }

    /// Both rings: what is in them, bytes, and what they got by these counters.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn rings_status(&self, stats: &Stats) -> Result<Vec<RingStatus>, KernelError> {
        let rings = [
            (Ring::Urgent, "URGENT", &self.urgent, stats.urgent),
            (Ring::Stream, "STREAM", &self.stream, stats.stream),
        ];
        let status = |(ring, name, map, count): (_, _, &MapData, RingCount)| {
            let memory = RingMemory::new(map.fd(), ring_size(name, map)?);
            let memory = memory.map_err(|source| KernelError::Io { what: name, source })?;
            Ok(RingStatus {
                ring,
                size_bytes: memory.size() as u64,
                waiting_bytes: memory.waiting() as u64,
                sent: count.sent,
                lost: count.lost,
            })
        };
        rings.into_iter().map(status).collect()
    }

    /// The loaded programs, by name: how often they ran, and how long. The kernel counts that only while
    /// `kernel.bpf_stats_enabled` is set.
    ///
    /// # Errors
    /// When what is pinned cannot be listed.
    pub fn programs_status(&self) -> Result<Vec<ProgramStatus>, KernelError> {
        // One that is not loaded, or went meanwhile, has nothing to tell.
        let infos: Vec<(String, ProgramInfo)> = match (&self.programs, &self.pinned) {
            (_, Some(pinned)) => {
                let paths = pinned.state.programs()?.into_iter();
                paths.filter_map(|(name, path)| Some((name, ProgramInfo::from_pin(path).ok()?))).collect()
            }
            (Programs::Own(ebpf), None) => ebpf
                .programs()
                .filter_map(|(name, program)| Some((name.to_owned(), program.info().ok()?)))
                .collect(),
            (Programs::Pinned(_), None) => Vec::new(),
        };
        let mut status: Vec<ProgramStatus> = infos
            .into_iter()
            .map(|(name, info)| ProgramStatus {
                name,
                runs: info.run_count(),
                run_ns: info.run_time().as_nanos() as u64,
            })
            .collect();
        status.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(status)
    }
}
