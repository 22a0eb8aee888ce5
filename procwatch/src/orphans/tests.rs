//! Facts as they were seen on Debian 12, and what has to be made of them.

use super::{Facts, Findings, Table, Users, classify::classify, facts::Origin};
use crate::samples::comm;

const DESK: u32 = 1000;
const AIMGR: u32 = 1003;
const OWN: u32 = 9999;
/// Where desk's session and all that it starts by su lives.
const SCOPE: &str = "/user.slice/user-1000.slice/session-1.scope";
const LEAF: &str = "/user.slice/user-1003.slice/procwatch.service/su-300-5";

/// A process of root in a session of its own, five seconds after boot.
fn process(pid: u32, ppid: u32, name: &str) -> Facts {
    Facts {
        pid,
        ppid,
        sid: pid,
        has_terminal: false,
        in_foreground: false,
        state: b'S',
        is_kernel_thread: false,
        cpu_ticks: 0,
        threads: 1,
        start_ticks: 5 * procfs::ticks_per_second() + u64::from(pid),
        comm: comm(name),
        uid: 0,
        euid: 0,
        is_contained: false,
        origin: None,
    }
}

/// One of aimgr's that was made by su in desk's session.
fn aimgrs(pid: u32, ppid: u32, name: &str) -> Facts {
    let origin = Origin { login_uid: Some(DESK), login_session: Some(1), cgroup: SCOPE.into() };
    Facts { uid: AIMGR, euid: AIMGR, origin: Some(origin), ..process(pid, ppid, name) }
}

fn in_cgroup(mut facts: Facts, cgroup: &str) -> Facts {
    if let Some(origin) = &mut facts.origin {
        origin.cgroup = cgroup.into();
    }
    facts
}

/// In the session of a terminal that `leader` leads.
fn at_terminal_of(leader: u32, facts: Facts) -> Facts {
    Facts { sid: leader, has_terminal: true, ..facts }
}

/// pid 1, procwatch, desk's shell 100 at a terminal, and these.
fn judge_for(users: &Users, processes: impl IntoIterator<Item = Facts>) -> Findings {
    let shell = Facts { uid: DESK, euid: DESK, ..at_terminal_of(100, process(100, 90, "bash")) };
    let always = [process(1, 0, "systemd"), process(90, 1, "login"), shell, process(OWN, 90, "procwatch")];
    let table: Table = always.into_iter().chain(processes).collect();
    classify(&table, users, OWN)
}

fn judge(processes: impl IntoIterator<Item = Facts>) -> Findings {
    judge_for(&Users::People(1000..=60_000), processes)
}

fn pids(found: &[super::Finding]) -> Vec<u32> {
    found.iter().map(|finding| finding.facts.pid).collect()
}

/// Whether it is listed as doubtful, for that reason.
fn assert_doubtful(findings: &Findings, pid: u32, reason: &str) {
    assert_eq!((pids(&findings.orphans), pids(&findings.doubtful)), (vec![], vec![pid]), "{findings:?}");
    assert!(findings.doubtful[0].why.contains(reason), "{}", findings.doubtful[0].why);
}

fn assert_not_listed(findings: &Findings) {
    assert_eq!((pids(&findings.orphans), pids(&findings.doubtful)), (vec![], vec![]), "{findings:?}");
}

/// A living `su` with its shell, in desk's session.
fn living_su(start_ticks: u64) -> [Facts; 2] {
    let su = Facts { uid: DESK, ..at_terminal_of(100, process(200, 100, "su")) };
    let shell = Facts { start_ticks, ..at_terminal_of(100, aimgrs(201, 200, "bash")) };
    [su, shell]
}

#[test]
fn what_su_leaves_behind_is_found_with_its_evidence() {
    let findings = judge([aimgrs(300, 1, "sleep")]);
    assert_eq!(pids(&findings.orphans), [300]);
    let why = &findings.orphans[0].why;
    assert_eq!(why, "uid 1000 logged in and became uid 1003; re-parented to pid 1; no terminal");
    assert!(findings.doubtful.is_empty() && findings.zombies.is_empty());
}

#[test]
fn while_a_session_of_that_login_lives_nothing_is_sure() {
    let orphan = aimgrs(300, 1, "sleep");
    let findings = judge(living_su(orphan.start_ticks - 1).into_iter().chain([orphan.clone()]));
    assert_doubtful(&findings, 300, "may be of the session of 201, which lives");
    let younger = judge(living_su(orphan.start_ticks + 1).into_iter().chain([orphan.clone()]));
    assert_eq!(pids(&younger.orphans), [300], "a session that began later did not make it");
    let [su, mut shell] = living_su(orphan.start_ticks - 1);
    shell.origin.as_mut().unwrap().login_session = Some(2);
    assert_eq!(pids(&judge([su, shell, orphan]).orphans), [300], "nor did one of another login");
}

