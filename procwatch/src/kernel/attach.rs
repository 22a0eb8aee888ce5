//! Attaches the programs, and says what is lost where the kernel refuses one.

use aya::{
    Btf, Ebpf,
    pin::PinError as AyaPinError,
    programs::{
        BtfTracePoint, FEntry, FExit, Iter, Lsm, Program, ProgramError,
        links::{FdLink, LinkError, PinnedLink},
    },
};

use super::{
    KernelError, Setup, TRACEPOINTS,
    error::short,
    pins::{PinError, State},
};
use crate::host::{self, Lsms};

/// The program that makes pictures.
pub(super) const PICTURE: &str = "task_picture";
/// Program and security hook by which execs are held.
const HOLD: &str = "bprm_creds_for_exec";
/// Program and security hook by which threads are refused.
const CAP: &str = "task_alloc";
/// The programs that see changes of credentials; the second one alone does nothing.
const CRED: [&str; 2] = ["commit_creds_done", "commit_creds"];

/// The links of attached programs. Those that are not pinned are detached when this is dropped.
#[derive(Default)]
pub(super) struct Links(Vec<(String, FdLink)>);

impl Links {
    /// Those that are pinned.
    pub(super) fn of_state(state: &State) -> Result<Self, KernelError> {
        let open = |(name, path): (String, _)| match PinnedLink::from_pin(path) {
            Ok(link) => Ok((name, FdLink::from(link))),
            Err(LinkError::SyscallError(error)) => {
                Err(KernelError::Program { name, source: ProgramError::SyscallError(error) })
            }
            Err(_) => Err(KernelError::Missing("link")),
        };
        Ok(Self(state.links()?.into_iter().map(open).collect::<Result<_, _>>()?))
    }

    fn has(&self, program: &str) -> bool {
        self.0.iter().any(|(name, _)| name == program)
    }

    /// Whether all tracepoints have their programs.
    pub(super) fn are_complete(&self) -> bool {
        TRACEPOINTS.iter().all(|name| self.has(name))
    }

    /// Credential changes are seen at once.
    pub(super) fn see_creds(&self) -> bool {
        CRED.iter().all(|name| self.has(name))
    }

    /// Execs can be held.
    pub(super) fn can_hold(&self) -> bool {
        self.has(HOLD)
    }

    /// Threads can be refused.
    pub(super) fn can_cap(&self) -> bool {
        self.has(CAP)
    }
}

/// Loads and attaches programs.
pub(super) struct Attacher<'a> {
    /// Where they are.
    pub(super) ebpf: &'a mut Ebpf,
    /// The kernel's types.
    pub(super) btf: &'a Btf,
    /// Where they are pinned, if they are.
    pub(super) state: Option<&'a State>,
    /// What is attached.
    pub(super) links: &'a mut Links,
    /// What cannot be had.
    pub(super) unavailable: &'a mut Vec<String>,
}

