//! Attaches the programs, and says what is lost where the kernel refuses one.

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FEntry, FExit, Iter, Lsm, Program, ProgramError},
};

use super::{KernelError, Setup, TRACEPOINTS, error::short};
use crate::host::{self, Lsms};

/// What is attached besides that without which nothing runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attached {
    /// Credential changes are seen at once.
    pub(super) cred_hook: bool,
    /// Execs can be held.
    pub(super) hold: bool,
    /// Threads can be refused.
    pub(super) cap: bool,
}

/// Attaches every program; those that hold execs or refuse threads only when that is wanted. What cannot be had is put into
/// `unavailable`.
pub(super) fn attach_all(
    ebpf: &mut Ebpf,
    btf: &Btf,
    setup: Setup,
    unavailable: &mut Vec<String>,
) -> Result<Attached, KernelError> {
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

    let mut attached = Attached::default();
    match cred_hook(ebpf, btf)? {
        Ok(()) => attached.cred_hook = true,
        Err(why) => unavailable.push(format!(
            "uid changes at the change itself (fentry commit_creds: {why}); they are seen at the next fork, exec or \
             exit of the process"
        )),
    }
    let security = attach_security(ebpf, btf, setup, unavailable)?;
    Ok(Attached { hold: security.hold, cap: security.cap, ..attached })
}

/// Attaches the security hooks that are wanted. What cannot be had is put into `unavailable`.
pub(super) fn attach_security(
    ebpf: &mut Ebpf,
    btf: &Btf,
    setup: Setup,
    unavailable: &mut Vec<String>,
) -> Result<Attached, KernelError> {
    let mut attached = Attached::default();
    if setup.hold {
        match security_hook(ebpf, btf, "bprm_creds_for_exec")? {
            Ok(()) => attached.hold = true,
            Err(why) => unavailable.push(format!(
                "holding execs until the process is in its slice ({why}); a process runs outside until it was moved, \
                 and what it starts meanwhile is moved after it"
            )),
        }
    }
    if setup.cap {
        match security_hook(ebpf, btf, "task_alloc")? {
            Ok(()) => attached.cap = true,
            Err(why) => unavailable.push(format!("refusing threads by the kernel programs ({why})")),
        }
    }
    Ok(attached)
}

/// Sees a change of credentials, and its end. The inner error is the kernel's refusal.
fn cred_hook(ebpf: &mut Ebpf, btf: &Btf) -> Result<Result<(), String>, KernelError> {
    let done: &mut FExit = program(ebpf, "commit_creds_done")?;
    let result = done.load("commit_creds", btf).and_then(|()| done.attach().map(drop));
    if let Err(error) = result {
        return Ok(Err(short(&error)));
    }
    let begun: &mut FEntry = program(ebpf, "commit_creds")?;
    let result = begun.load("commit_creds", btf).and_then(|()| begun.attach().map(drop));
    Ok(result.map_err(|error| short(&error)))
}

/// Attaches to a security hook; program and hook have the same name. A kernel that has BPF LSM built in and not in its
/// list takes the program and never calls it.
fn security_hook(ebpf: &mut Ebpf, btf: &Btf, name: &'static str) -> Result<Result<(), String>, KernelError> {
    match host::lsms() {
        Lsms::Listed { bpf: false, names } => {
            return Ok(Err(format!("bpf is not in the list of security modules, {names}")));
        }
        Lsms::Unknown(why) => return Ok(Err(format!("the list of security modules is not known: {why}"))),
        Lsms::Listed { .. } => {}
    }
    let lsm: &mut Lsm = program(ebpf, name)?;
    let result = lsm.load(name, btf).and_then(|()| lsm.attach().map(drop));
    Ok(result.map_err(|error| format!("LSM {name}: {}", short(&error))))
}

pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, KernelError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or(KernelError::Missing(name))?
        .try_into()
        .map_err(|source| KernelError::Program { name: name.to_owned(), source })
}
