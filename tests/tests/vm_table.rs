//! Who is moved and who is left alone, on a stock machine with the configuration that is shipped: one row for each way
//! in which a process comes to belong to aimgr. The rows are written to stdout as they are in the documentation.

use std::{
    fs,
    io::{self, Write as _},
    process::{Command, Stdio},
};

use procwatch_tests::{
    Agent, Ended, Started,
    guest::{
        AIMGR, SHELL, SHIPPED, SLICE, Unit, cgroup_of, done, enforcing, folder, is_inside, pid_of,
        program_for_all, session,
    },
    has_bpf_lsm, needs, number, of_kind, text, until,
};
use serde_json::Value;

/// Writes a row of the table.
fn row(case: &str, place: &str, reason: &str) {
    // Not by `println`, which the harness keeps to itself while the test passes.
    let _ = writeln!(io::stdout(), "row: | {case} | {place} | {reason} |");
}

/// Waits until this process was moved; returns the leaf.
fn moved(agent: &Agent, pid: u32) -> String {
    let outcome =
        agent.wait_for("the process is moved", |record| record["kind"] == "outcome" && record["pid"] == pid);
    assert_eq!(text(&outcome["result"]), "verified", "{outcome}");
    let leaf = text(&outcome["to"]).to_owned();
    assert_eq!(cgroup_of(pid).as_ref(), Some(&leaf), "{outcome}");
    assert!(is_inside(&leaf), "{outcome}");
    leaf
}

/// What was decided about a process.
fn decisions(ended: &Ended, pid: u32) -> Vec<&Value> {
    of_kind(&ended.records, "decision").into_iter().filter(|it| it["pid"] == pid).collect()
}

/// Ways of becoming aimgr in a login session of another user: what they are called, whose session, the command, and
/// what its shell is told, where it does not know already.
const WAYS: [(&str, &str, &[&str], &str); 8] = [
    ("`su aimgr`", "desk", &["su", "aimgr"], SHELL),
    ("`su - aimgr`", "desk", &["su", "-", "aimgr"], SHELL),
    ("`su aimgr -c …`", "desk", &["su", "aimgr", "-c", SHELL], ""),
    ("`sudo -u aimgr …`", "desk", &["sudo", "-u", "aimgr", "sh", "-c", SHELL], ""),
    ("`sudo -i -u aimgr`", "desk", &["sudo", "-i", "-u", "aimgr"], SHELL),
    (
        "`runuser -u aimgr …` in a session of root",
        "root",
        &["runuser", "-u", "aimgr", "--", "sh", "-c", SHELL],
        "",
    ),
    (
        "`setpriv --reuid=aimgr …` in a session of root",
        "root",
        &["setpriv", "--reuid=aimgr", "--regid=aimgr", "--clear-groups", "sh", "-c", SHELL],
        "",
    ),
    (
        "`su aimgr -c …` in a terminal of desk's user manager",
        "desk",
        &["systemd-run", "--user", "--scope", "--quiet", "su", "aimgr", "-c", SHELL],
        "",
    ),
];

#[test]
fn whoever_becomes_aimgr_in_a_session_is_moved() {
    needs!(Vm);
    let (_surroundings, agent) = enforcing(SHIPPED);
    let mut pids = Vec::new();
    for (case, user, argv, script) in WAYS {
        let mut shell = session(user, argv);
        if !script.is_empty() {
            shell.say(script);
        }
        let pid = pid_of(&mut shell);
        moved(&agent, pid);
        shell.say("end");
        shell.end();
        pids.push((case, pid));
    }
    let ended = agent.finish();
    for (case, pid) in pids {
        let reasons: Vec<&str> = decisions(&ended, pid).iter().map(|it| text(&it["reason"])).collect();
        assert!(
            !reasons.is_empty() && reasons.iter().all(|it| *it == "outside-slice"),
            "{case}: {reasons:?}"
        );
        row(case, "moved into a leaf of user-1003.slice", reasons[0]);
        told_where_it_comes_from(case, decisions(&ended, pid)[0]);
    }
}

/// The lineage goes up to the process of another user, and who logged in is known.
fn told_where_it_comes_from(case: &str, decision: &Value) {
    let lineage = decision["lineage"].as_array().unwrap();
    let last = lineage.last().unwrap();
    assert_ne!(number(&last["uid"]), u64::from(AIMGR), "{case}: {decision}");
    if case.starts_with("`su") && !case.contains("sudo") {
        assert_eq!(text(&last["comm"]), "su", "{case}: {decision}");
        assert_eq!(number(&decision["loginuid"]), 1000, "{case}: {decision}");
    }
}

