//! Where the fields of the running kernel's structures are.
//!
//! Rust BPF programs carry no CO-RE relocations, so the loader looks each offset up in the kernel's BTF and sets one
//! read-only global before the programs are verified. The verifier knows the values and checks each access by type.

use bytemuck::{Pod, Zeroable};

/// Offset of a field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Byte offsets of the kernel fields that the programs read, [`ABSENT`] for an optional one that is missing.
///
/// Each field is named `struct_member`. Seen on Linux 6.18; the agent's table `kernel::fields` names alternatives.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Fields {
    /// `task_struct.pid`: what user space calls the thread id.
    pub task_pid: u32,
    /// `task_struct.tgid`: what user space calls the process id.
    pub task_tgid: u32,
    /// `task_struct.flags`, for `PF_KTHREAD`.
    pub task_flags: u32,
    /// `task_struct.comm`, 16 bytes.
    pub task_comm: u32,
    /// `task_struct.real_parent`.
    pub task_real_parent: u32,
    /// `task_struct.group_leader`.
    pub task_group_leader: u32,
    /// `task_struct.signal`.
    pub task_signal: u32,
    /// `task_struct.real_cred`: the objective credentials, not those a task has put on for a moment.
    pub task_real_cred: u32,
    /// `task_struct.mm`.
    pub task_mm: u32,
    /// `task_struct.cgroups`.
    pub task_cgroups: u32,
    /// `task_struct.start_boottime`, ns.
    pub task_start_boottime: u32,
    /// `task_struct.exit_code`.
    pub task_exit_code: u32,
    /// `task_struct.loginuid` (optional: `CONFIG_AUDIT`).
    pub task_loginuid: u32,
    /// `task_struct.sessionid` (optional: `CONFIG_AUDIT`).
    pub task_sessionid: u32,
    /// `task_struct.nsproxy`: null once a task has begun to exit.
    pub task_nsproxy: u32,
    /// `task_struct.thread_pid`.
    pub task_thread_pid: u32,
    /// `signal_struct.tty` (optional: `CONFIG_TTY`).
    pub signal_tty: u32,
    /// `signal_struct.nr_threads`: threads not yet reaped, the kernel's own count.
    pub signal_nr_threads: u32,
    /// `signal_struct.live`: threads that have not begun to exit.
    pub signal_live: u32,
    /// `signal_struct.curr_target`: a thread of the process.
    pub signal_curr_target: u32,
    /// `signal_struct.flags`, for `SIGNAL_GROUP_EXIT`.
    pub signal_flags: u32,
    /// `signal_struct.group_exit_code`.
    pub signal_group_exit_code: u32,
    /// `cred.uid`.
    pub cred_uid: u32,
    /// `cred.euid`.
    pub cred_euid: u32,
    /// `cred.gid`.
    pub cred_gid: u32,
    /// `cred.egid`.
    pub cred_egid: u32,
    /// `nsproxy.cgroup_ns`.
    pub nsproxy_cgroup_ns: u32,
    /// `cgroup_namespace.ns`, a `struct ns_common`.
    pub cgroup_namespace_ns: u32,
    /// `ns_common.inum`: the number of a namespace.
    pub ns_common_inum: u32,
    /// `pid.level`: 0 in the initial pid namespace.
    pub pid_level: u32,
    /// `tty_struct.name` (optional: `CONFIG_TTY`).
    pub tty_name: u32,
    /// `mm_struct.arg_start`.
    pub mm_arg_start: u32,
    /// `mm_struct.arg_end`.
    pub mm_arg_end: u32,
    /// `css_set.dfl_cgrp`: the task's cgroup in the v2 hierarchy.
    pub css_set_dfl_cgrp: u32,
    /// `cgroup.kn`.
    pub cgroup_kn: u32,
    /// `kernfs_node.id`: the cgroup id, equal to the inode number of its folder.
    pub kernfs_node_id: u32,
    /// `linux_binprm.filename`.
    pub binprm_filename: u32,
    /// `pt_regs.ip` (optional: of x86-64).
    pub pt_regs_ip: u32,
    /// `pt_regs.sp` (optional).
    pub pt_regs_sp: u32,
    /// `pt_regs.bp` (optional).
    pub pt_regs_bp: u32,
}

#[cfg(feature = "user")]
// SAFETY: `Fields` is `repr(C)` and `bytemuck::Pod` (no padding, any bit pattern is valid).
unsafe impl aya::Pod for Fields {}
