//! What `su` leaves behind is found, told with its evidence, and ended on request; all else is left alone.
//!
//! pid 1 of the machines that this runs on need not be systemd, so sessions have procwatch's leaves, or a login uid
//! that the test sets as a login would.

use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use procwatch_tests::{
    Refusal, Sandbox, Started, for_everyone, needs, number, refusal, script, text, texts, until,
};
use serde_json::Value;

/// A uid that no account has, and no other test: what they have killed may wait for a while to be reaped.
fn new_uid() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(64_124);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A process that a test left without a parent; it goes with the test.
struct Left(u32);

impl Left {
    fn lives(&self) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", self.0)).is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Not every pid 1 reaps at once.
    fn wait_until_reaped(&self) {
        let proc = format!("/proc/{}", self.0);
        until("its end", || (!fs::exists(&proc).unwrap()).then_some(()));
    }

    fn parent(&self) -> u32 {
        field(self.0, 1) as u32
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        // What has ended cannot be killed, and that is well.
        let _ = kill(Pid::from_raw(self.0.cast_signed()), Signal::SIGKILL);
    }
}

/// A number of /proc/PID/stat behind the name, counted from the state.
fn field(pid: u32, index: usize) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(index).unwrap().parse().unwrap()
}

/// The name of the session that begins with a process.
fn session(first: u32) -> String {
    format!("su-{first}-{}", field(first, 19) / 100)
}

/// A session of that uid in a leaf as procwatch makes it: a shell of `uid` that does what it is told to.
struct Session {
    uid: u32,
    shell: Started,
    sandbox: Sandbox,
    leaf: String,
}

impl Session {
    fn begin() -> Self {
        let sandbox = Sandbox::new(&["target/procwatch"]);
        let uid = new_uid();
        let (user, group) = (format!("--reuid={uid}"), format!("--regid={uid}"));
        let argv = ["setpriv", &user, &group, "--clear-groups", "/bin/sh", "-c", SHELL];
        let mut shell = Started::new(Command::new(argv[0]).args(&argv[1..]));
        assert_eq!(shell.hear(), "ready");
        let leaf = format!("target/procwatch/{}", session(shell.pid()));
        fs::create_dir(sandbox.folder(&leaf)).unwrap();
        sandbox.admit(&leaf, shell.pid());
        Self { uid, shell, sandbox, leaf }
    }

    /// Runs a line that makes a process of its own and tells its pid.
    fn leave(&mut self, line: &str) -> Left {
        self.shell.say(line);
        let pid = self.shell.hear();
        Left(pid.parse().unwrap_or_else(|_| panic!("no pid: {pid:?}")))
    }

    fn end(&mut self) {
        assert!(self.shell.end().success());
    }

    fn orphans(&self, args: &[&str]) -> (Refusal, Vec<Value>) {
        orphans(self.uid, args)
    }

    fn path(&self) -> String {
        self.sandbox.path(&self.leaf)
    }
}

/// A shell that runs the lines that it hears.
const SHELL: &str = "echo ready; while read -r line; do eval \"$line\"; done";
/// Leaves a process in a kernel session of its own.
const DETACHED: &str = "setsid sleep 600 </dev/null >/dev/null & echo $!";
/// Leaves a process whose makers are gone.
const TWICE_FORKED: &str = "setsid sh -c 'sleep 600 </dev/null >/dev/null & echo $!'";
/// Leaves one that does not end when it is asked to.
const STUBBORN: &str =
    "setsid sh -c 'trap \"\" TERM; echo $$; exec sleep 600 </dev/null >/dev/null' & read -r nothing";

fn orphans(uid: u32, args: &[&str]) -> (Refusal, Vec<Value>) {
    let uid = uid.to_string();
    let run = refusal(&[&["orphans", "--json", "--uid", &uid], args].concat());
    assert_eq!(run.stderr, "", "{run:?}");
    let records = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (run, records)
}

/// The pids of a kind, in the order of the lines.
fn pids_of(records: &[Value], kind: &str) -> Vec<u32> {
    let found = records.iter().filter(|record| record["kind"] == kind);
    found.map(|record| number(&record["pid"]) as u32).collect()
}

