//! Loads programs that do nothing, to see what the kernel allows. Nothing is left behind.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use bytemuck::{Pod, Zeroable};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const BPF_F_SLEEPABLE: u32 = 1 << 4;
/// `call bpf_get_current_task_btf; r0 = 0; exit`.
const TASK_THEN_ZERO: [[u8; 8]; 3] =
    [[0x85, 0, 0, 0, 158, 0, 0, 0], [0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// What a program is for: its type, where it attaches, and its flags.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// On a tracepoint, by BTF.
    Tracepoint,
    /// An iterator.
    Iterator,
    /// At the entry of a kernel function.
    Fentry,
    /// The same, and it asks which task is current.
    FentryWithTask,
    /// A security hook that may sleep.
    SleepableLsm,
}

impl Kind {
    /// The program.
    const fn instructions(self) -> &'static [[u8; 8]] {
        let [_, return_zero @ ..] = &TASK_THEN_ZERO;
        match self {
            Self::FentryWithTask => &TASK_THEN_ZERO,
            _ => return_zero,
        }
    }

    /// `enum bpf_prog_type`, `enum bpf_attach_type`, flags.
    const fn numbers(self) -> (u32, u32, u32) {
        match self {
            Self::Tracepoint => (26, 23, 0),
            Self::Fentry | Self::FentryWithTask => (26, 24, 0),
            Self::Iterator => (26, 28, 0),
            Self::SleepableLsm => (29, 27, BPF_F_SLEEPABLE),
        }
    }
}

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` reads, up to `attach_btf_id`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log: [u64; 2],
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    func_and_line_info: [u64; 4],
    line_info_cnt: u32,
    attach_btf_id: u32,
}

const _: () = assert!(std::mem::offset_of!(ProgLoad, attach_btf_id) == 108);

/// The part for `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct RawTracepoint {
    name: u64,
    prog_fd: u32,
    pad: u32,
}

/// Loads a program for the type with this BTF id.
///
/// # Errors
/// What the kernel said.
pub(super) fn load(kind: Kind, btf_id: u32) -> io::Result<OwnedFd> {
    let (prog_type, expected_attach_type, prog_flags) = kind.numbers();
    let mut attr = ProgLoad::zeroed();
    attr.prog_type = prog_type;
    attr.insn_cnt = kind.instructions().len() as u32;
    attr.insns = kind.instructions().as_ptr() as u64;
    attr.license = c"GPL".as_ptr() as u64;
    attr.prog_flags = prog_flags;
    attr.expected_attach_type = expected_attach_type;
    attr.attach_btf_id = btf_id;
    bpf(BPF_PROG_LOAD, &attr)
}

/// Attaches such a program until the result is dropped.
///
/// # Errors
/// What the kernel said.
pub(super) fn attach(program: &OwnedFd) -> io::Result<OwnedFd> {
    bpf(BPF_RAW_TRACEPOINT_OPEN, &RawTracepoint { name: 0, prog_fd: program.as_raw_fd() as u32, pad: 0 })
}

fn bpf<T: Pod>(command: libc::c_int, attr: &T) -> io::Result<OwnedFd> {
    // SAFETY: `attr` is as long as the kernel is told and is only read; the addresses in it are of statics, which the
    // kernel only reads too.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both commands return a descriptor that the kernel has just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}
