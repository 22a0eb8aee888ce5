//! What a test needs of the machine. What is missing is told, never passed over in silence.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
};

use nix::unistd::{Uid, User};

use crate::agent::{Refusal, refusal};

/// Something that not every machine has.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// The right to load programs into the kernel.
    Root,
    /// An agent with its kernel programs inside.
    Bpf,
    /// A user to `su` to.
    Nobody,
    /// A machine of one's own, made for tests: nobody else lives on it.
    Vm,
    /// LSM programs that are called.
    Lsm,
    /// A compiler of Go.
    Go,
    /// A Java virtual machine with a compiler.
    Jvm,
    /// Prometheus with its promtool.
    Prometheus,
}

impl Need {
    /// Why it is not there, if it is not.
    fn missing(self) -> Option<&'static str> {
        match self {
            Self::Root => (!Uid::effective().is_root()).then_some("[needs-root] run `cargo xtask test`"),
            Self::Bpf => {
                without_programs().then_some("[needs-bpf] this procwatch has no kernel programs in it")
            }
            Self::Nobody => User::from_name("nobody")
                .is_ok_and(|user| user.is_none())
                .then_some("[needs-user] the account database has no user nobody"),
            Self::Vm => {
                std::env::var_os("PROCWATCH_VM").is_none().then_some("[needs-vm] run `cargo xtask vm`")
            }
            Self::Go => (!is_on_path("go")).then_some("[needs-go] there is no go; install golang-go"),
            Self::Jvm => (!is_on_path("javac"))
                .then_some("[needs-jvm] there is no javac; install default-jdk-headless"),
            Self::Prometheus => (!is_on_path("prometheus") || !is_on_path("promtool"))
                .then_some("[needs-prometheus] there is no prometheus; install prometheus"),
            Self::Lsm => {
                (!has_bpf_lsm()).then_some("[needs-lsm] bpf is not in this kernel's list of security modules")
            }
        }
    }
}

/// Whether a program of this name can be started.
fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Whether the kernel calls LSM programs.
pub fn has_bpf_lsm() -> bool {
    let list = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    list.trim().split(',').any(|name| name == "bpf")
}

/// Asked as briefly as possible: a binary without its programs says so before it does anything.
fn without_programs() -> bool {
    let Refusal { stderr, .. } = refusal(&["watch", "--for", "1ms"]);
    stderr.contains("built without its kernel programs")
}

/// Whether the test `name` has to be skipped; if so, says why.
pub fn skip_unless(name: &str, needs: &[Need]) -> bool {
    let Some(reason) = needs.iter().find_map(|need| need.missing()) else {
        return false;
    };
    let _ = writeln!(io::stdout(), "SKIPPED {name}: {reason}");
    if let Some(log) = std::env::var_os("PROCWATCH_SKIP_LOG") {
        let mut log = OpenOptions::new().append(true).create(true).open(log).unwrap();
        writeln!(log, "{name}: {reason}").unwrap();
    }
    true
}
