//! `cargo xtask setup`: finds what the tasks need, and installs it where that is allowed.
//!
//! Three parts: probes ask the machine ([`Toolchains::probe`], [`Apt::probe`]), pure functions decide from the
//! answers alone ([`crate::compiler`], [`crate::tools`]), and the rest does what was decided.

use std::{fmt, path::PathBuf};

use anyhow::Result;

use crate::{
    caller, compiler, llvm,
    packages::Apt,
    toolchain::{Toolchain, Toolchains},
    tools,
    workspace::Workspace,
};

/// Something that is missing and that only a person can provide. Ends a task with exit code 2.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What is missing and why it is needed.
    pub(crate) missing: String,
    /// What to type.
    pub(crate) command: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; type this, then try again:\n  {}", self.missing, self.command)
    }
}

impl std::error::Error for Refusal {}

/// Everything that building the kernel programs needs.
pub(crate) struct Bpf {
    /// The compiler for them.
    pub(crate) compiler: Toolchain,
    /// Their linker.
    pub(crate) linker: PathBuf,
    /// The folder of the LLVM that the linker loads.
    pub(crate) llvm: PathBuf,
}

/// Says in one line what is done and why.
pub(crate) fn say(what: &str) {
    eprintln!("setup: {what}");
}

/// Finds or installs what building the kernel programs needs.
pub(crate) fn bpf(workspace: &Workspace) -> Result<Bpf> {
    caller::hand_over(&workspace.target)?;
    let mut found = Toolchains::probe();
    if found.usable().is_none() {
        found = compiler::install(&found);
    }
    let Some(compiler) = found.usable().cloned() else {
        return Err(compiler::refusal(&found, Apt::probe()).into());
    };
    let linker = tools::bpf_linker(workspace)?;
    let Some(llvm) = llvm::library_folder(workspace, &compiler, &found)? else {
        let wanted = compiler.version.llvm;
        let missing =
            format!("bpf-linker needs libLLVM {wanted} or newer to read what {} writes", compiler.name);
        return Err(Refusal { missing, command: compiler::rustup_command(&found) }.into());
    };
    Ok(Bpf { compiler, linker, llvm })
}