#[test]
fn a_shell_that_lost_its_su_keeps_its_session_alive_while_somebody_types() {
    let shell = at_terminal_of(100, aimgrs(201, 1, "bash"));
    let shell = Facts { in_foreground: true, ..shell };
    let findings = judge([shell, aimgrs(300, 1, "sleep")]);
    assert_eq!(pids(&findings.orphans), [0; 0]);
    assert_eq!(pids(&findings.doubtful), [201, 300]);
    assert!(findings.doubtful[0].why.contains("the terminal of session 100 lives"), "{findings:?}");
}

#[test]
fn a_terminal_counts_while_its_sessions_leader_lives() {
    let sleep = at_terminal_of(100, aimgrs(300, 1, "sleep"));
    assert_doubtful(&judge([sleep.clone()]), 300, "the terminal of session 100 lives");
    let abandoned = Facts { sid: 77, ..sleep };
    assert_eq!(pids(&judge([abandoned]).orphans), [300]);
}

#[test]
fn descendants_of_the_same_user_are_orphans_too() {
    let findings = judge([
        aimgrs(300, 1, "sh"),
        aimgrs(301, 300, "python3"),
        aimgrs(302, 301, "python3"),
        Facts { uid: 0, euid: 0, ..aimgrs(303, 300, "sudo") },
        aimgrs(304, 303, "sleep"),
        aimgrs(305, 300, "dbus-daemon"),
    ]);
    assert_eq!(pids(&findings.orphans), [300, 301, 302]);
    assert_eq!(findings.orphans[2].why, "descends from orphan 300");
}

#[test]
fn a_terminal_multiplexer_is_no_orphan() {
    let findings = judge([
        aimgrs(300, 1, "tmux: server"),
        at_terminal_of(301, aimgrs(301, 300, "bash")),
        aimgrs(302, 300, "sleep"),
    ]);
    assert_doubtful(&findings, 300, "its descendant 301 has a live terminal");
}

#[test]
fn who_has_made_a_container_is_no_orphan_but_a_browser_is_one() {
    let child = Facts { is_contained: true, ..aimgrs(301, 300, "app") };
    let findings = judge([aimgrs(300, 1, "conmon"), in_cgroup(child.clone(), "/user.slice/libpod-1.scope")]);
    assert_doubtful(&findings, 300, "it has made container 301");
    let findings = judge([aimgrs(300, 1, "chrome"), child]);
    assert_eq!(pids(&findings.orphans), [300], "the sandboxed ones are not signalled");
}

#[test]
fn a_subreaper_is_known_by_a_session_whose_leader_is_gone() {
    let reaper = Facts { uid: DESK, euid: DESK, ..process(150, 100, "reaper") };
    let orphan = Facts { sid: 299, ..aimgrs(300, 150, "sleep") };
    let findings = judge([reaper.clone(), orphan]);
    assert_eq!(pids(&findings.orphans), [300]);
    assert!(findings.orphans[0].why.contains("re-parented to 150 (reaper)"), "{findings:?}");
    assert_not_listed(&judge([reaper, aimgrs(300, 150, "sleep")]));
}

#[test]
fn an_orphan_that_is_a_subreaper_itself_is_listed_once_with_its_own() {
    for (outer, inner) in [(300, 400), (400, 300)] {
        let findings = judge([
            aimgrs(outer, 1, "reaper"),
            Facts { sid: 299, ..aimgrs(inner, outer, "sleep") },
            aimgrs(500, inner, "sleep"),
        ]);
        let mut listed = pids(&findings.orphans);
        listed.sort_unstable();
        assert_eq!(listed, [300, 400, 500], "{findings:?}");
    }
}

#[test]
fn a_user_manager_adopts_as_pid_1_does() {
    let manager = Facts { uid: DESK, euid: DESK, ..process(150, 1, "systemd") };
    let cgroup = "/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope";
    let findings = judge([manager, in_cgroup(aimgrs(300, 150, "sleep"), cgroup)]);
    assert_eq!(pids(&findings.orphans), [300]);
    assert!(findings.orphans[0].why.contains("re-parented to user manager 150"), "{findings:?}");
}

