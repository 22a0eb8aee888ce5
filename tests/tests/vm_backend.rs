//! The back ends that have systemd: who is moved ends in a unit of ours, and nothing that befalls the unit, the slice,
//! the user or the agent kills anybody.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use nix::sys::signal::Signal;
use procwatch_tests::{Agent, Started, needs, refusal, text, until};
use serde_json::Value;
use tempfile::TempDir;

const SLICE: &str = "/user.slice/user-1003.slice";
const KEEPER: &str = "procwatch-user-1003.service";
/// The back ends, and how the paths of their leaves begin.
const SYSTEMD: (&str, &str) = ("systemd", "/user.slice/user-1003.slice/procwatch-user-1003.service/su-");
const SCOPE: (&str, &str) = ("scope", "/user.slice/user-1003.slice/procwatch-su-");

/// What a shell in a session does: says who it is, and then what it is told to.
const SHELL: &str = "echo in $$; while read -r line; do eval \"$line\"; done";

/// A machine on which aimgr is limited to CPU 1 and has no session, and what the agent is told.
struct Scene {
    leaves: &'static str,
    _folder: TempDir,
    config: PathBuf,
}

impl Scene {
    fn new((backend, leaves): (&str, &'static str)) -> Self {
        // What a test before this one may have left behind when it failed.
        systemctl(&["stop", KEEPER]);
        wait_until_gone(SLICE);
        limit("1");
        let (folder, config) = configured(backend, "user-1003.slice");
        Self { leaves, _folder: folder, config }
    }

    fn agent(&self) -> Agent {
        Agent::run(&["--config", self.config.to_str().unwrap()])
    }

    /// Waits until a process is in a leaf, and returns which.
    fn leaf_of(&self, pid: u32) -> String {
        until("it is in a leaf", || Some(cgroup(pid)).filter(|path| path.starts_with(self.leaves)))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if thread::panicking() {
            for words in [&["systemd-cgls", "/user.slice"][..], &["journalctl", "--lines=40", "--no-pager"]] {
                let seen = Command::new(words[0]).args(&words[1..]).output().unwrap();
                println!("{}", String::from_utf8_lossy(&seen.stdout));
            }
        }
        systemctl(&["revert", "user-1003.slice"]);
    }
}

fn configured(backend: &str, slice: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("procwatch.toml");
    let rule = format!(
        "mode = \"enforce\"\nbackend = \"{backend}\"\n[[place]]\nuser = \"aimgr\"\nslice = \"{slice}\"\n\
         from = [\"user.slice\"]\n"
    );
    fs::write(&config, rule).unwrap();
    (folder, config)
}

/// Gives aimgr's slice these CPUs.
fn limit(cpus: &str) {
    let property = format!("AllowedCPUs={cpus}");
    assert!(systemctl(&["set-property", "--runtime", "user-1003.slice", &property]));
}

fn systemctl(words: &[&str]) -> bool {
    Command::new("systemctl").args(words).stderr(Stdio::null()).status().unwrap().success()
}

fn show(unit: &str, property: &str) -> String {
    let words = ["show", "--value", "--property", property, unit];
    let output = Command::new("systemctl").args(words).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn is_active(unit: &str) -> bool {
    systemctl(&["is-active", "--quiet", unit])
}

/// A shell in a session as a terminal gives one, which becomes `command`.
fn session(user: &str, command: &str) -> Started {
    // systemd-run has a use of its own for a single `$`.
    let command = format!("exec {command}").replace('$', "$$");
    let user = format!("--uid={user}");
    let words = ["--quiet", "--pipe", "--wait", &user, "--property=PAMName=login"];
    Started::new(
        Command::new("systemd-run").args(words).args(["sh", "-c", &command]).stderr(Stdio::inherit()),
    )
}

/// A shell of aimgr in desk's session, and its pid.
fn su() -> (Started, u32) {
    announced(session("desk", &format!("su aimgr -c '{SHELL}'")))
}

/// A login of aimgr, and the pid of its shell.
fn login() -> (Started, u32) {
    announced(session("aimgr", &format!("sh -c '{SHELL}'")))
}

fn announced(mut shell: Started) -> (Started, u32) {
    let pid = shell.hear().strip_prefix("in ").expect("the shell runs").parse().unwrap();
    (shell, pid)
}

fn ask(shell: &mut Started, command: &str) -> String {
    shell.say(command);
    shell.hear()
}

/// The cgroup of a process; empty when it is gone.
fn cgroup(pid: u32) -> String {
    let all = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    all.trim().strip_prefix("0::").unwrap_or_default().to_owned()
}

/// The field of a process' status.
fn status(pid: u32, field: &str) -> String {
    let all = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = all.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":"));
    value.unwrap_or_default().trim().to_owned()
}

