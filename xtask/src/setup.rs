//! `cargo xtask setup`: finds what building the kernel programs needs, and installs it where that is allowed.
//!
//! Three parts: probes ask the machine ([`Toolchains::probe`], [`Apt::probe`]), [`steps`] and [`advice`] decide from
//! the answers alone, and the rest does what was decided.

use std::{fmt, path::PathBuf, process::Command};

use anyhow::Result;

use crate::{
    caller, exec, llvm,
    packages::{self, Apt},
    toolchain::{self, Toolchain, Toolchains},
    workspace::Workspace,
};

/// The newest bpf-linker that builds without LLVM's development files.
const BPF_LINKER: &str = "0.10.3";

/// Packages with a compiler and the sources of `core`, the first of each being the compiler.
const COMPILER_PACKAGES: [&[&str]; 2] = [
    &["rustc-web", "cargo-web", "rust-web-llvm", "rust-web-src"],
    &["rustc", "cargo", "rust-src"],
];

/// Something that is missing and that only a person can provide. Ends a task with exit code 2.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What is missing and why it is needed.
    pub(crate) missing: String,
    /// What to type.
    pub(crate) command: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; type this, then try again:\n  {}",
            self.missing, self.command
        )
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

/// Says what is done and why.
pub(crate) fn say(what: &str) {
    eprintln!("setup: {what}");
}

/// Finds or installs what building the kernel programs needs.
pub(crate) fn bpf(workspace: &Workspace) -> Result<Bpf> {
    caller::hand_over_target(workspace)?;
    let mut found = Toolchains::probe();
    if found.usable().is_none() {
        found = install_compiler(&found)?;
    }
    let Some(compiler) = found.usable().cloned() else {
        return Err(compiler_refusal(&found, Apt::probe()).into());
    };
    let linker = bpf_linker(workspace)?;
    let Some(llvm) = llvm::library_folder(workspace, &compiler, &found)? else {
        let missing = format!(
            "no libLLVM {} or newer for bpf-linker to read what {} writes",
            compiler.version.llvm, compiler.name
        );
        return Err(Refusal {
            missing,
            command: rustup_command(&found),
        }
        .into());
    };
    Ok(Bpf {
        compiler,
        linker,
        llvm,
    })
}

/// A way to get a compiler for the kernel side.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Add the sources of `core` to rustup's nightly.
    Sources,
    /// Get rustup's nightly with them.
    Nightly,
    /// Install the distribution's compiler.
    Packages,
}

/// What to try, in this order, on a machine without a usable compiler.
fn steps(found: &Toolchains, apt: Option<Apt>) -> Vec<Step> {
    let mut steps = Vec::new();
    if found.rustup {
        steps.push(if found.nightly.is_some() {
            Step::Sources
        } else {
            Step::Nightly
        });
    }
    if apt.is_some_and(Apt::may_install) {
        steps.push(Step::Packages);
    }
    steps
}

/// Why there is no compiler and what to type, when everything in [`steps`] is done.
fn compiler_refusal(found: &Toolchains, apt: Option<Apt>) -> Refusal {
    let (major, minor) = toolchain::minimum();
    let missing = format!(
        "the kernel programs need rustc {major}.{minor} or newer with the sources of `core`, and there is none"
    );
    let command = match apt {
        Some(apt) if !found.rustup => apt.command_line(COMPILER_PACKAGES[0]),
        _ => rustup_command(found),
    };
    Refusal { missing, command }
}

/// What a person types to get a complete nightly.
fn rustup_command(found: &Toolchains) -> String {
    let get_nightly = "rustup toolchain install nightly --profile minimal --component rust-src";
    if found.rustup {
        get_nightly.to_owned()
    } else {
        format!("{get_nightly}   # rustup is at https://rustup.rs")
    }
}

/// Tries the [`steps`] until one leaves a usable compiler; returns what is there afterwards.
fn install_compiler(found: &Toolchains) -> Result<Toolchains> {
    let apt = Apt::probe();
    for step in steps(found, apt) {
        let outcome = match (&step, apt) {
            (Step::Sources, _) => {
                say("rust-src → rustup's nightly (the kernel programs need `core` built for BPF)");
                rustup(&["component", "add", "rust-src", "--toolchain", "nightly"])
            }
            (Step::Nightly, _) => {
                say("nightly with rust-src → rustup (the kernel programs need `core` built for BPF)");
                rustup(&[
                    "toolchain",
                    "install",
                    "nightly",
                    "--profile",
                    "minimal",
                    "--component",
                    "rust-src",
                ])
            }
            (Step::Packages, Some(apt)) => install_compiler_packages(apt),
            (Step::Packages, None) => Ok(()),
        };
        if let Err(error) = outcome {
            say(&format!(
                "that did not work: {}",
                first_line(&format!("{error:#}"))
            ));
        }
        let found = Toolchains::probe();
        if found.usable().is_some() {
            return Ok(found);
        }
    }
    Ok(Toolchains::probe())
}

/// Runs rustup as the person who called.
fn rustup(words: &[&str]) -> Result<()> {
    exec::read(caller::command("rustup")?.args(words)).map(drop)
}

/// Installs the first set of [`COMPILER_PACKAGES`] whose compiler is new enough.
fn install_compiler_packages(apt: Apt) -> Result<()> {
    let mut packages = compiler_packages(packages::candidate);
    if packages.is_none() {
        say("apt-get update (no new enough rustc in the lists of packages)");
        apt.update()?;
        packages = compiler_packages(packages::candidate);
    }
    let Some(packages) = packages else {
        let (major, minor) = toolchain::minimum();
        anyhow::bail!("apt has no rustc {major}.{minor} or newer");
    };
    say(&format!(
        "{} → apt (the kernel programs need `core` built for BPF; ~30 s)",
        packages.join(" ")
    ));
    apt.install(packages)
}

/// The first set of packages that is new enough, given what version apt has of a package.
fn compiler_packages(candidate: impl Fn(&str) -> Option<(u32, u32)>) -> Option<&'static [&'static str]> {
    COMPILER_PACKAGES
        .into_iter()
        .find(|packages| candidate(packages[0]).is_some_and(|version| version >= toolchain::minimum()))
}

/// Finds or builds the linker of the kernel programs.
fn bpf_linker(workspace: &Workspace) -> Result<PathBuf> {
    let linker = workspace.tool("bpf-linker");
    let version = exec::read(Command::new(&linker).arg("--version"));
    if version.is_ok_and(|version| version.trim() == format!("bpf-linker {BPF_LINKER}")) {
        return Ok(linker);
    }
    say(&format!(
        "bpf-linker {BPF_LINKER} → target/tools (links the kernel programs; ~75 s)"
    ));
    cargo_install(workspace, "bpf-linker", BPF_LINKER, &[])?;
    Ok(linker)
}

/// Builds a tool into the target folder, as the person who called.
pub(crate) fn cargo_install(
    workspace: &Workspace,
    name: &str,
    version: &str,
    options: &[&str],
) -> Result<()> {
    let mut cargo = caller::cargo(workspace)?;
    cargo
        .args([
            "install",
            "--quiet",
            "--locked",
            "--force",
            name,
            "--version",
            version,
        ])
        .args(options);
    cargo.arg("--root").arg(workspace.tools());
    // Kept out of the workspace's own build folders, which another cargo may be using.
    cargo.env("CARGO_TARGET_DIR", workspace.tools().join("build"));
    exec::run(&mut cargo)
}

/// The first line of a message of several.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
