//! `cargo xtask lint`: format, clippy of both sides and the rules of `deny.toml`, all with warnings denied.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::{
    build, caller, exec,
    setup::{self, Bpf},
    tools,
    workspace::Workspace,
};

/// Runs every check and stops at the first that fails.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let bpf = setup::bpf(workspace)?;
    exec::run(caller::cargo(workspace)?.args(["fmt", "--all", "--check"]))?;
    clippy_user_side(workspace)?;
    clippy_kernel_side(workspace, &bpf)?;
    deny(workspace)
}

/// Lints all that runs in user space, tests included.
fn clippy_user_side(workspace: &Workspace) -> Result<()> {
    let mut cargo = caller::cargo(workspace)?;
    cargo.args([
        "clippy",
        "--workspace",
        "--exclude",
        "procwatch-ebpf",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]);
    exec::run(&mut cargo)
}

/// Lints the kernel programs for the target that they are built for.
fn clippy_kernel_side(workspace: &Workspace, bpf: &Bpf) -> Result<()> {
    let clippy = tools::clippy(&bpf.compiler)?;
    let mut command = build::bpf_cargo(workspace, bpf, &clippy, "clippy")?;
    // Started by its path, because `cargo clippy` would look for rustup's first; it calls this cargo in turn.
    command.env("CARGO", &bpf.compiler.cargo).args(["--", "-D", "warnings"]);
    exec::run(&mut command)
}

/// Holds the dependencies against `deny.toml`.
fn deny(workspace: &Workspace) -> Result<()> {
    let deny = tools::cargo_deny(workspace)?;
    let command = |words: &[&str]| -> Result<Command> { deny_command(workspace, &deny, words) };
    exec::run(&mut command(&["check", "--hide-inclusion-graph", "bans", "licenses", "sources"])?)?;
    // Known faults of dependencies are a matter of this very day, so they come over the network or not at all.
    match exec::read(&mut command(&["fetch", "db"])?) {
        Ok(_) => {
            exec::run(&mut command(&["check", "--hide-inclusion-graph", "--disable-fetch", "advisories"])?)
        }
        Err(error) => {
            eprintln!("SKIPPED advisories: {}", exec::gist(&error.to_string()));
            Ok(())
        }
    }
}

/// cargo-deny, as the person who called.
fn deny_command(workspace: &Workspace, deny: &Path, words: &[&str]) -> Result<Command> {
    let mut command = caller::command(deny)?;
    command.current_dir(&workspace.root).args(["--workspace", "--locked"]).args(words);
    Ok(command)
}
