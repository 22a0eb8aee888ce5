//! The picture of all running processes, by the kernel's task iterator.

use std::{fs::File, io::Read};

use procwatch_common::{picture::PictureEntry, place::CGROUP_NS_INIT};

use crate::{
    event::{BootTime, Subject},
    text::Comm,
};

/// Reads an iterator's file to its end.
pub(super) fn read(mut file: File) -> std::io::Result<Vec<Pictured>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let entries = bytes.chunks_exact(size_of::<PictureEntry>());
    if entries.remainder().is_empty() {
        Ok(entries
            .map(|entry| Pictured::from(&bytemuck::pod_read_unaligned::<PictureEntry>(entry)))
            .collect())
    } else {
        Err(std::io::Error::other("the task iterator ended within an entry"))
    }
}

/// A process that runs, and what a picture tells of it besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pictured {
    /// The process.
    pub subject: Subject,
    /// Real gid.
    pub gid: u32,
    /// Effective gid.
    pub egid: u32,
    /// It is a thread of the kernel.
    pub is_kernel_thread: bool,
    /// It has a pid or cgroup namespace of its own.
    pub is_in_other_namespace: bool,
}

impl From<&PictureEntry> for Pictured {
    fn from(entry: &PictureEntry) -> Self {
        Self {
            subject: Subject {
                pid: entry.tgid,
                tid: entry.tgid,
                ppid: entry.ppid,
                uid: entry.uid,
                euid: entry.euid,
                threads: entry.threads,
                start: BootTime(entry.start_ns),
                cgroup_id: entry.cgroup_id,
                comm: Comm::new(entry.comm),
            },
            gid: entry.gid,
            egid: entry.egid,
            is_kernel_thread: entry.kthread != 0,
            is_in_other_namespace: entry.pid_level != 0 || entry.cgroup_ns != CGROUP_NS_INIT,
        }
    }
}
