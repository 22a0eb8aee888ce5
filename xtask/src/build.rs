//! `cargo xtask build`: the kernel programs, then the agent that contains them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    caller, exec,
    setup::{self, Bpf},
    toolchain,
    workspace::Workspace,
};

/// The target of the kernel programs: BPF has no `std`, little-endian as the machines that procwatch knows.
const BPF_TARGET: &str = "bpfel-unknown-none";

/// How the agent is built; the kernel programs always are with optimizations, or the verifier would refuse them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build.
    Debug,
    /// As it is shipped.
    Release,
}

impl Profile {
    /// By the flag `--release`.
    pub(crate) fn new(release: bool) -> Self {
        if release { Self::Release } else { Self::Debug }
    }

    /// The folder below `target` that cargo puts it in.
    fn folder(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

/// Sets up, builds everything and returns the path of the agent.
pub(crate) fn run(workspace: &Workspace, profile: Profile) -> Result<PathBuf> {
    programs(workspace)?;
    agent(workspace, profile)
}

/// Sets up, builds the kernel programs and puts the object where the agent's build script finds it.
pub(crate) fn programs(workspace: &Workspace) -> Result<()> {
    let bpf = setup::bpf(workspace)?;
    exec::run(&mut bpf_cargo(workspace, &bpf, &bpf.compiler.cargo, "build")?)?;
    publish(workspace)
}

/// Builds the agent around the kernel programs that are there and returns its path.
pub(crate) fn agent(workspace: &Workspace, profile: Profile) -> Result<PathBuf> {
    let mut cargo = caller::cargo(workspace)?;
    cargo.args(["build", "--package", "procwatch"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    exec::run(&mut cargo)?;
    Ok(workspace.target.join(profile.folder()).join("procwatch"))
}

/// `cargo SUBCOMMAND` for the kernel side, with all that says what is built for what.
pub(crate) fn bpf_cargo(workspace: &Workspace, bpf: &Bpf, cargo: &Path, subcommand: &str) -> Result<Command> {
    let mut cargo = caller::command(cargo)?;
    cargo.current_dir(&workspace.root).args([subcommand, "--package", "procwatch-ebpf"]);
    cargo.args(["--release", "--target", BPF_TARGET, "-Z", "build-std=core"]);
    cargo.env("CARGO_TARGET_DIR", workspace.bpf_target());
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rustflags(bpf)?);
    // Named outright, or the first rustc on PATH would be taken. A wrapper of it knows nothing of this one.
    cargo.env("RUSTC", &bpf.compiler.rustc).env_remove("RUSTC_WRAPPER").env_remove("RUSTUP_TOOLCHAIN");
    // `build-std` is unstable; this lets a stable compiler do it.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    cargo.env("LD_LIBRARY_PATH", &bpf.llvm);
    Ok(cargo)
}

/// Compiler flags of the kernel side, in the form that lets a path contain a space.
fn rustflags(bpf: &Bpf) -> Result<String> {
    let linker = format!("-Clinker={}", bpf.linker.display());
    let arch = format!("--cfg=bpf_target_arch=\"{}\"", toolchain::bpf_target_arch()?);
    // The BTF that the kernel wants is made by the linker out of the debug information.
    Ok([&linker, "-Cdebuginfo=2", "-Clink-arg=--btf", &arch].join("\u{1f}"))
}

/// Copies the linked object to its published place when it was linked anew since.
///
/// The copy's time tells the agent's build script which sources it was built from. When cargo had nothing to do the
/// copy stays untouched, so that the agent is not built again.
fn publish(workspace: &Workspace) -> Result<()> {
    let linked = workspace.bpf_target().join(BPF_TARGET).join("release/procwatch-ebpf");
    let object = workspace.bpf_object();
    let linked_at = fs::metadata(&linked).and_then(|metadata| metadata.modified());
    let linked_at = linked_at.with_context(|| format!("no kernel programs in {}", linked.display()))?;
    let current = fs::metadata(&object).and_then(|metadata| metadata.modified());
    if current.is_ok_and(|copied_at| copied_at >= linked_at) {
        return Ok(());
    }
    // Renamed into place: a build script that runs at this moment sees the old object or the new one.
    let draft = object.with_extension("o.new");
    fs::copy(&linked, &draft)
        .and_then(|_| fs::rename(&draft, &object))
        .with_context(|| format!("cannot copy {} to {}", linked.display(), object.display()))?;
    caller::hand_over(&object)
}