#[test]
fn orphans_in_a_leaf_are_listed_and_ended() {
    needs!(Root);
    let mut session = Session::begin();
    let (detached, twice) = (session.leave(DETACHED), session.leave(TWICE_FORKED));
    until("its adoption", || (twice.parent() == 1).then_some(()));
    let (run, records) = session.orphans(&[]);
    assert_eq!((run.code, pids_of(&records, "orphan")), (Some(0), vec![]), "the session lives: {records:?}");
    let (_, records) = session.orphans(&["--all"]);
    assert!(pids_of(&records, "doubtful").contains(&twice.0), "{records:?}");

    let first = session.shell.pid();
    session.end();
    until("its adoption", || (detached.parent() == 1).then_some(()));
    let (run, records) = session.orphans(&[]);
    let mut found = pids_of(&records, "orphan");
    found.sort_unstable();
    assert_eq!((run.code, found), (Some(1), vec![detached.0.min(twice.0), detached.0.max(twice.0)]));
    for record in &records {
        assert_eq!(texts(&record["argv"]), ["sleep", "600"], "{record}");
        assert_eq!(text(&record["cgroup"]), session.path(), "{record}");
        let why = format!("of su session {first}, which is gone; re-parented to pid 1; no terminal");
        assert_eq!(text(&record["why"]), why, "{record}");
        assert_eq!(
            (number(&record["uid"]), number(&record["threads"])),
            (u64::from(session.uid), 1),
            "{record}"
        );
        assert!(number(&record["age_ns"]) > 0 && record["user"].is_null(), "{record}");
    }

    let (run, records) = session.orphans(&["--terminate", "--yes"]);
    assert_eq!(run.code, Some(0), "{records:?}");
    let ended: Vec<&Value> = records.iter().filter(|record| record["kind"] == "termination").collect();
    assert_eq!(ended.len(), 2, "{records:?}");
    for record in ended {
        assert_eq!((text(&record["result"]), text(&record["signal"])), ("ended", "SIGTERM"), "{record}");
    }
    assert!(!detached.lives() && !twice.lives());
    detached.wait_until_reaped();
    twice.wait_until_reaped();
    let (run, records) = session.orphans(&[]);
    assert_eq!((run.code, records.len()), (Some(0), 0), "{records:?}");
}

#[test]
fn who_does_not_end_is_told_of_and_not_killed() {
    needs!(Root);
    let mut session = Session::begin();
    let stubborn = session.leave(STUBBORN);
    session.shell.say("");
    session.end();
    until("its adoption", || (stubborn.parent() == 1).then_some(()));
    let (run, records) = session.orphans(&["--terminate", "--yes"]);
    assert_eq!(run.code, Some(1), "{records:?}");
    let outcome = records.last().unwrap();
    assert_eq!((&outcome["kind"], &outcome["result"]), (&"termination".into(), &"still-there".into()));
    assert_eq!(number(&outcome["pid"]), u64::from(stubborn.0));
    assert!(number(&outcome["after_ns"]) >= 10_000_000_000, "{outcome}");
    assert!(stubborn.lives());
}

#[test]
fn a_subreaper_is_seen_through() {
    needs!(Root);
    let sandbox = Sandbox::new(&["target/procwatch/su-1-4000000000"]);
    let uid = new_uid();
    let (user, group) = (format!("--reuid={uid}"), format!("--regid={uid}"));
    let enter = sandbox.folder("target/procwatch/su-1-4000000000").join("cgroup.procs");
    let command = "echo $$ > \"$0\" && exec setpriv \"$@\"";
    let su = [&user, &group, "--clear-groups", "/bin/sh", "-c", TWICE_FORKED];
    let mut reaper = Command::new("python3");
    reaper.arg(script("reaper.py")).args(["/bin/sh", "-c", command]).arg(enter).args(su);
    let mut reaper = Started::new(&mut reaper);
    let left = Left(reaper.hear().parse().unwrap());
    assert_eq!(reaper.hear(), "ran");
    until("its adoption", || (left.parent() == reaper.pid()).then_some(()));
    let (_, records) = orphans(uid, &[]);
    assert_eq!(pids_of(&records, "orphan"), [left.0]);
    let why = text(&records[0]["why"]);
    assert!(why.contains(&format!("re-parented to {} (python3)", reaper.pid())), "{why}");

    let (run, records) = orphans(uid, &["--terminate", "--yes"]);
    assert_eq!(run.code, Some(0), "{records:?}");
    // The reaper does not reap, and is told of; it is named and lives on.
    let (run, records) = orphans(uid, &[]);
    assert_eq!((run.code, pids_of(&records, "zombie")), (Some(1), vec![left.0]), "{records:?}");
    let why = text(&records[0]["why"]);
    assert_eq!(why, format!("dead; its parent {} (python3, uid 0) does not reap it", reaper.pid()));
    let (run, records) = orphans(uid, &["--terminate", "--yes"]);
    assert_eq!((run.code, pids_of(&records, "termination")), (Some(1), vec![]), "{records:?}");
    assert!(reaper.lives());
    reaper.say("end");
    reaper.end();
}