impl Attacher<'_> {
    /// All that are always needed, and those that are wanted.
    pub(super) fn all(&mut self, setup: Setup) -> Result<(), KernelError> {
        for name in TRACEPOINTS {
            let btf = self.btf;
            let tracepoint: &mut BtfTracePoint = program(self.ebpf, name)?;
            tracepoint.load(name, btf).map_err(of_program(name))?;
            self.attach::<BtfTracePoint>(name)?;
        }
        let iter: &mut Iter = program(self.ebpf, PICTURE)?;
        iter.load("task", self.btf).map_err(of_program(PICTURE))?;
        if let Some(state) = self.state {
            let path = state.program(PICTURE);
            iter.pin(&path).map_err(|source| PinError::Object { path, source })?;
        }
        self.creds()?;
        self.security(setup)
    }

    /// Sees a change of credentials, and its end.
    pub(super) fn creds(&mut self) -> Result<(), KernelError> {
        let result = self.cred_end().and_then(|()| self.cred_begin());
        if let Some(why) = refusal(result)? {
            self.unavailable.push(without_cred_hook(&why));
        }
        Ok(())
    }

    fn cred_end(&mut self) -> Result<(), KernelError> {
        let [name, function] = CRED;
        let done: &mut FExit = program(self.ebpf, name)?;
        done.load(function, self.btf).map_err(of_program(name))?;
        self.attach::<FExit>(name)
    }

    fn cred_begin(&mut self) -> Result<(), KernelError> {
        let [_, name] = CRED;
        let begun: &mut FEntry = program(self.ebpf, name)?;
        begun.load(name, self.btf).map_err(of_program(name))?;
        self.attach::<FEntry>(name)
    }

    /// The security hooks that are wanted and not there yet.
    pub(super) fn security(&mut self, setup: Setup) -> Result<(), KernelError> {
        if setup.hold
            && !self.links.can_hold()
            && let Some(why) = self.security_hook(HOLD)?
        {
            self.unavailable.push(without_hold(&why));
        }
        if setup.cap
            && !self.links.can_cap()
            && let Some(why) = self.security_hook(CAP)?
        {
            self.unavailable.push(without_cap(&why));
        }
        Ok(())
    }

    /// Attaches to a security hook; program and hook have the same name. The kernel's refusal, if it refuses.
    fn security_hook(&mut self, name: &'static str) -> Result<Option<String>, KernelError> {
        if let Some(why) = no_security_hooks() {
            return Ok(Some(why));
        }
        let lsm: &mut Lsm = program(self.ebpf, name)?;
        let loaded = lsm.load(name, self.btf).map_err(of_program(name));
        let result = loaded.and_then(|()| self.attach::<Lsm>(name));
        Ok(refusal(result)?.map(|why| format!("LSM {name}: {why}")))
    }

    /// Attaches a loaded program, and pins it and its link where that is wanted.
    fn attach<P: Hook>(&mut self, name: &'static str) -> Result<(), KernelError>
    where
        for<'p> &'p mut P: TryFrom<&'p mut Program, Error = ProgramError>,
    {
        let hook: &mut P = program(self.ebpf, name)?;
        let link = hook.hook().map_err(of_program(name))?;
        let link = match self.state {
            None => link,
            Some(state) => {
                let (program, path) = (state.program(name), state.link(name));
                hook.pin_to(&program).map_err(|source| PinError::Object { path: program, source })?;
                link.pin(&path).map_err(|source| PinError::Object { path, source })?.into()
            }
        };
        self.links.0.push((name.to_owned(), link));
        Ok(())
    }
}

/// A program that is attached to one place.
trait Hook {
    /// Attaches it.
    fn hook(&mut self) -> Result<FdLink, ProgramError>;
    /// Pins it.
    fn pin_to(&mut self, path: &std::path::Path) -> Result<(), AyaPinError>;
}

macro_rules! hooks {
    ($($program:ty),+) => {
        $(impl Hook for $program {
            fn hook(&mut self) -> Result<FdLink, ProgramError> {
                let id = self.attach()?;
                Ok(self.take_link(id)?.into())
            }

            fn pin_to(&mut self, path: &std::path::Path) -> Result<(), AyaPinError> {
                self.pin(path)
            }
        })+
    };
}

hooks!(BtfTracePoint, FEntry, FExit, Lsm);

/// Why no security hook can be had, when that is known beforehand. A kernel that has BPF LSM built in and not in its list
/// takes the program and never calls it.
pub(super) fn no_security_hooks() -> Option<String> {
    match host::lsms() {
        Lsms::Listed { bpf: false, names } => {
            Some(format!("bpf is not in the list of security modules, {names}"))
        }
        Lsms::Unknown(why) => Some(format!("the list of security modules is not known: {why}")),
        Lsms::Listed { .. } => None,
    }
}

/// What is lost without a hook on changes of credentials.
pub(super) fn without_cred_hook(why: &str) -> String {
    format!(
        "uid changes at the change itself (fentry commit_creds: {why}); they are seen at the next fork, exec or exit of \
         the process"
    )
}

/// What is lost when execs cannot be held.
pub(super) fn without_hold(why: &str) -> String {
    format!(
        "holding execs until the process is in its slice ({why}); a process runs outside until it was moved, and what it \
         starts meanwhile is moved after it"
    )
}

/// What is lost when threads cannot be refused.
pub(super) fn without_cap(why: &str) -> String {
    format!("refusing threads by the kernel programs ({why})")
}

/// The kernel's refusal of a program, told apart from what must not be.
fn refusal(result: Result<(), KernelError>) -> Result<Option<String>, KernelError> {
    match result {
        Ok(()) => Ok(None),
        Err(KernelError::Program { source, .. }) => Ok(Some(short(&source))),
        Err(error) => Err(error),
    }
}

fn of_program(name: &str) -> impl FnOnce(ProgramError) -> KernelError {
    move |source| KernelError::Program { name: name.to_owned(), source }
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