#[test]
fn a_leaf_ends_with_its_first_process() {
    let leftover = in_cgroup(aimgrs(301, 1, "sleep"), LEAF);
    let findings = judge([leftover.clone()]);
    assert_eq!(pids(&findings.orphans), [301]);
    assert!(findings.orphans[0].why.starts_with("of su session 300, which is gone"), "{findings:?}");
    let first =
        Facts { start_ticks: 5 * procfs::ticks_per_second(), ..in_cgroup(aimgrs(300, 200, "bash"), LEAF) };
    let su = process(200, 100, "su");
    assert_doubtful(&judge([su.clone(), first.clone(), leftover.clone()]), 301, "su session 300 lives");
    let another = Facts { start_ticks: first.start_ticks * 9, ..first.clone() };
    assert_eq!(pids(&judge([su, another, leftover.clone()]).orphans), [301], "a pid that was used again");
    let findings = judge([Facts { ppid: 1, ..first }, leftover]);
    assert_eq!(pids(&findings.orphans), [300, 301], "the su was killed: {findings:?}");
}

#[test]
fn in_a_leaf_a_parent_of_another_user_is_a_subreaper() {
    let reaper = process(150, 100, "reaper");
    let findings = judge([reaper.clone(), in_cgroup(aimgrs(301, 150, "sleep"), LEAF)]);
    assert_eq!(pids(&findings.orphans), [301]);
    assert!(
        findings.orphans[0].why.contains("parent 150 (reaper) is no user of the session"),
        "{findings:?}"
    );
}

#[test]
fn another_users_slice_tells_of_an_su_where_there_is_no_audit() {
    let mut orphan = aimgrs(300, 1, "sleep");
    let origin = orphan.origin.as_mut().unwrap();
    (origin.login_uid, origin.login_session) = (None, None);
    let findings = judge([orphan.clone()]);
    assert_eq!(
        findings.orphans[0].why,
        "uid 1003 in a session of uid 1000; re-parented to pid 1; no terminal"
    );
    let findings = judge(living_su(orphan.start_ticks - 1).into_iter().chain([orphan.clone()]));
    assert_doubtful(&findings, 300, "may be of the session of 201");
    assert_doubtful(&judge([in_cgroup(orphan, "/")]), 300, "nothing tells of an su");
}

#[test]
fn who_is_never_looked_at() {
    let orphan = || aimgrs(300, 1, "sleep");
    for cgroup in [
        "/system.slice/aimgr.service",
        "/user.slice/user-1003.slice/user@1003.service/app.slice/x.service",
        "/init.scope",
        "/machine.slice/box.scope",
    ] {
        assert_not_listed(&judge([in_cgroup(orphan(), cgroup)]));
    }
    for name in ["sshd", "systemd", "(sd-pam)", "dbus-daemon", "Xorg", "gnome-shell", "procwatch"] {
        assert_not_listed(&judge([aimgrs(300, 1, name)]));
    }
    assert_not_listed(&judge([Facts { is_contained: true, ..orphan() }]));
    assert_not_listed(&judge([Facts { euid: 0, ..orphan() }]));
    assert_not_listed(&judge([Facts { is_kernel_thread: true, ..orphan() }]));
    assert_not_listed(&judge([Facts { uid: 999, euid: 999, ..orphan() }]));
    assert_not_listed(&judge([Facts { uid: 0, euid: 0, ..orphan() }]));
    assert_not_listed(&judge_for(&Users::One(DESK), [orphan()]));
    let own = Facts { uid: AIMGR, euid: AIMGR, ..process(OWN, 300, "procwatch") };
    assert_not_listed(&judge([orphan(), own]));
}

#[test]
fn a_process_of_ones_own_login_is_only_doubtful() {
    let mut own = aimgrs(300, 1, "sleep");
    let origin = own.origin.as_mut().unwrap();
    origin.login_uid = Some(AIMGR);
    origin.cgroup = "/user.slice/user-1003.slice/session-4.scope".into();
    assert_doubtful(&judge([own]), 300, "nothing tells of an su");
}

#[test]
fn zombies_are_told_of_with_their_parents() {
    let zombie = Facts { state: b'Z', ..aimgrs(300, 100, "worker") };
    let headless = Facts { state: b'Z', threads: 4, ..aimgrs(301, 100, "worker") };
    let roots = Facts { state: b'Z', ..process(302, 90, "cron") };
    let all = judge([zombie.clone(), headless.clone(), roots.clone()]);
    assert_eq!(pids(&all.zombies), [300, 302]);
    assert_eq!(all.zombies[0].why, "dead; its parent 100 (bash, uid 1000) does not reap it");
    let one = judge_for(&Users::One(AIMGR), [zombie, headless, roots]);
    assert_eq!(pids(&one.zombies), [300]);
    assert_not_listed(&one);
}

#[test]
fn a_ring_of_parents_ends() {
    let findings = judge([aimgrs(300, 301, "a"), aimgrs(301, 300, "b"), aimgrs(302, 302, "c")]);
    assert_not_listed(&findings);
}