fn wait_for_cpus(pid: u32, cpus: &str) {
    until("its CPUs are those of the slice", || (status(pid, "Cpus_allowed_list") == cpus).then_some(()));
}

fn folder(path: &str) -> PathBuf {
    Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'))
}

fn main_pid() -> u32 {
    show(KEEPER, "MainPID").parse().unwrap()
}

fn wait_until_gone(path: &str) {
    until("the cgroup is removed", || (!folder(path).exists()).then_some(()));
}

/// It lives, is where it was, and does what it is told.
fn assert_unharmed(shell: &mut Started, pid: u32, leaf: &str) {
    assert_eq!(ask(shell, "echo $$"), pid.to_string());
    assert_eq!(cgroup(pid), leaf);
}

/// In a module, so that one word runs them all.
mod backends {
    use super::*;

    /// One life: placed, the slice's limits changed, the agent stopped, started, killed and started again.
    fn nothing_is_lost(backend: (&str, &'static str)) {
        let scene = Scene::new(backend);
        assert!(!is_active("user-1003.slice"));
        let agent = scene.agent();
        assert!(is_active("user-1003.slice") && is_active(KEEPER));
        let (mut shell, pid) = su();
        let leaf = scene.leaf_of(pid);
        let outcome =
            agent.wait_for("its outcome", |record| record["kind"] == "outcome" && record["pid"] == pid);
        assert_eq!(
            (text(&outcome["result"]), text(&outcome["to"])),
            ("verified", leaf.as_str()),
            "{outcome}"
        );
        assert_eq!(
            ask(&mut shell, "cat /proc/self/cgroup"),
            format!("0::{leaf}"),
            "children are born inside"
        );
        wait_for_cpus(pid, "1");
        limit("0-1");
        wait_for_cpus(pid, "0-1");
        limit("1");
        wait_for_cpus(pid, "1");
        assert!(systemctl(&["daemon-reload"]));
        assert_unharmed(&mut shell, pid, &leaf);
        assert_eq!(status(pid, "Cpus_allowed_list"), "1");

        // Stopped with somebody in it, the unit is left to him and to the next agent.
        let keeper = main_pid();
        agent.finish();
        assert_unharmed(&mut shell, pid, &leaf);
        assert!(is_active("user-1003.slice"));
        assert_eq!(status(pid, "Cpus_allowed_list"), "1");
        let mut agent = scene.agent();
        assert_eq!(main_pid(), keeper, "the unit is taken over as it is");
        let (mut second, second_pid) = su();
        let second_leaf = scene.leaf_of(second_pid);
        assert_ne!(second_leaf, leaf);

        agent.signal(Signal::SIGKILL);
        assert!(!agent.wait().status.success());
        assert_unharmed(&mut shell, pid, &leaf);
        let (mut stray, stray_pid) = su();
        assert!(cgroup(stray_pid).starts_with("/user.slice/user-1000.slice/"));
        let agent = scene.agent();
        assert_eq!(main_pid(), keeper, "the unit is taken over as it is");
        scene.leaf_of(stray_pid);
        assert_unharmed(&mut shell, pid, &leaf);
        assert_unharmed(&mut second, second_pid, &second_leaf);
        assert!(
            stray.end().success() && second.end().success() && shell.end().success(),
            "nobody was killed"
        );
        agent.finish();
        wait_until_gone(SLICE);
        assert!(!is_active(KEEPER) && !is_active("user-1003.slice"));
    }

    #[test]
    fn nothing_is_lost_in_leaves() {
        needs!(Vm, Bpf);
        nothing_is_lost(SYSTEMD);
    }

    #[test]
    fn nothing_is_lost_in_scopes() {
        needs!(Vm, Bpf);
        nothing_is_lost(SCOPE);
    }

    #[test]
    fn the_keeper_has_few_rights_and_comes_back_when_it_is_killed() {
        needs!(Vm, Bpf);
        let scene = Scene::new(SYSTEMD);
        let agent = scene.agent();
        let keeper = main_pid();
        until("it goes apart", || cgroup(keeper).ends_with(&format!("{KEEPER}/keeper")).then_some(()));
        assert_eq!(status(keeper, "CapEff"), "0000000000000000");
        assert_eq!(
            (status(keeper, "NoNewPrivs"), status(keeper, "Seccomp")),
            ("1".to_owned(), "2".to_owned())
        );
        let (mut shell, pid) = su();
        let leaf = scene.leaf_of(pid);
        assert!(systemctl(&["kill", "--kill-who=main", "--signal=KILL", KEEPER]));
        until("another one", || (![0, keeper].contains(&main_pid()) && is_active(KEEPER)).then_some(()));
        assert_unharmed(&mut shell, pid, &leaf);
        assert!(shell.end().success());
        agent.finish();
    }

    /// Lets blows fall on an agent's units, and sees after each that nobody is harmed and that a further session is
    /// placed again, at the latest by an agent that was started anew.
    fn nobody_is_harmed(backend: (&str, &'static str), blows: &[fn(&str)]) {
        let scene = Scene::new(backend);
        let mut agent = scene.agent();
        let (mut shell, pid) = su();
        let leaf = scene.leaf_of(pid);
        for blow in blows {
            blow(&leaf);
            assert_unharmed(&mut shell, pid, &leaf);
            let (mut second, second_pid) = su();
            let outcome = agent
                .wait_for("its outcome", |record| record["kind"] == "outcome" && record["pid"] == second_pid);
            if outcome["result"] == "failed" {
                assert!(text(&outcome["error"]).contains("was stopped"), "{outcome}");
                agent.finish();
                agent = scene.agent();
            }
            scene.leaf_of(second_pid);
            assert!(is_active("user-1003.slice") && is_active(KEEPER));
            wait_for_cpus(second_pid, "1");
            assert_unharmed(&mut shell, pid, &leaf);
            wait_for_cpus(pid, "1");
            assert!(second.end().success());
        }
        assert!(shell.end().success());
        agent.finish();
        wait_until_gone(SLICE);
    }

    fn stop_the_unit(_leaf: &str) {
        assert!(systemctl(&["stop", KEEPER]));
    }

    fn stop_the_slice(_leaf: &str) {
        assert!(systemctl(&["stop", "user-1003.slice"]));
    }

    /// A unit whose processes have limits of their own could not be entered again.
    fn limit_leaves_and_stop_the_unit(leaf: &str) {
        let unit = folder(leaf).parent().unwrap().to_owned();
        fs::write(unit.join("cgroup.subtree_control"), "+cpu +memory").unwrap();
        stop_the_unit(leaf);
    }

    fn stop_the_scope(leaf: &str) {
        let scope = leaf.rsplit('/').next().unwrap();
        let description = show(scope, "Description");
        assert!(description.starts_with("su session of aimgr"), "{description}");
        assert!(systemctl(&["stop", scope]));
    }

    #[test]
    fn no_stop_kills_anybody_in_leaves() {
        needs!(Vm, Bpf);
        nobody_is_harmed(SYSTEMD, &[stop_the_unit, stop_the_slice, limit_leaves_and_stop_the_unit]);
    }

    #[test]
    fn no_stop_kills_anybody_in_scopes() {
        needs!(Vm, Bpf);
        nobody_is_harmed(SCOPE, &[stop_the_unit, stop_the_scope, stop_the_slice]);
    }

    #[test]
    fn a_scope_ends_with_its_last_process() {
        needs!(Vm, Bpf);
        let scene = Scene::new(SCOPE);
        let agent = scene.agent();
        let (mut shell, pid) = su();
        let leaf = scene.leaf_of(pid);
        let scope = leaf.rsplit('/').next().unwrap();
        assert!(is_active(scope));
        assert!(shell.end().success());
        wait_until_gone(&leaf);
        until("it is forgotten", || (show(scope, "LoadState") == "not-found").then_some(()));
        agent.finish();
    }

    fn a_login_beside_it_is_unharmed(backend: (&str, &'static str)) {
        let scene = Scene::new(backend);
        let agent = scene.agent();
        let (mut shell, pid) = su();
        let leaf = scene.leaf_of(pid);
        let (mut login, login_pid) = login();
        let at_login = cgroup(login_pid);
        assert!(at_login.starts_with(&format!("{SLICE}/session-")), "{at_login}");
        until("aimgr's manager runs", || is_active("user@1003.service").then_some(()));
        let (mut second, second_pid) = su();
        scene.leaf_of(second_pid);
        assert_unharmed(&mut login, login_pid, &at_login);
        assert!(is_active("user@1003.service"));
        wait_for_cpus(login_pid, "1");
        assert!(second.end().success());

        // Logged out and in again, and thrown out: the user's manager goes, and ours stays.
        assert!(login.end().success());
        assert_unharmed(&mut shell, pid, &leaf);
        let (mut login, login_pid) = super::login();
        assert!(cgroup(login_pid).starts_with(&format!("{SLICE}/session-")));
        assert!(Command::new("loginctl").args(["terminate-user", "aimgr"]).status().unwrap().success());
        login.end();
        until("aimgr's manager is gone", || (!is_active("user@1003.service")).then_some(()));
        assert_unharmed(&mut shell, pid, &leaf);
        assert!(is_active("user-1003.slice") && is_active(KEEPER));
        assert_eq!(status(pid, "Cpus_allowed_list"), "1");
        assert!(shell.end().success());
        agent.finish();
        wait_until_gone(SLICE);
    }

    #[test]
    fn a_login_beside_the_unit_is_unharmed() {
        needs!(Vm, Bpf);
        a_login_beside_it_is_unharmed(SYSTEMD);
    }

    #[test]
    fn a_login_beside_scopes_is_unharmed() {
        needs!(Vm, Bpf);
        a_login_beside_it_is_unharmed(SCOPE);
    }

    #[test]
    fn a_thread_bound_to_other_cpus_is_set_free() {
        needs!(Vm, Bpf);
        let scene = Scene::new(SYSTEMD);
        let agent = scene.agent();
        let (mut shell, pid) = announced(session("desk", &format!("taskset -c 0 su aimgr -c '{SHELL}'")));
        scene.leaf_of(pid);
        wait_for_cpus(pid, "1");
        // It is not only elsewhere now, but bound no more.
        limit("0-1");
        wait_for_cpus(pid, "0-1");
        assert!(shell.end().success());
        agent.finish();
    }

    #[test]
    fn a_path_is_refused_before_anything_is_done() {
        needs!(Vm, Bpf);
        for backend in ["systemd", "scope"] {
            let (_folder, config) = configured(backend, "/test/target");
            let refused = refusal(&["run", "--config", config.to_str().unwrap()]);
            assert_eq!(refused.code, Some(2), "{refused:?}");
            let why = "/test/target: a path is no unit of systemd; name a slice such as \"user-1003.slice\"";
            assert!(refused.stderr.contains(why), "{refused:?}");
        }
        // What was prepared before it is undone.
        let (_folder, config) = configured("systemd", "user-1003.slice");
        let more = "[[place]]\nuid = 1004\nslice = \"/test/target\"\nfrom = [\"user.slice\"]\n";
        fs::write(&config, fs::read_to_string(&config).unwrap() + more).unwrap();
        assert_eq!(refusal(&["run", "--config", config.to_str().unwrap()]).code, Some(2));
        wait_until_gone(SLICE);
        assert!(!is_active(KEEPER));
    }

    #[test]
    fn observing_starts_no_unit() {
        needs!(Vm, Bpf);
        let scene = Scene::new(SYSTEMD);
        let (mut login, _) = login();
        let agent = Agent::run(&["--config", scene.config.to_str().unwrap(), "--mode", "observe"]);
        let (mut shell, pid) = su();
        agent.wait_for("its decision", |record: &Value| record["kind"] == "decision" && record["pid"] == pid);
        assert!(!is_active(KEEPER));
        assert!(cgroup(pid).starts_with("/user.slice/user-1000.slice/"));
        assert!(shell.end().success() && login.end().success());
        agent.finish();
    }

    /// The options of the cgroup2 hierarchy, in order.
    fn options() -> Vec<String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = mounts.lines().find(|line| line.contains(" /sys/fs/cgroup ")).unwrap();
        let mut options: Vec<String> =
            line.rsplit(' ').next().unwrap().split(',').map(str::to_owned).collect();
        options.sort();
        options
    }

    #[test]
    fn favordynmods_is_measured_and_set_beside_the_other_options() {
        needs!(Vm, Bpf);
        let scene = Scene::new(SYSTEMD);
        let mut wanted = options();
        assert!(!wanted.contains(&"favordynmods".to_owned()), "{wanted:?}");
        let check = refusal(&["check", "--json"]);
        assert!(check.stdout.contains("; a move took "), "{}", check.stdout);
        let left =
            Command::new("find").args(["/sys/fs/cgroup", "-name", "procwatch-check-*"]).output().unwrap();
        assert_eq!(String::from_utf8(left.stdout).unwrap(), "");
        assert_eq!(options(), wanted, "check changes nothing");

        let rules = fs::read_to_string(&scene.config).unwrap();
        fs::write(&scene.config, format!("favordynmods = true\n{rules}")).unwrap();
        let ended = scene.agent().finish();
        let refused = ended.records.iter().any(|record| {
            record["topic"] == "degraded" && record.to_string().contains("favordynmods cannot be set")
        });
        if !refused {
            wanted.push("favordynmods".to_owned());
            wanted.sort();
        }
        assert_eq!(options(), wanted);
    }
}
