//! The picture of running processes that the task iterator gives.

use bytemuck::{Pod, Zeroable};

use crate::wire::COMM_LEN;

/// One live process (its thread group), as `bpf_seq_write` puts it into the iterator's file.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct PictureEntry {
    /// `CLOCK_BOOTTIME` of its start, ns; with `tgid` it names the process for ever.
    pub start_ns: u64,
    /// Its cgroup's id in the v2 hierarchy.
    pub cgroup_id: u64,
    /// Process id.
    pub tgid: u32,
    /// Parent's process id.
    pub ppid: u32,
    /// Real uid.
    pub uid: u32,
    /// Effective uid.
    pub euid: u32,
    /// Real gid.
    pub gid: u32,
    /// Effective gid.
    pub egid: u32,
    /// Threads that have not begun to exit.
    pub threads: u32,
    /// 1 for a kernel thread.
    pub kthread: u32,
    /// Depth of its pid namespace; 0 is the initial one.
    pub pid_level: u32,
    /// Number of its cgroup namespace.
    pub cgroup_ns: u32,
    /// Name of the leading thread, padded with zero.
    pub comm: [u8; COMM_LEN],
}