#[test]
fn fifty_children_of_the_first_millisecond_are_inside() {
    needs!(Vm);
    // An emulated machine takes its time.
    let (_surroundings, agent) = enforcing(&SHIPPED.replace("# hold = \"250ms\"", "hold = \"2s\""));
    let mut shell = session("desk", &["su", "aimgr", "-c", &format!("{} 50 1000", program_for_all("burst"))]);
    let lines = shell.hear_all();
    shell.end();
    let ended = agent.finish();
    let children: Vec<Vec<&str>> = lines
        .iter()
        .map(|line| line.split(' ').collect())
        .filter(|it: &Vec<&str>| it[0] == "child")
        .collect();
    assert_eq!(children.len(), 50, "{lines:?}");
    let inside = |place: usize| children.iter().filter(|it| is_inside(it[place])).count();
    assert_eq!(inside(2), 50, "all of them end inside: {lines:?}");
    if has_bpf_lsm() {
        assert_eq!(inside(1), 50, "all of them begin inside: {lines:?}");
        let account = of_kind(&ended.records, "placement")[0];
        assert_eq!(number(&account["born_outside"]), 0, "{account}");
    }
    let began = format!("moved; {} of 50 children began inside, all ended there", inside(1));
    row("`su aimgr -c` a script that makes 50 children at once", &began, "outside-slice");
}

#[test]
fn aimgr_in_desk_in_aimgr_is_moved_once() {
    needs!(Vm);
    let (_surroundings, agent) = enforcing(SHIPPED);
    let inner =
        format!("su desk -c \"{}\"", "sh -c 'read pid rest </proc/self/stat; echo in $pid; su aimgr'");
    let mut shell = session("desk", &["su", "aimgr", "-c", &inner.replace('$', "\\$")]);
    let desk = pid_of(&mut shell);
    shell.say(SHELL);
    let aimgr = pid_of(&mut shell);
    let outer = agent.wait_for("the outer shell is moved", |record| record["kind"] == "outcome");
    assert_eq!(text(&outer["result"]), "verified", "{outer}");
    let leaf = text(&outer["to"]).to_owned();
    for pid in [desk, aimgr] {
        assert_eq!(cgroup_of(pid).as_ref(), Some(&leaf), "it stays in the session of the outer shell");
    }
    shell.say("end");
    shell.end();
    let ended = agent.finish();
    assert_eq!(of_kind(&ended.records, "outcome").len(), 1, "{:?}", ended.records);
    assert!(decisions(&ended, desk).is_empty() && decisions(&ended, aimgr).is_empty());
    row("desk in that (`su aimgr`, then `su desk`)", "stays in aimgr's leaf", "other-user");
    row("aimgr in desk in aimgr (three times `su`)", "stays in the leaf of the first", "already-inside");
}

/// One that is to be left alone: what it is, its process, where it is, and the reason.
struct Bystander {
    case: &'static str,
    pid: u32,
    cgroup: String,
    reason: &'static str,
}

impl Bystander {
    fn new(case: &'static str, pid: u32, reason: &'static str) -> Self {
        let cgroup = cgroup_of(pid).unwrap_or_else(|| panic!("{case}: it has ended"));
        Self { case, pid, cgroup, reason }
    }
}

/// Reasons that the kernel programs find and count: such a process wakes nobody.
const COUNTED: [&str; 4] = ["already-inside", "not-in-from", "system-service", "other-namespace"];

/// Reasons for which the kernel programs do not even look at a process.
const UNSEEN: [&str; 3] = ["other-user", "root-parent", "for-a-moment"];

/// What a job says of itself in a file.
fn job_pid(file: &str) -> u32 {
    until("the job runs", || fs::read_to_string(file).ok()?.trim().parse().ok())
}

/// What cron and at run: a process that says its pid in a file.
fn job(file: &str) -> String {
    format!("read pid rest </proc/self/stat; echo $pid >{file}; exec sleep 600\n")
}

fn cron_job() -> u32 {
    let file = "/tmp/cron.pid";
    fs::write("/etc/cron.d/procwatch-test", format!("@reboot aimgr {}", job(file))).unwrap();
    // Such a job is run when cron starts for the first time after boot, which is when this is not there.
    fs::remove_file("/run/crond.reboot").unwrap();
    done("systemctl", &["restart", "cron.service"]);
    job_pid(file)
}