#[test]
fn a_live_terminal_protects_who_holds_it() {
    needs!(Root);
    let (_folder, multiplexer) = for_everyone(&script("multiplexer.py"));
    let mut session = Session::begin();
    session.shell.say(&format!("setsid python3 {} </dev/null &", multiplexer.display()));
    let pids: Vec<u32> = session.shell.hear().split(' ').map(|pid| pid.parse().unwrap()).collect();
    let (multiplexer, shell) = (Left(pids[0]), Left(pids[1]));
    session.end();
    until("its adoption", || (multiplexer.parent() == 1).then_some(()));
    let (run, records) = session.orphans(&["--all"]);
    assert_eq!(pids_of(&records, "doubtful"), [multiplexer.0], "{records:?}");
    let why = text(&records[0]["why"]);
    assert!(why.ends_with(&format!("its descendant {} has a live terminal", shell.0)), "{why}");
    assert_eq!((run.code, records.len()), (Some(0), 1), "{records:?}");
    let (run, records) = session.orphans(&["--terminate", "--yes"]);
    assert_eq!((run.code, records.len()), (Some(0), 0), "{records:?}");
    assert!(multiplexer.lives() && shell.lives());
}

#[test]
fn a_login_uid_tells_of_an_su() {
    needs!(Root, Nobody);
    // As a login does it: once set, it is inherited by all, su'ed or not.
    let login = "echo 1000 > /proc/self/loginuid && exec su -s /bin/sh nobody -c \"$0\"";
    let mut su = Started::new(Command::new("/bin/sh").args(["-c", login, TWICE_FORKED]));
    let left = Left(su.hear().parse().unwrap());
    until("its adoption", || (left.parent() == 1).then_some(()));
    assert!(su.end().success());
    let run = refusal(&["orphans", "--json", "--user", "nobody"]);
    let found = run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found: Vec<Value> = found.filter(|record| record["pid"] == left.0).collect();
    assert_eq!(found.len(), 1, "{run:?}");
    assert_eq!(
        (text(&found[0]["kind"]), text(&found[0]["why"])),
        ("orphan", "uid 1000 logged in and became uid 65534; re-parented to pid 1; no terminal")
    );
    let run = refusal(&["orphans", "--user", "nobody"]);
    assert!(run.stdout.contains(&format!("{:>7}  nobody", left.0)), "{}", run.stdout);
    assert!(run.stdout.lines().all(|line| line.chars().count() < 240), "{}", run.stdout);
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_done() {
    needs!(Root);
    for (args, part) in [
        (&["--terminate"][..], "add --yes"),
        (&["--uid", "0", "--terminate", "--yes"], "processes of root are never terminated"),
        (&["--user", "root", "--terminate", "--yes"], "processes of root are never terminated"),
        (&["--yes"], "--terminate"),
        (&["--user", "no-such-user"], "no such user"),
        (&["--user", "root", "--uid", "0"], "cannot be used with"),
        (&["--uid", "many"], "invalid value 'many'"),
    ] {
        let refused = refusal(&[&["orphans"], args].concat());
        assert_eq!((refused.code, &refused.stdout[..]), (Some(2), ""), "{refused:?}");
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
}
