//! The machine's own programs that take note of what was installed.

use std::{
    fmt,
    path::Path,
    process::{Command, Stdio},
};

use nix::unistd::Group;

use super::{InstallError, files::Home};
use crate::{cgroup::resolve::systemd_runs, files::GROUP, text::escape};

/// The service.
pub const UNIT: &str = "procwatch.service";

/// What starts it, and starts one anew that runs already.
const RESTART: [&str; 3] = ["systemctl", "restart", UNIT];

/// A program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    words: Vec<String>,
    /// Whether it may fail.
    optional: bool,
}

impl Call {
    fn new(words: &[&str]) -> Self {
        Self { words: words.iter().map(|word| (*word).to_owned()).collect(), optional: false }
    }

    fn optional(words: &[&str]) -> Self {
        Self { optional: true, ..Self::new(words) }
    }

    /// Whether the agent runs after it.
    pub fn starts_service(&self) -> bool {
        self.words.iter().map(String::as_str).eq(RESTART)
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// [`InstallError::Command`] with its last words, unless it may fail.
    pub fn run(&self) -> Result<(), InstallError> {
        let Some((program, args)) = self.words.split_first() else {
            return Ok(());
        };
        let what = match Command::new(program).args(args).stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => {
                let said = escape(output.stderr.trim_ascii_end()).replace("\\n", "; ");
                if said.is_empty() { output.status.to_string() } else { said }
            }
            Err(error) => error.to_string(),
        };
        if self.optional { Ok(()) } else { Err(InstallError::Command { command: self.to_string(), what }) }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

/// What is to be called after the files of this home are there. Where systemd is not the first process, nothing of it is.
pub fn after_install(home: Home, enable: bool) -> Vec<Call> {
    let group_is_there = Group::from_name(GROUP).is_ok_and(|group| group.is_some());
    calls_after_install(home, enable, group_is_there, systemd_runs())
}

fn calls_after_install(home: Home, enable: bool, group_is_there: bool, systemd: bool) -> Vec<Call> {
    let mut calls = Vec::new();
    if !group_is_there {
        calls.push(if systemd {
            Call::new(&["systemd-sysusers", home.sysusers()])
        } else {
            Call::new(&["groupadd", "--system", GROUP])
        });
    }
    if systemd {
        calls.push(Call::new(&["systemctl", "daemon-reload"]));
        if enable {
            calls.push(Call::new(&["systemctl", "enable", UNIT]));
            calls.push(Call::new(&RESTART));
        }
    }
    calls
}

/// What is to be called before the files are removed: nothing is left behind that only they could take back.
pub fn before_removal(home: Home) -> Vec<Call> {
    let program = home.program();
    let mut calls = Vec::new();
    if systemd_runs() {
        calls.push(Call::optional(&["systemctl", "disable", "--now", UNIT]));
    }
    calls.push(Call::optional(&[program, "stop", "--detach"]));
    calls.push(Call::optional(&[program, "undo", "--all"]));
    calls
}

/// What is to be called after the files were removed; with the group, when all is to go.
pub fn after_removal(purge: bool) -> Vec<Call> {
    let mut calls = Vec::new();
    if systemd_runs() {
        calls.push(Call::new(&["systemctl", "daemon-reload"]));
        // A failure that is not forgotten keeps the unit's name alive.
        calls.push(Call::optional(&["systemctl", "reset-failed", UNIT]));
    }
    if purge && Group::from_name(GROUP).is_ok_and(|group| group.is_some()) {
        calls.push(Call::optional(&["groupdel", GROUP]));
    }
    calls
}

/// Whether Debian's package manager has installed procwatch.
pub fn is_packaged() -> bool {
    let asked = Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", "procwatch"]).output();
    asked.is_ok_and(|output| output.stdout == b"installed")
        && Path::new(Home::Distribution.program()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(calls: &[Call]) -> Vec<String> {
        calls.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_called_depends_on_what_is_there() {
        let all = calls_after_install(Home::Local, true, false, true);
        assert_eq!(
            shown(&all),
            [
                "systemd-sysusers /etc/sysusers.d/procwatch.conf",
                "systemctl daemon-reload",
                "systemctl enable procwatch.service",
                "systemctl restart procwatch.service"
            ]
        );
        assert_eq!(shown(&calls_after_install(Home::Local, false, true, true)), ["systemctl daemon-reload"]);
        assert_eq!(
            shown(&calls_after_install(Home::Local, true, false, false)),
            ["groupadd --system procwatch"]
        );
    }

    #[test]
    fn a_failure_is_told_in_the_programs_own_words() {
        let error = Call::new(&["cat", "/no/such"]).run().unwrap_err().to_string();
        assert!(error.starts_with("`cat /no/such` failed: ") && error.contains("No such file"), "{error}");
        let error = Call::new(&["no-such-program"]).run().unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
        Call::optional(&["no-such-program"]).run().unwrap();
        Call::new(&["true"]).run().unwrap();
    }
}