fn at_job() -> u32 {
    let file = "/tmp/at.pid";
    let mut at = Command::new("runuser");
    at.args(["-u", "aimgr", "--", "at", "now"]).current_dir("/").stdin(Stdio::piped());
    let mut at = at.spawn().unwrap();
    at.stdin.take().unwrap().write_all(job(file).as_bytes()).unwrap();
    assert!(at.wait().unwrap().success());
    job_pid(file)
}

/// A service in desk's own user manager.
fn desks_service() -> u32 {
    let words = |more: &[&'static str]| {
        let by_desk = ["-u", "desk", "--", "env", "XDG_RUNTIME_DIR=/run/user/1000"];
        [&by_desk[..], more].concat()
    };
    done("runuser", &words(&["systemd-run", "--user", "--quiet", "--unit=app", "sleep", "600"]));
    let show = words(&["systemctl", "--user", "show", "--property=MainPID", "--value", "app"]);
    until("desk's service runs", || done("runuser", &show).trim().parse().ok().filter(|pid| *pid != 0))
}

/// A system service with `User=aimgr`, as a unit file makes one.
fn service_of_file() -> Unit {
    let unit = "[Service]\nUser=aimgr\nExecStart=sh -c 'sleep 600 & exec sleep 600'\n";
    fs::write("/run/systemd/system/written.service", unit).unwrap();
    done("systemctl", &["daemon-reload"]);
    done("systemctl", &["start", "written.service"]);
    Unit::known("written.service")
}

/// A shell that tells its pid, in a session.
fn shell(user: &str, argv: &[&str]) -> (Started, u32) {
    let mut shell = session(user, argv);
    let pid = pid_of(&mut shell);
    (shell, pid)
}

/// Processes that are to be left alone, and what keeps them running.
struct Scene {
    bystanders: Vec<Bystander>,
    _units: [Unit; 4],
    _shells: [Started; 4],
}

impl Scene {
    fn set() -> Self {
        let here = |case, pid, reason| Bystander::new(case, pid, reason);
        let keep = ["sh", "-c", "sleep 600 & exec sleep 600"];
        let units = [
            Unit::start(&["--uid=aimgr"], &keep),
            service_of_file(),
            Unit::start(&["--uid=aimgr", "--slice=user-1000.slice"], &keep),
            Unit::start(&["--uid=aimgr", "--slice=user-1000.slice", "--property=Delegate=yes"], &keep),
        ];
        let (desks, desk) = shell("desk", &["sh", "-c", SHELL]);
        let (aimgrs, login) = shell("aimgr", &["sh", "-c", SHELL]);
        let program = program_for_all("flipflop");
        let flipflop = format!("read pid rest </proc/self/stat; echo in $pid; exec {program} 1003 20");
        let (mut flipflop, flips) = shell("root", &["sh", "-c", &flipflop]);
        assert_eq!(flipflop.hear(), "on");
        let apart = ["unshare", "--pid", "--fork", "--cgroup", "setpriv", "--reuid=aimgr", "--clear-groups"];
        let (apart, container) = shell("root", &[&apart[..], &["sh", "-c", SHELL]].concat());
        let bystanders = vec![
            here("cron job of aimgr", cron_job(), "system-service"),
            here("`at` job of aimgr", at_job(), "system-service"),
            here("`systemd-run --uid=aimgr`", units[0].pid(), "system-service"),
            here("system service with User=aimgr", units[1].pid(), "system-service"),
            here("service of aimgr in desk's slice", units[2].pid(), "main-pid"),
            here("the same with Delegate=yes", units[3].pid(), "delegated-subtree"),
            here("`systemd-run --user` of desk", desks_service(), "other-user"),
            here("desk's own shell", desk, "other-user"),
            here("login of aimgr", login, "already-inside"),
            here("root process that borrows aimgr's uid (`seteuid`)", flips, "for-a-moment"),
            here("aimgr in a pid and cgroup namespace of its own", container, "other-namespace"),
        ];
        Self { bystanders, _units: units, _shells: [desks, aimgrs, flipflop, apart] }
    }
}

