//! Packages of the distribution: installed where that is allowed without asking, named where it is not.

use std::process::Command;

use anyhow::Result;

use crate::{caller, exec, toolchain};

/// How this process may change the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// It is root.
    Root,
    /// sudo lets it without a password.
    Sudo,
    /// Not without asking somebody.
    Nothing,
}

/// The package manager of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Apt {
    pub(crate) privilege: Privilege,
}

impl Apt {
    /// Looks at this machine; `None` when its packages do not come by apt.
    pub(crate) fn probe() -> Option<Self> {
        exec::succeeds(Command::new("apt-get").arg("--version")).then(|| {
            let privilege = if caller::is_root() {
                Privilege::Root
            } else if exec::succeeds(Command::new("sudo").args(["-n", "true"])) {
                Privilege::Sudo
            } else {
                Privilege::Nothing
            };
            Self { privilege }
        })
    }

    /// Whether [`Self::install`] can work.
    pub(crate) fn may_install(self) -> bool {
        self.privilege != Privilege::Nothing
    }

    /// Installs `packages` without any that they merely recommend.
    pub(crate) fn install(self, packages: &[&str]) -> Result<()> {
        exec::read(self.apt_get().args(["install", "--no-install-recommends"]).args(packages)).map(drop)
    }

    /// Fetches the lists of packages.
    pub(crate) fn update(self) -> Result<()> {
        exec::read(self.apt_get().arg("update")).map(drop)
    }

    /// `apt-get` that asks nothing and waits for another one to end.
    fn apt_get(self) -> Command {
        let words = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y"];
        let mut command = match self.privilege {
            Privilege::Root => Command::new(words[0]),
            Privilege::Sudo | Privilege::Nothing => {
                let mut sudo = Command::new("sudo");
                sudo.arg("-n").arg(words[0]);
                sudo
            }
        };
        command.args(&words[1..]).args(["-o", "DPkg::Lock::Timeout=300"]);
        command
    }

    /// What a person types to get `packages`.
    pub(crate) fn command_line(self, packages: &[&str]) -> String {
        let sudo = if self.privilege == Privilege::Root { "" } else { "sudo " };
        format!("{sudo}apt-get install --no-install-recommends {}", packages.join(" "))
    }
}

/// The version that apt would install of `package`, as far as compilers are told apart by it.
pub(crate) fn candidate(package: &str) -> Option<(u32, u32)> {
    parse_candidate(&exec::read(Command::new("apt-cache").args(["policy", package])).ok()?)
}

/// Reads the output of `apt-cache policy`.
fn parse_candidate(policy: &str) -> Option<(u32, u32)> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    toolchain::parse_release(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidate_is_read_from_policy() {
        let policy =
            "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  Version table:\n";
        assert_eq!(parse_candidate(policy), Some((1, 96)));
        assert_eq!(parse_candidate("x:\n  Installed: (none)\n  Candidate: (none)\n"), None);
        assert_eq!(parse_candidate(""), None);
    }

    #[test]
    fn command_line_has_sudo_only_where_it_is_needed() {
        let line = |privilege| Apt { privilege }.command_line(&["gcc", "python3"]);
        assert_eq!(line(Privilege::Root), "apt-get install --no-install-recommends gcc python3");
        assert_eq!(line(Privilege::Nothing), "sudo apt-get install --no-install-recommends gcc python3");
    }
}
