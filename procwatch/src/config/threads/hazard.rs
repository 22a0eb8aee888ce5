//! Whom a rule could hit that nothing may ever be done to.
//!
//! At run time each process is looked at again, so this is no wall. It tells of a rule that is drawn too wide before it
//! runs, by a few processes as they are on most machines.

use super::{
    super::{Match, Program},
    fit,
};
use crate::{
    cgroup::CgroupPath,
    orphans::protected::is_protected,
    text::{Comm, Text},
};

/// A process that is protected everywhere.
struct Sample {
    /// Its user; `None` for a process of whoever sits at the desk.
    uid: Option<u32>,
    comm: &'static str,
    exe: &'static str,
    argv: &'static str,
    cgroup: &'static str,
}

/// Lines of the table: user, name, program, command line, cgroup.
type Row = (Option<u32>, &'static str, &'static str, &'static str, &'static str);

const ROOT: Option<u32> = Some(0);
const SESSION: &str = "/user.slice/user-1000.slice/session-2.scope";
const MANAGER: &str = "/user.slice/user-1000.slice/user@1000.service/init.scope";
const SHELL: &str =
    "/user.slice/user-1000.slice/user@1000.service/session.slice/org.gnome.Shell@wayland.service";
const KWIN: &str = "/user.slice/user-1000.slice/user@1000.service/session.slice/plasma-kwin_wayland.service";

const SAMPLES: [Row; 14] = [
    (ROOT, "systemd", "/usr/lib/systemd/systemd", "/sbin/init", "/init.scope"),
    (ROOT, "systemd", "/lib/systemd/systemd", "/lib/systemd/systemd --system", "/init.scope"),
    (
        ROOT,
        "systemd-journal",
        "/usr/lib/systemd/systemd-journald",
        "/lib/systemd/systemd-journald",
        "/system.slice/systemd-journald.service",
    ),
    (
        ROOT,
        "systemd-logind",
        "/usr/lib/systemd/systemd-logind",
        "/lib/systemd/systemd-logind",
        "/system.slice/systemd-logind.service",
    ),
    (ROOT, "sshd", "/usr/sbin/sshd", "/usr/sbin/sshd -D", "/system.slice/ssh.service"),
    (ROOT, "sshd", "/usr/sbin/sshd", "sshd: [listener]", "/system.slice/sshd.service"),
    (
        None,
        "dbus-daemon",
        "/usr/bin/dbus-daemon",
        "/usr/bin/dbus-daemon --system",
        "/system.slice/dbus.service",
    ),
    (ROOT, "Xorg", "/usr/lib/xorg/Xorg", "/usr/lib/xorg/Xorg :0", "/system.slice/lightdm.service"),
    (None, "systemd", "/usr/lib/systemd/systemd", "/usr/lib/systemd/systemd --user", MANAGER),
    (None, "Xwayland", "/usr/bin/Xwayland", "/usr/bin/Xwayland :0", SESSION),
    (None, "gnome-shell", "/usr/bin/gnome-shell", "/usr/bin/gnome-shell", SHELL),
    (None, "kwin_wayland", "/usr/bin/kwin_wayland", "/usr/bin/kwin_wayland --drm", KWIN),
    (None, "sway", "/usr/bin/sway", "sway", SESSION),
    (None, "weston", "/usr/bin/weston", "weston", SESSION),
];

/// Whether an action is one that stops or ends a process, or takes threads from it.
pub(super) fn is_grave(action: &str) -> bool {
    matches!(action, "freeze" | "cap" | "stop-at" | "terminate" | "restart" | "kill")
}

/// A protected process that a rule with these match keys could hit, in words.
pub(super) fn victim(matches: &Match) -> Option<String> {
    let named = matches.comms.iter().find(|comm| is_protected(&Comm::of_name(comm.as_bytes())));
    if let Some(comm) = named {
        return Some(comm.to_string());
    }
    let of_desk = is_by_program(matches) || could_be_root(matches);
    SAMPLES
        .into_iter()
        .map(|(uid, comm, exe, argv, cgroup)| Sample { uid, comm, exe, argv, cgroup })
        .filter(|sample| sample.uid.is_some() || of_desk)
        .find(|sample| fit::fit(matches, &sample.program(matches)))
        .map(|sample| format!("{} ({})", sample.comm, sample.exe))
}

/// A rule that only says whose processes it means is not held against the desktop of that user: it would be no use.
const fn is_by_program(matches: &Match) -> bool {
    !matches.comms.is_empty() || !matches.exes.is_empty() || !matches.argvs.is_empty()
}

fn could_be_root(matches: &Match) -> bool {
    matches.uids.is_empty() || matches.uids.contains(&0)
}

impl Sample {
    /// As rules look at it. Whoever sits at the desk is one of the users that the rule names.
    fn program(&self, matches: &Match) -> Program {
        Program {
            uid: self.uid.unwrap_or_else(|| matches.uids.first().copied().unwrap_or(1000)),
            comm: Comm::of_name(self.comm.as_bytes()),
            exe: Some(Text::from(self.exe)),
            argv: Some(self.argv.split(' ').map(Text::from).collect()),
            cgroup: CgroupPath::parse(self.cgroup).ok(),
        }
    }
}
