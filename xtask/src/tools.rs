//! Programs that tasks call: built into the target folder, or taken from the distribution.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    caller, compiler, exec,
    packages::Apt,
    setup::{Refusal, say},
    toolchain::Toolchain,
    workspace::Workspace,
};

/// The newest bpf-linker that builds without LLVM's development files.
const BPF_LINKER: &str = "0.10.3";

/// The cargo-deny that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// What tests compile and start, and the packages it comes in.
const TEST_PROGRAMS: [(&str, &[&str]); 4] =
    [("cc", &["gcc", "libc6-dev"]), ("c++", &["g++"]), ("python3", &["python3"]), ("openssl", &["openssl"])];

/// The same for tests that are skipped without them, but not in CI.
const CI_PROGRAMS: [(&str, &[&str]); 3] =
    [("go", &["golang-go"]), ("javac", &["default-jdk-headless"]), ("promtool", &["prometheus"])];

/// Finds or builds the linker of the kernel programs.
pub(crate) fn bpf_linker(workspace: &Workspace) -> Result<PathBuf> {
    built(workspace, "bpf-linker", BPF_LINKER, "links the kernel programs; ~40 s", &[])
}

/// Finds or builds the checker of licences and sources.
pub(crate) fn cargo_deny(workspace: &Workspace) -> Result<PathBuf> {
    let options = ["--no-default-features"];
    built(workspace, "cargo-deny", CARGO_DENY, "checks licences and sources; ~60 s", &options)
}

/// A tool of the target folder, built there when this version of it is not there yet.
fn built(workspace: &Workspace, name: &str, version: &str, why: &str, options: &[&str]) -> Result<PathBuf> {
    let tool = workspace.tool(name);
    if exec::read(Command::new(&tool).arg("--version"))
        .is_ok_and(|it| it.trim() == format!("{name} {version}"))
    {
        return Ok(tool);
    }
    say(&format!("{name} {version} → target/tools ({why})"));
    let mut cargo = caller::cargo(workspace)?;
    cargo.args(["install", "--quiet", "--locked", "--force", "--version", version, name]).args(options);
    cargo.arg("--root").arg(workspace.tools());
    // Not in the workspace's own folder, where it would wait for another cargo, nor kept: it is large.
    let build = workspace.tools().join("build");
    cargo.env("CARGO_TARGET_DIR", &build);
    // They work for a second at a time: what counts is how long building them takes.
    for (key, value) in [("OPT_LEVEL", "0"), ("LTO", "off"), ("CODEGEN_UNITS", "64"), ("DEBUG", "0")] {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    exec::run(&mut cargo)?;
    fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))?;
    Ok(tool)
}

/// Finds or installs what the tests compile and start.
pub(crate) fn test_programs() -> Result<()> {
    let mut packages = missing_packages(&TEST_PROGRAMS, is_on_path);
    if env::var("CI").is_ok_and(|ci| ci == "true") {
        packages.extend(missing_packages(&CI_PROGRAMS, is_on_path));
    }
    if packages.is_empty() {
        return Ok(());
    }
    install(Apt::probe(), &packages, "the tests compile and start small programs")
}

/// Finds or installs what a soak stresses the machine with.
pub(crate) fn stressor() -> Result<()> {
    let packages = missing_packages(&[("stress-ng", &["stress-ng"])], is_on_path);
    if packages.is_empty() {
        Ok(())
    } else {
        install(Apt::probe(), &packages, "a soak forks and execs with it")
    }
}

/// Finds `program` or installs the package that it is in.
pub(crate) fn package(program: &str, package: &'static str, why: &str) -> Result<()> {
    if is_on_path(program) { Ok(()) } else { install(Apt::probe(), &[package], why) }
}

/// The packages of those `programs` that are not there.
fn missing_packages(
    programs: &[(&str, &[&'static str])],
    is_there: impl Fn(&str) -> bool,
) -> Vec<&'static str> {
    let missing = programs.iter().filter(|(program, _)| !is_there(program));
    missing.flat_map(|(_, packages)| packages.iter().copied()).collect()
}

/// Whether a program of this name can be started.
pub(crate) fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Finds or installs the clippy that belongs to the compiler of the kernel side.
pub(crate) fn clippy(compiler: &Toolchain) -> Result<PathBuf> {
    let clippy = compiler.cargo.with_file_name("cargo-clippy");
    if clippy.is_file() {
        return Ok(clippy);
    }
    let why = "lints the kernel programs with the compiler that builds them";
    if compiler.is_nightly() {
        say(&format!("clippy → rustup's nightly ({why})"));
        compiler::rustup(&["component", "add", "clippy", "--toolchain", "nightly"])?;
    } else {
        install(Apt::probe(), &[clippy_package(compiler)], why)?;
    }
    Ok(clippy)
}

/// The distribution's package with the clippy of its own compiler.
fn clippy_package(compiler: &Toolchain) -> &'static str {
    let packaged_as_web = exec::succeeds(Command::new("dpkg-query").arg("--show").arg("rustc-web"));
    if packaged_as_web && compiler.cargo.starts_with("/usr/bin") { "rust-web-clippy" } else { "rust-clippy" }
}

/// Installs packages, or says what to type where that is not allowed.
fn install(apt: Option<Apt>, packages: &[&str], why: &str) -> Result<()> {
    let Some(apt) = apt.filter(|apt| apt.may_install()) else {
        return Err(refusal(apt, packages, why).into());
    };
    say(&format!("{} → apt ({why})", packages.join(" ")));
    if apt.install(packages).is_ok() {
        return Ok(());
    }
    say("apt-get update (its lists may be old)");
    apt.update()?;
    apt.install(packages)
}

/// What to type to get `packages`.
fn refusal(apt: Option<Apt>, packages: &[&str], why: &str) -> Refusal {
    let missing = format!("not here: {} ({why})", packages.join(" "));
    let command = match apt {
        Some(apt) => apt.command_line(packages),
        None => format!("(your package manager's install command) {}", packages.join(" ")),
    };
    Refusal { missing, command }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::Privilege;

    #[test]
    fn only_what_is_missing_is_installed() {
        let missing = |is_there: fn(&str) -> bool| missing_packages(&TEST_PROGRAMS, is_there);
        assert_eq!(missing(|_| true), Vec::<&str>::new());
        assert_eq!(missing(|program| program == "cc"), ["g++", "python3", "openssl"]);
        assert_eq!(missing(|_| false), ["gcc", "libc6-dev", "g++", "python3", "openssl"]);
    }

    #[test]
    fn without_the_right_to_install_there_is_a_command_to_type() {
        let apt = Apt { privilege: Privilege::Nothing };
        let refusal = refusal(Some(apt), &["python3"], "tests start it");
        assert_eq!(refusal.command, "sudo apt-get install --no-install-recommends python3");
        assert_eq!(refusal.missing, "not here: python3 (tests start it)");
    }
}
