//! Compilers that can build the kernel side: cargo and rustc with the sources of `core`.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::exec;

/// What to call the nightly of rustup.
const NIGHTLY: &str = "rustup's nightly";

/// What rustc tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Major and minor number of the compiler.
    pub(crate) rust: (u32, u32),
    /// Major number of the LLVM it writes bitcode with.
    pub(crate) llvm: u32,
}

/// A cargo and a rustc that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// What to call it in messages.
    pub(crate) name: String,
    pub(crate) cargo: PathBuf,
    pub(crate) rustc: PathBuf,
    /// The folder of its shared libraries.
    pub(crate) lib: PathBuf,
    pub(crate) version: Version,
    /// Whether the sources of `core` are there.
    pub(crate) has_sources: bool,
}

impl Toolchain {
    /// Asks the compiler in `bin` about itself; `None` when there is none that answers.
    fn probe(name: &str, bin: &Path) -> Option<Self> {
        let (cargo, rustc) = (bin.join("cargo"), bin.join("rustc"));
        if !cargo.is_file() || !rustc.is_file() {
            return None;
        }
        let version = parse_version(&exec::read(Command::new(&rustc).arg("-vV")).ok()?)?;
        let sysroot = exec::read(Command::new(&rustc).args(["--print", "sysroot"])).ok()?;
        let lib = Path::new(sysroot.trim()).join("lib");
        let has_sources = lib.join("rustlib/src/rust/library/core/Cargo.toml").is_file();
        Some(Self { name: name.to_owned(), cargo, rustc, lib, version, has_sources })
    }

    /// Whether it is rustup's nightly.
    pub(crate) fn is_nightly(&self) -> bool {
        self.name == NIGHTLY
    }

    /// Whether it can build the kernel side.
    pub(crate) fn is_usable(&self) -> bool {
        self.has_sources && self.version.rust >= minimum()
    }
}

/// The oldest compiler that the workspace accepts (`rust-version` in Cargo.toml).
pub(crate) fn minimum() -> (u32, u32) {
    parse_release(env!("CARGO_PKG_RUST_VERSION")).unwrap_or((u32::MAX, 0))
}

/// The toolchains of this machine in the order in which they are preferred.
#[derive(Debug, Default)]
pub(crate) struct Toolchains {
    /// Whether rustup is here.
    pub(crate) rustup: bool,
    /// rustup's nightly.
    pub(crate) nightly: Option<Toolchain>,
    /// Compilers outside rustup, such as a distribution's.
    pub(crate) others: Vec<Toolchain>,
    /// The toolchain that builds the agent.
    pub(crate) current: Option<Toolchain>,
}

impl Toolchains {
    /// Looks at this machine.
    pub(crate) fn probe() -> Self {
        let nightly = rustup_bin("nightly").and_then(|bin| Toolchain::probe(NIGHTLY, &bin));
        let folders = path_folders();
        let others = folders
            .iter()
            .filter(|dir| !dir.join("rustup").exists())
            .filter_map(|dir| Toolchain::probe(&format!("the compiler in {}", dir.display()), dir))
            .collect();
        let current = current_bin().and_then(|bin| Toolchain::probe("the agent's toolchain", &bin));
        Self { rustup: folders.iter().any(|dir| dir.join("rustup").exists()), nightly, others, current }
    }

    /// The best one that can build the kernel side.
    pub(crate) fn usable(&self) -> Option<&Toolchain> {
        self.nightly.iter().chain(&self.others).chain(&self.current).find(|toolchain| toolchain.is_usable())
    }
}

/// The bin folder of a toolchain of rustup; `None` where rustup has none of that name.
fn rustup_bin(toolchain: &str) -> Option<PathBuf> {
    let rustc = exec::read(Command::new("rustup").args(["which", "--toolchain", toolchain, "rustc"])).ok()?;
    Path::new(rustc.trim()).parent().map(Path::to_path_buf)
}

/// The bin folder of the cargo that started this task.
fn current_bin() -> Option<PathBuf> {
    Path::new(&env::var_os("CARGO")?).parent().map(Path::to_path_buf)
}

/// The folders of PATH and those where distributions put compilers, each once.
fn path_folders() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = Vec::new();
    for dir in env::split_paths(&path).chain(["/usr/local/bin".into(), "/usr/bin".into()]) {
        let Ok(dir) = dir.canonicalize() else { continue };
        if !folders.contains(&dir) {
            folders.push(dir);
        }
    }
    folders
}

/// Reads the output of `rustc -vV`.
fn parse_version(text: &str) -> Option<Version> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let rust = parse_release(field("release: ")?)?;
    let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
    Some(Version { rust, llvm })
}

/// Major and minor number of a release such as `1.97.0-nightly` or `1.95`.
pub(crate) fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The architecture as the kernel's headers and aya name it.
pub(crate) fn bpf_target_arch() -> Result<&'static str> {
    match env::consts::ARCH {
        "x86_64" => Ok("x86_64"),
        "aarch64" => Ok("aarch64"),
        other => {
            Err(anyhow::anyhow!("{other}")).context("procwatch knows no kernel registers of this machine")
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_verbose_output() {
        let text = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n\
                    release: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(parse_version(text), Some(Version { rust: (1, 97), llvm: 22 }));
        assert_eq!(parse_version("rustc 1.97.0"), None);
    }

    #[test]
    fn minimum_is_the_workspace_rust_version() {
        assert!(minimum() >= (1, 95) && minimum() < (2, 0));
    }

    pub(crate) fn toolchain(name: &str, rust: (u32, u32), has_sources: bool) -> Toolchain {
        let path = PathBuf::from("/none");
        let version = Version { rust, llvm: 22 };
        let (cargo, rustc) = (path.clone(), path.clone());
        Toolchain { name: name.to_owned(), cargo, rustc, lib: path, version, has_sources }
    }

    #[test]
    fn nightly_is_preferred_but_only_with_sources() {
        let mut found = Toolchains {
            rustup: true,
            nightly: Some(toolchain("nightly", (1, 97), true)),
            others: vec![toolchain("old", (1, 85), true), toolchain("debian", (1, 96), true)],
            current: Some(toolchain("stable", (1, 95), true)),
        };
        assert_eq!(found.usable().unwrap().name, "nightly");
        found.nightly = Some(toolchain("nightly", (1, 97), false));
        assert_eq!(found.usable().unwrap().name, "debian");
        found.others.pop();
        assert_eq!(found.usable().unwrap().name, "stable");
        found.current = None;
        assert_eq!(found.usable(), None);
    }
}
