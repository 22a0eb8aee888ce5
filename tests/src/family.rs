//! What happens while a filter is tried.

use std::process::Command;

use crate::{Sandbox, Started, compiled, start};

/// A family that forks, execs, makes threads and ends; a process of another uid; one in a cgroup; a move.
#[derive(Debug)]
pub struct Family {
    sandbox: Sandbox,
    chain: Started,
}

impl Family {
    /// The uid of the process of another user.
    pub const UID: &str = "64124";

    /// Born, and waiting.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Self {
        Self { sandbox: Sandbox::new(&["here", "there"]), chain: start(compiled("chain"), &[] as &[&str]) }
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.chain.pid()
    }

    /// The cgroup in which one of them runs.
    #[must_use]
    pub fn here(&self) -> String {
        self.sandbox.path("here")
    }

    /// Does all of it, to the end.
    pub fn live(&mut self) {
        self.chain.say("go");
        self.chain.hear_all();
        self.chain.end();
        let script = ["/bin/sh", "-c", "/bin/true; :"];
        let other =
            Command::new("setpriv").args(["--reuid", Self::UID, "--clear-groups"]).args(script).status();
        assert!(other.unwrap().success());
        let inside = self.sandbox.command("here", &script).status();
        assert!(inside.unwrap().success());
        let mut cat = Started::new(&mut Command::new("cat"));
        self.sandbox.admit("there", cat.pid());
        cat.end();
    }
}