#[test]
fn whoever_is_no_su_is_left_alone() {
    needs!(Vm);
    let (surroundings, agent) = enforcing(SHIPPED);
    let mut scene = Scene::set();
    // One that is moved: when its outcome is there, all that came before was decided.
    let (mut su, moved_pid) = shell("desk", &["su", "aimgr", "-c", SHELL]);
    moved(&agent, moved_pid);
    let waiting = parent_of(moved_pid);
    scene.bystanders.push(Bystander::new("the `su` that waits for its shell", waiting, "root-parent"));
    assert!(scene.bystanders.last().unwrap().cgroup.starts_with("/user.slice/user-1000.slice/"));
    let mut wrong = Vec::new();
    for it in &scene.bystanders {
        // One that borrows a uid gives it back, too, and borrows it again.
        until(it.case, || (surroundings.explain(it.pid) == it.reason).then_some(()));
        let now = cgroup_of(it.pid);
        if now.as_ref() != Some(&it.cgroup) {
            wrong.push(format!("{} was in {} and is in {now:?}", it.case, it.cgroup));
        }
    }
    su.say("end");
    su.end();

    let ended = agent.finish();
    let account = of_kind(&ended.records, "placement")[0];
    for it in &scene.bystanders {
        wrong.extend(complaint(it, &ended, account));
        row(it.case, &format!("stays in {}", place_name(&it.cgroup)), it.reason);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The part of a cgroup's path that says most to people.
fn place_name(cgroup: &str) -> &str {
    cgroup.trim_start_matches("/user.slice").trim_start_matches('/')
}

fn parent_of(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.unwrap().trim().parse().unwrap()
}

/// What is wrong with what was told about one that is to be left alone.
fn complaint(it: &Bystander, ended: &Ended, account: &Value) -> Option<String> {
    let told = decisions(ended, it.pid);
    let outcomes = of_kind(&ended.records, "outcome");
    if outcomes.iter().any(|outcome| outcome["pid"] == it.pid) {
        return Some(format!("{}: it was moved", it.case));
    }
    if let Some(decision) = told.iter().find(|it_is| text(&it_is["reason"]) != it.reason) {
        return Some(format!("{}: {decision}", it.case));
    }
    let counted = COUNTED.contains(&it.reason) && number_or_zero(&account["left_alone"][it.reason]) > 0;
    let silent = told.is_empty() && !counted && !UNSEEN.contains(&it.reason);
    silent.then(|| format!("{}: nothing tells that it was left alone: {account}", it.case))
}

fn number_or_zero(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

#[test]
fn a_login_of_aimgr_and_an_su_do_not_disturb_each_other() {
    needs!(Vm);
    let (_surroundings, agent) = enforcing(SHIPPED);
    let (mut su, pid) = shell("desk", &["su", "aimgr", "-c", SHELL]);
    let leaf = moved(&agent, pid);
    // After the leaf was made: a slice that was spoilt by a move lets nobody in any more.
    let (mut login, login_pid) = shell("aimgr", &["sh", "-c", SHELL]);
    let at_home = cgroup_of(login_pid).unwrap();
    assert!(at_home.starts_with("/user.slice/user-1003.slice/session-"), "{at_home}");
    let manager = || done("systemctl", &["is-active", &format!("user@{AIMGR}.service")]);
    assert_eq!(manager().trim(), "active");
    let (mut second, second_pid) = shell("desk", &["su", "aimgr", "-c", SHELL]);
    moved(&agent, second_pid);
    login.say("end");
    assert!(login.end().success());
    until("the login is over", || cgroup_of(login_pid).is_none().then_some(()));
    assert_eq!(cgroup_of(pid), Some(leaf), "the end of the login takes nobody along");
    for shell in [&mut su, &mut second] {
        shell.say("end");
        assert!(shell.end().success());
    }
    agent.finish();
    row(
        "`su aimgr` while aimgr is logged in, and not",
        "moved; the login and its end change nothing",
        "outside-slice",
    );
}

#[test]
fn observing_needs_no_slice_and_makes_none() {
    needs!(Vm);
    done("systemctl", &["stop", "user-1003.slice"]);
    until("aimgr's slice is gone", || (!folder(SLICE).exists()).then_some(()));
    let config = tempfile::tempdir().unwrap();
    let file = config.path().join("procwatch.toml");
    fs::write(&file, SHIPPED).unwrap();
    let agent = Agent::run(&["--config", file.to_str().unwrap()]);
    agent.wait_for("the slice is watched for", |record| {
        record["topic"] == "unavailable"
            && text(&record["message"]).contains("slice user-1003.slice is not there")
    });
    let mut shell = session("desk", &["su", "aimgr", "-c", SHELL]);
    let pid = pid_of(&mut shell);
    let decision =
        agent.wait_for("what would be done", |record| record["kind"] == "decision" && record["pid"] == pid);
    assert_eq!((text(&decision["verdict"]), text(&decision["mode"])), ("move", "observe"), "{decision}");
    shell.say("end");
    shell.end();
    let ended = agent.finish();
    assert!(of_kind(&ended.records, "outcome").is_empty() && of_kind(&ended.records, "hold").is_empty());
    assert!(!folder(SLICE).exists());
}
