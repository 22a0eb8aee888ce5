//! What `su` from a desktop session leaves behind on a machine with systemd, and who has to be left alone there.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use procwatch_tests::{Refusal, Started, needs, number, refusal, text, until};
use serde_json::Value;
use tempfile::TempDir;

/// What aimgr leaves behind: in a kernel session of its own, deaf to hang-ups, and with its makers gone.
const LEAVE: &str = "setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $!
nohup sleep 600 </dev/null >/dev/null 2>&1 & echo $!
setsid sh -c 'sleep 600 </dev/null >/dev/null 2>&1 & echo $!'
read -r line
";

/// The same at a terminal, with a shell that waits there.
const WORK: &str = "setsid sh -c 'sleep 600 </dev/null >/dev/null 2>&1 & echo $!'
sleep 600 & echo $!
echo $$
read -r line
";

/// What stays at the terminal when its su is left.
const STAY: &str = "nohup sleep 600 </dev/null >/dev/null 2>&1 & echo $!
";

/// A service that has a child with a kernel session of its own.
const SERVICE: &str = "setsid sleep 600 & exec sleep 600";

/// Shell scripts that everybody may read.
struct Scripts(TempDir);

impl Scripts {
    fn new(scripts: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for (name, script) in scripts {
            let file = folder.path().join(name);
            fs::write(&file, script).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

/// A process that may outlive its makers, but not the test.
struct Left(u32);

impl Left {
    /// Reads a pid from a line.
    fn told(shell: &mut Started) -> Self {
        let line = shell.hear();
        Self(line.parse().unwrap_or_else(|_| panic!("no pid: {line:?}")))
    }

    fn lives(&self) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", self.0)).is_ok_and(|stat| !stat.contains(") Z "))
    }

    fn has_terminal(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
        stat.rsplit(") ").next().unwrap().split(' ').nth(4) != Some("0")
    }

    fn wait_for_adoption(&self) {
        let adopted =
            || fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap().contains("\nPPid:\t1\n");
        until("its adoption", || adopted().then_some(()));
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        // What has ended cannot be killed, and that is well.
        let _ = kill(Pid::from_raw(self.0.cast_signed()), Signal::SIGKILL);
    }
}

/// A login of desk that runs a line, with both ends in our hand.
fn login(line: &str) -> Started {
    // systemd-run has a use of its own for a single `$`.
    let line = line.replace('$', "$$");
    let words = ["--quiet", "--pipe", "--wait", "--uid=desk", "--property=PAMName=login"];
    Started::new(Command::new("systemd-run").args(words).args(["sh", "-c", &line]).stderr(Stdio::inherit()))
}

/// The same at a terminal, and the program that holds it as a terminal's window does: it is closed when dropped.
fn login_at_terminal(line: &str) -> (Started, Left) {
    let mut shell = login(&format!("exec script --quiet --flush --command 'echo $PPID; {line}' /dev/null"));
    let window = Left::told(&mut shell);
    (shell, window)
}

/// A service of aimgr that is stopped when dropped.
struct Service(&'static str);

impl Service {
    fn start(unit: &'static str) -> Self {
        let words = ["--quiet", "--uid=aimgr", "--unit", unit, "sh", "-c", SERVICE];
        assert!(Command::new("systemd-run").args(words).status().unwrap().success());
        let service = Self(unit);
        until("both processes of the service", || (service.pids().len() == 2).then_some(()));
        service
    }

    fn pids(&self) -> Vec<u32> {
        let procs = format!("/sys/fs/cgroup/system.slice/{}.service/cgroup.procs", self.0);
        fs::read_to_string(procs).unwrap_or_default().lines().map(|pid| pid.parse().unwrap()).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // What is stopped already is well, too.
        let _ = Command::new("systemctl").args(["stop", self.0]).status();
    }
}

fn orphans(args: &[&str]) -> (Refusal, Vec<Value>) {
    let run = refusal(&[&["orphans", "--json", "--user", "aimgr"], args].concat());
    assert_eq!(run.stderr, "", "{run:?}");
    let records = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (run, records)
}

/// The pids of a kind, sorted.
fn pids_of(records: &[Value], kind: &str) -> Vec<u32> {
    let found = records.iter().filter(|record| record["kind"] == kind);
    let mut pids: Vec<u32> = found.map(|record| number(&record["pid"]) as u32).collect();
    pids.sort_unstable();
    pids
}

fn why(records: &[Value], pid: u32) -> &str {
    let found = records.iter().find(|record| record["pid"] == pid);
    text(&found.unwrap_or_else(|| panic!("{pid} is not listed: {records:?}"))["why"])
}

#[test]
fn orphans_of_an_ended_su_and_nothing_else_are_ended() {
    needs!(Vm);
    let scripts = Scripts::new(&[("leave", LEAVE), ("work", WORK)]);
    let service = Service::start("bystander");
    let work = format!("su aimgr --session-command \"sh {}\"", scripts.path("work"));
    let (mut terminal, _window) = login_at_terminal(&work);
    let working = [Left::told(&mut terminal), Left::told(&mut terminal), Left::told(&mut terminal)];
    working[0].wait_for_adoption();

    let leave = format!("su aimgr -c 'sh {}'; echo ended; read -r line", scripts.path("leave"));
    let mut desk = login(&leave);
    let left = [Left::told(&mut desk), Left::told(&mut desk), Left::told(&mut desk)];
    left[2].wait_for_adoption();
    let (run, records) = orphans(&["--all"]);
    assert_eq!((run.code, pids_of(&records, "orphan")), (Some(0), vec![]), "su lives: {records:?}");
    assert!(why(&records, left[2].0).contains("which lives"), "{records:?}");

    desk.say("end su");
    assert_eq!(desk.hear(), "ended");
    left.iter().for_each(Left::wait_for_adoption);
    let mut expected = left.each_ref().map(|left| left.0);
    expected.sort_unstable();
    let (run, records) = orphans(&["--all"]);
    assert_eq!((run.code, pids_of(&records, "orphan")), (Some(1), expected.to_vec()), "{records:?}");
    assert!(why(&records, working[0].0).contains("which lives"), "{records:?}");
    for record in records.iter().filter(|record| record["kind"] == "orphan") {
        let why = "uid 1000 logged in and became uid 1003; re-parented to pid 1; no terminal";
        assert_eq!((text(&record["why"]), text(&record["user"])), (why, "aimgr"), "{record}");
        assert!(text(&record["cgroup"]).starts_with("/user.slice/user-1000.slice/session-"), "{record}");
    }

    let (run, records) = orphans(&["--terminate", "--yes"]);
    assert_eq!((run.code, pids_of(&records, "termination")), (Some(0), expected.to_vec()), "{records:?}");
    assert!(
        records.iter().all(|record| record["kind"] == "orphan" || record["result"] == "ended"),
        "{records:?}"
    );
    assert!(left.iter().all(|left| !left.lives()));
    assert!(working.iter().all(Left::lives), "who works at a terminal, and what that has made");
    assert_eq!(service.pids().len(), 2, "services are nobody's orphans");
    let (run, records) = orphans(&[]);
    assert_eq!((run.code, records.len()), (Some(0), 0), "{records:?}");
    desk.say("end");
    assert!(desk.end().success());
}

#[test]
fn orphans_at_a_terminal_are_doubtful_until_it_is_closed() {
    needs!(Vm);
    let scripts = Scripts::new(&[("stay", STAY)]);
    let line =
        format!("su aimgr --session-command \"sh {}\"; echo ended; read -r line", scripts.path("stay"));
    let (mut terminal, window) = login_at_terminal(&line);
    let stays = Left::told(&mut terminal);
    assert_eq!(terminal.hear(), "ended");
    stays.wait_for_adoption();
    let (run, records) = orphans(&["--all"]);
    assert_eq!((run.code, pids_of(&records, "doubtful")), (Some(0), vec![stays.0]), "{records:?}");
    assert!(why(&records, stays.0).contains("the terminal of session"), "{records:?}");
    let (run, records) = orphans(&["--terminate", "--yes"]);
    assert_eq!((run.code, records.len(), stays.lives()), (Some(0), 0, true), "{records:?}");

    drop(window);
    until("the hang-up", || (!stays.has_terminal()).then_some(()));
    let (run, records) = orphans(&[]);
    assert_eq!((run.code, pids_of(&records, "orphan")), (Some(1), vec![stays.0]), "{records:?}");
    let (run, records) = orphans(&["--terminate", "--yes"]);
    assert_eq!((run.code, pids_of(&records, "termination")), (Some(0), vec![stays.0]), "{records:?}");
    assert!(!stays.lives());
}
