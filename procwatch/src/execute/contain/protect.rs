//! Who is never contained, whatever a rule says. A pure table.

use crate::{
    config::{Containment, Match, Protect, ThreadRule},
    record::RefusedFor,
    text::{Comm, Text},
};

/// Names of what people and machines cannot do without. The kernel keeps 15 bytes of a name, and so does this.
const NAMES: [(RefusedFor, &[&[u8]]); 4] = [
    (RefusedFor::Procwatch, &[b"procwatch"]),
    (RefusedFor::Dbus, &[b"dbus-daemon", b"dbus-launch", b"at-spi-bus-laun"]),
    (RefusedFor::Login, &[b"(sd-pam)", b"agetty", b"getty", b"login", b"greetd", b"ssh-agent", b"gpg-agent"]),
    (
        RefusedFor::Display,
        &[
            b"Hyprland",
            b"X",
            b"Xephyr",
            b"Xorg",
            b"Xvnc",
            b"Xwayland",
            b"cinnamon",
            b"cosmic-comp",
            b"gnome-shell",
            b"i3",
            b"labwc",
            b"lxqt-session",
            b"muffin",
            b"mutter",
            b"niri",
            b"openbox",
            b"plasmashell",
            b"sway",
            b"wayfire",
            b"weston",
            b"xfwm4",
        ],
    ),
];

/// The same by how a name begins.
const PREFIXES: [(RefusedFor, &[&[u8]]); 5] = [
    (RefusedFor::Sshd, &[b"sshd"]),
    (RefusedFor::Systemd, &[b"systemd"]),
    (RefusedFor::Dbus, &[b"dbus-broker"]),
    (RefusedFor::Login, &[b"gnome-keyring"]),
    (
        RefusedFor::Display,
        &[
            b"gdm",
            b"gnome-session",
            b"kwin_",
            b"lightdm",
            b"mutter-",
            b"sddm",
            b"startplasma",
            b"xfce4-session",
            b"Xorg.",
        ],
    ),
];

/// What the kernel appends to the path of a program that was replaced.
const DELETED: &[u8] = b" (deleted)";

/// A process as the table looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Nature<'a> {
    /// Process id.
    pub pid: u32,
    /// Name.
    pub comm: Comm,
    /// Its program; `None` when that is not known.
    pub exe: Option<&'a Text>,
    /// Whether it is a thread of the kernel.
    pub is_kernel_thread: bool,
    /// Whether it runs this very program.
    pub is_procwatch: bool,
    /// Whether it leads a kernel session that has a terminal.
    pub leads_terminal: bool,
}

/// Why a process is never contained; `None` when it may be.
///
/// Names count by the program's file and by what the process calls itself: who takes such a name saves only itself.
pub fn protection(process: &Nature<'_>, protect: &Protect) -> Option<RefusedFor> {
    if process.pid == 1 {
        return Some(RefusedFor::FirstProcess);
    }
    if process.is_kernel_thread {
        return Some(RefusedFor::KernelThread);
    }
    if process.is_procwatch {
        return Some(RefusedFor::Procwatch);
    }
    of_name(&process.comm)
        .or_else(|| of_name(&Comm::of_file(file_of(process.exe?))))
        .or_else(|| process.leads_terminal.then_some(RefusedFor::SessionLeader))
        .or_else(|| is_listed(process, protect).then_some(RefusedFor::Listed))
}

/// Why a process of that name is never contained; `None` when the name says nothing.
pub fn of_name(name: &Comm) -> Option<RefusedFor> {
    let name = name.as_bytes();
    let whole = NAMES.iter().find(|(_, names)| names.contains(&name));
    let begun = || PREFIXES.iter().find(|(_, begins)| begins.iter().any(|begin| name.starts_with(begin)));
    whole.map(|(why, _)| *why).or_else(|| begun().map(|(why, _)| *why))
}

/// Why a rule does not allow an action that an alert asks for; `None` when it does. `steps` are the rule's for that alert.
///
/// What may end a process needs a rule that was written for it: not the built-in one, and not one that fits everybody.
pub fn forbidden(rule: &ThreadRule, steps: &[Containment], action: Containment) -> Option<RefusedFor> {
    if rule.protect || rule.ignore {
        return Some(RefusedFor::RuleProtects);
    }
    let fits_everybody = rule.location.is_none() || rule.matches == Match::default();
    if action.is_destructive() && fits_everybody {
        return Some(RefusedFor::CatchAll);
    }
    (!steps.contains(&action)).then_some(RefusedFor::NotNamed)
}

/// Whether the configuration adds it to the table.
fn is_listed(process: &Nature<'_>, protect: &Protect) -> bool {
    let path = process.exe.map(|exe| String::from_utf8_lossy(file_of(exe)));
    protect.has_comm(process.comm.as_bytes())
        || path.is_some_and(|path| protect.exes.iter().any(|exe| exe.matches(&path)))
}

