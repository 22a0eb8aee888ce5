//! The picture of all running processes, by the kernel's task iterator.

use std::{fs::File, io::Read};

use procwatch_common::picture::PictureEntry;

use crate::{
    event::{BootTime, Subject},
    text::Comm,
};

/// Reads an iterator's file to its end.
pub(super) fn read(mut file: File) -> std::io::Result<Vec<PictureEntry>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let entries = bytes.chunks_exact(size_of::<PictureEntry>());
    if entries.remainder().is_empty() {
        Ok(entries.map(bytemuck::pod_read_unaligned).collect())
    } else {
        Err(std::io::Error::other("the task iterator ended within an entry"))
    }
}

/// The entry as the subject of an event.
pub fn subject(entry: &PictureEntry) -> Subject {
    Subject {
        pid: entry.tgid,
        tid: entry.tgid,
        ppid: entry.ppid,
        uid: entry.uid,
        euid: entry.euid,
        threads: entry.threads,
        start: BootTime(entry.start_ns),
        cgroup_id: entry.cgroup_id,
        comm: Comm::new(entry.comm),
    }
}
