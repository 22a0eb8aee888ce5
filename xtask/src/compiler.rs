//! Getting a compiler with the sources of `core`, which the kernel programs need built for BPF.

use anyhow::Result;

use crate::{
    caller, exec,
    packages::{self, Apt},
    setup::{Refusal, say},
    toolchain::{self, Toolchains},
};

/// Packages with a compiler and the sources of `core`, the first of each being the compiler.
const PACKAGES: [&[&str]; 2] =
    [&["rustc-web", "cargo-web", "rust-web-llvm", "rust-web-src"], &["rustc", "cargo", "rust-src"]];

/// How rustup gets its nightly together with the sources.
const GET_NIGHTLY: [&str; 7] =
    ["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"];

/// How rustup gets the sources for the nightly that it has.
const GET_SOURCES: [&str; 5] = ["component", "add", "rust-src", "--toolchain", "nightly"];

/// A way to get a compiler for the kernel side.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Add the sources of `core` to rustup's nightly.
    Sources,
    /// Get rustup's nightly with them.
    Nightly,
    /// Install the distribution's compiler.
    Packages(Apt),
}

/// What to try, in this order, on a machine without a usable compiler.
fn steps(found: &Toolchains, apt: Option<Apt>) -> Vec<Step> {
    let nightly = if found.nightly.is_some() { Step::Sources } else { Step::Nightly };
    let packages = apt.filter(|apt| apt.may_install()).map(Step::Packages);
    found.rustup.then_some(nightly).into_iter().chain(packages).collect()
}

/// Why there is no compiler and what to type, when all [`steps`] are done.
pub(crate) fn refusal(found: &Toolchains, apt: Option<Apt>) -> Refusal {
    let (major, minor) = toolchain::minimum();
    let missing =
        format!("the kernel programs need rustc {major}.{minor} or newer with the sources of `core`");
    let command = match apt {
        Some(apt) if !found.rustup || !apt.may_install() => apt.command_line(PACKAGES[0]),
        _ => rustup_command(found),
    };
    Refusal { missing, command }
}

/// What a person types to get a complete nightly.
pub(crate) fn rustup_command(found: &Toolchains) -> String {
    let words = if found.nightly.is_some() { GET_SOURCES.join(" ") } else { GET_NIGHTLY.join(" ") };
    let hint = if found.rustup { "" } else { "   # rustup is at https://rustup.rs" };
    format!("rustup {words}{hint}")
}

/// Tries the [`steps`] until one leaves a usable compiler; returns what is there afterwards.
pub(crate) fn install(found: &Toolchains) -> Toolchains {
    for step in steps(found, Apt::probe()) {
        if let Err(error) = execute(&step) {
            say(&format!("that did not work: {}", exec::gist(&format!("{error:#}"))));
        }
        let found = Toolchains::probe();
        if found.usable().is_some() {
            return found;
        }
    }
    Toolchains::probe()
}

/// Does one step.
fn execute(step: &Step) -> Result<()> {
    match step {
        Step::Sources => {
            say("rust-src → rustup's nightly (the kernel programs need `core` built for BPF)");
            rustup(&GET_SOURCES)
        }
        Step::Nightly => {
            say("nightly with rust-src → rustup (the kernel programs need `core` built for BPF)");
            rustup(&GET_NIGHTLY)
        }
        Step::Packages(apt) => install_packages(*apt),
    }
}

/// Runs rustup as the person who called.
pub(crate) fn rustup(words: &[&str]) -> Result<()> {
    exec::read(caller::command("rustup")?.args(words)).map(drop)
}

/// Installs the first set of [`PACKAGES`] whose compiler is new enough.
fn install_packages(apt: Apt) -> Result<()> {
    let mut packages = choose_packages(packages::candidate);
    if packages.is_none() {
        say("apt-get update (its lists have no rustc that is new enough)");
        apt.update()?;
        packages = choose_packages(packages::candidate);
    }
    let Some(packages) = packages else {
        let (major, minor) = toolchain::minimum();
        anyhow::bail!("apt has no rustc {major}.{minor} or newer");
    };
    say(&format!("{} → apt (the kernel programs need `core` built for BPF; ~30 s)", packages.join(" ")));
    apt.install(packages)
}

/// The first set of packages that is new enough, given what version apt has of a package.
fn choose_packages(candidate: impl Fn(&str) -> Option<(u32, u32)>) -> Option<&'static [&'static str]> {
    PACKAGES
        .into_iter()
        .find(|packages| candidate(packages[0]).is_some_and(|version| version >= toolchain::minimum()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{packages::Privilege, toolchain::tests::toolchain};

    const ROOT: Apt = Apt { privilege: Privilege::Root };
    const NOBODY: Apt = Apt { privilege: Privilege::Nothing };

    fn machine(rustup: bool, nightly: bool) -> Toolchains {
        let nightly = nightly.then(|| toolchain("nightly", (1, 97), false));
        Toolchains { rustup, nightly, ..Toolchains::default() }
    }

    #[test]
    fn rustup_is_tried_before_packages() {
        assert_eq!(steps(&machine(true, true), Some(ROOT)), [Step::Sources, Step::Packages(ROOT)]);
        assert_eq!(steps(&machine(true, false), Some(ROOT)), [Step::Nightly, Step::Packages(ROOT)]);
        assert_eq!(steps(&machine(false, false), Some(ROOT)), [Step::Packages(ROOT)]);
    }

    #[test]
    fn packages_are_left_alone_without_the_right_to_install_them() {
        assert_eq!(steps(&machine(true, false), Some(NOBODY)), [Step::Nightly]);
        assert_eq!(steps(&machine(false, false), Some(NOBODY)), []);
        assert_eq!(steps(&machine(false, false), None), []);
    }

    #[test]
    fn a_refusal_gives_the_command_that_fits_the_machine() {
        let command = |found, apt| refusal(&found, apt).command;
        let packages =
            "sudo apt-get install --no-install-recommends rustc-web cargo-web rust-web-llvm rust-web-src";
        assert_eq!(command(machine(false, false), Some(NOBODY)), packages);
        assert_eq!(command(machine(true, true), Some(NOBODY)), packages);
        let sources = "rustup component add rust-src --toolchain nightly";
        assert_eq!(command(machine(true, true), Some(ROOT)), sources);
        let nightly = "rustup toolchain install nightly --profile minimal --component rust-src";
        assert_eq!(command(machine(true, false), None), nightly);
        assert!(command(machine(false, false), None).starts_with(nightly));
        assert!(refusal(&machine(false, false), None).to_string().contains("type this"));
    }

    #[test]
    fn the_first_packages_with_a_new_enough_compiler_are_chosen() {
        let with = |versions: &'static [(&str, (u32, u32))]| {
            choose_packages(|package| {
                versions.iter().find(|(name, _)| *name == package).map(|(_, version)| *version)
            })
        };
        assert_eq!(with(&[("rustc-web", (1, 96)), ("rustc", (1, 63))]), Some(PACKAGES[0]));
        assert_eq!(with(&[("rustc-web", (1, 85)), ("rustc", (1, 97))]), Some(PACKAGES[1]));
        assert_eq!(with(&[("rustc-web", (1, 85)), ("rustc", (1, 63))]), None);
        assert_eq!(with(&[]), None);
    }
}