fn file_of(exe: &Text) -> &[u8] {
    let path = exe.as_bytes();
    path.strip_suffix(DELETED).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::{Actions, Location, OnMissing, Step},
        samples::comm,
    };

    fn nature(name: &str) -> Nature<'static> {
        Nature {
            pid: 4242,
            comm: comm(name),
            exe: None,
            is_kernel_thread: false,
            is_procwatch: false,
            leads_terminal: false,
        }
    }

    fn why(process: &Nature<'_>) -> Option<RefusedFor> {
        protection(process, &Protect::default())
    }

    #[test]
    fn each_kind_has_its_reason() {
        for (name, reason) in [
            ("procwatch", RefusedFor::Procwatch),
            ("sshd", RefusedFor::Sshd),
            ("sshd-session", RefusedFor::Sshd),
            ("systemd", RefusedFor::Systemd),
            ("systemd-logind", RefusedFor::Systemd),
            ("dbus-daemon", RefusedFor::Dbus),
            ("dbus-broker-lau", RefusedFor::Dbus),
            ("Xorg", RefusedFor::Display),
            ("Xwayland", RefusedFor::Display),
            ("gnome-shell", RefusedFor::Display),
            ("kwin_wayland", RefusedFor::Display),
            ("sway", RefusedFor::Display),
            ("weston", RefusedFor::Display),
            ("mutter", RefusedFor::Display),
            ("Hyprland", RefusedFor::Display),
            ("labwc", RefusedFor::Display),
            ("gdm-x-session", RefusedFor::Display),
            ("sddm-helper", RefusedFor::Display),
            ("lightdm", RefusedFor::Display),
            ("login", RefusedFor::Login),
        ] {
            assert_eq!(why(&nature(name)), Some(reason), "{name}");
        }
        for name in ["python3", "bash", "su", "X11", "swayidle-x", "kworker", ""] {
            assert_eq!(why(&nature(name)), None, "{name}");
        }
    }

    #[test]
    fn what_is_not_a_name_counts_as_well() {
        assert_eq!(why(&Nature { pid: 1, ..nature("sh") }), Some(RefusedFor::FirstProcess));
        assert_eq!(why(&Nature { is_kernel_thread: true, ..nature("sh") }), Some(RefusedFor::KernelThread));
        assert_eq!(why(&Nature { is_procwatch: true, ..nature("pw") }), Some(RefusedFor::Procwatch));
        assert_eq!(why(&Nature { leads_terminal: true, ..nature("bash") }), Some(RefusedFor::SessionLeader));
    }

    #[test]
    fn the_program_counts_whatever_the_process_calls_itself() {
        for (exe, reason) in [
            ("/usr/sbin/sshd", Some(RefusedFor::Sshd)),
            ("/usr/sbin/sshd (deleted)", Some(RefusedFor::Sshd)),
            ("/usr/bin/sway (deleted)", Some(RefusedFor::Display)),
            ("/usr/bin/dbus-broker-launch", Some(RefusedFor::Dbus)),
            ("/usr/libexec/at-spi-bus-launcher", Some(RefusedFor::Dbus)),
            ("/usr/bin/python3.11", None),
            ("/opt/sway/bin/x", None),
        ] {
            let exe = Text::from(exe);
            assert_eq!(why(&Nature { exe: Some(&exe), ..nature("python3") }), reason, "{exe}");
        }
    }

    #[test]
    fn the_configured_list_adds_to_the_table() {
        let list =
            Protect { comms: vec!["postgres".into()], exes: vec![glob::Pattern::new("/opt/db/*").unwrap()] };
        let exe = Text::from("/opt/db/server (deleted)");
        for process in [nature("postgres"), Nature { exe: Some(&exe), ..nature("x") }] {
            assert_eq!(protection(&process, &list), Some(RefusedFor::Listed));
        }
        assert_eq!(protection(&nature("postgre"), &list), None);
    }

    #[test]
    fn no_name_is_longer_than_the_kernel_keeps() {
        assert!(NAMES.iter().chain(&PREFIXES).flat_map(|(_, names)| *names).all(|name| name.len() <= 15));
    }

    fn rule(comm: Option<&str>, actions: &[Containment]) -> ThreadRule {
        let steps = actions.iter().map(|action| Step { action: *action, after: Duration::ZERO }).collect();
        ThreadRule {
            matches: Match { comms: comm.into_iter().map(Text::from).collect(), ..Match::default() },
            ignore: false,
            normal: None,
            levels: vec![80],
            burst: None,
            leak: None,
            cap: None,
            stop_at: None,
            on_missing: OnMissing::default(),
            protect: false,
            actions: Actions { notice: steps, ..Actions::default() },
            described: "threads[1]".to_owned(),
            location: Some(Location::of_file("t.toml".as_ref())),
        }
    }

    #[test]
    fn what_may_end_a_process_needs_a_rule_of_its_own() {
        let all = [Containment::Freeze, Containment::Kill];
        let own = rule(Some("python3"), &all);
        assert_eq!(forbidden(&own, &all, Containment::Kill), None);
        assert_eq!(forbidden(&own, &all, Containment::Terminate), Some(RefusedFor::NotNamed));
        let everybody = rule(None, &all);
        assert_eq!(forbidden(&everybody, &all, Containment::Kill), Some(RefusedFor::CatchAll));
        assert_eq!(forbidden(&everybody, &all, Containment::Freeze), None);
        let built_in = ThreadRule { location: None, ..own.clone() };
        assert_eq!(forbidden(&built_in, &all, Containment::Kill), Some(RefusedFor::CatchAll));
        let protects = ThreadRule { protect: true, ..own };
        assert_eq!(forbidden(&protects, &all, Containment::Freeze), Some(RefusedFor::RuleProtects));
    }
}
