//! Containment where the hierarchy has its controllers and systemd is the first process: units, sessions, placed sessions.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use procwatch_tests::{
    Agent, Started,
    contained::{
        STATE, as_of_an_agent, assert_nothing_is_left, cgroup_of, contain, done, folder, is_frozen, recover,
        state, undo, verified,
    },
    guest::{self, Unit, enforcing, session},
    needs, number, refusal, text, until,
};

/// A shell that says its pid, and does what it is told.
const SHELL: &str = "echo in $$; while read -r line; do eval \"$line\"; done";
/// A process that never rests.
const BUSY: &[&str] = &["sh", "-c", "while :; do :; done"];
/// Starts as many threads as each line says; tells how many there are, and what the kernel said.
const THREADS: &str = "
import os, sys, threading
print('in', os.getpid(), flush=True)
never, count = threading.Event(), 1
for line in sys.stdin:
    said = 'well'
    try:
        for _ in range(int(line)):
            threading.Thread(target=never.wait, daemon=True).start()
            count += 1
    except RuntimeError as error:
        said = str(error)
    print(count, said, flush=True)
";

/// A program of desk's in a session as a terminal gives one, and its pid.
fn of_desk(argv: &[&str]) -> (Started, u32) {
    let mut program = session("desk", argv);
    let pid = guest::pid_of(&mut program);
    (program, pid)
}

fn show(unit: &str, property: &str) -> String {
    guest::done("systemctl", &["show", "--value", "--property", property, unit]).trim().to_owned()
}

fn read(cgroup: &str, file: &str) -> String {
    fs::read_to_string(folder(cgroup).join(file)).unwrap_or_default().trim().to_owned()
}

fn number_in(cgroup: &str, file: &str, field: &str) -> u64 {
    let text = read(cgroup, file);
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{cgroup}/{file} has no {field}: {text}")).parse().unwrap()
}

/// How much of one CPU a cgroup uses, in percent, over a second and a half.
fn share(cgroup: &str) -> u64 {
    let (begun, before) = (Instant::now(), number_in(cgroup, "cpu.stat", "usage_usec"));
    thread::sleep(Duration::from_millis(1500));
    let used = number_in(cgroup, "cpu.stat", "usage_usec") - before;
    used * 100 / begun.elapsed().as_micros() as u64
}

fn wait_until_throttled(cgroup: &str) {
    let before = number_in(cgroup, "cpu.stat", "nr_throttled");
    until("the kernel throttles it", || {
        (number_in(cgroup, "cpu.stat", "nr_throttled") > before + 2).then_some(())
    });
}

/// What is kept of properties that were set.
fn drop_ins(unit: &str) -> Vec<String> {
    let folders = ["/run/systemd/system.control", "/run/systemd/transient"];
    let entries = folders.map(|folder| fs::read_dir(format!("{folder}/{unit}.d")));
    let entries = entries.into_iter().flatten().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// Has ninety threads until it is told to join them.
const POOL: &str = "/usr/bin/python3 -c '\
import signal, threading\\n\
never = threading.Event()\\n\
signal.signal(signal.SIGUSR1, lambda *_: never.set())\\n\
[threading.Thread(target=never.wait, daemon=True).start() for _ in range(89)]\\n\
while True: signal.pause()'";

/// An agent that throttles a pool of Python to half a CPU.
fn throttling() -> (Agent, tempfile::NamedTempFile) {
    let config = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let rule = "mode = \"enforce\"\n[[threads]]\nargv = \"*threading.Event*\"\nlevels = [60]\nburst = false\nleak = false\n\
                [threads.actions]\nnotice = [{ do = \"throttle\", cpu = \"50%\" }]\n";
    fs::write(config.path(), rule).unwrap();
    let agent = Agent::run(&["--config".as_ref(), config.path().as_os_str()]);
    (agent, config)
}

/// A service with a file, as an administrator has them.
struct Service(&'static str);

impl Service {
    /// One that never rests.
    fn start(name: &'static str, lines: &str) -> Self {
        Self::start_with(name, &format!("/bin/sh -c 'while :; do :; done'\n{lines}"))
    }

    fn start_with(name: &'static str, program: &str) -> Self {
        let text = format!("[Service]\nExecStart={program}\n");
        fs::write(format!("/run/systemd/system/{name}"), text).unwrap();
        guest::done("systemctl", &["daemon-reload"]);
        guest::done("systemctl", &["start", name]);
        Self(name)
    }

    fn pid(&self) -> u32 {
        until("its main process", || show(self.0, "MainPID").parse().ok().filter(|pid| *pid != 0))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = Command::new("systemctl").args(["stop", self.0]).status();
        let _ = fs::remove_file(format!("/run/systemd/system/{}", self.0));
        let _ = Command::new("systemctl").arg("daemon-reload").status();
    }
}

/// The unit that a cgroup is.
fn name_of(cgroup: &str) -> &str {
    cgroup.rsplit('/').next().unwrap()
}

fn cgroup_of_some(pid: u32) -> String {
    guest::cgroup_of(pid).unwrap_or_default()
}

/// In a module, so that one word runs them all.
mod containment {
    use super::*;

    #[test]
    fn a_service_is_throttled_as_a_unit_and_gets_its_property_back() {
        needs!(Vm);
        let unit = Service::start("test-busy.service", "");
        let (pid, before) = (unit.pid(), state(unit.pid()));
        let name = name_of(&before.0).to_owned();
        assert_eq!(show(&name, "CPUQuotaPerSecUSec"), "infinity");
        let record = done(pid, &["throttle", "20"]);
        assert_eq!((text(&record["cell"]), text(&record["detail"])), (&before.0[..], "cpu.max 20000 100000"));
        assert_eq!(number(&record["limit"]), 20);
        wait_until_throttled(&before.0);
        let share = share(&before.0);
        assert!((5..40).contains(&share), "{share}% of a CPU");
        guest::done("systemctl", &["daemon-reload"]);
        assert_eq!(read(&before.0, "cpu.max"), "20000 100000");
        assert_eq!(show(&name, "CPUQuotaPerSecUSec"), "200ms");
        // What is there already counts, not what we set last.
        assert_eq!(text(&done(pid, &["throttle", "40"])["detail"]), "cpu.max 40000 100000");
        assert_eq!(undo(pid).1, [verified("throttle")]);
        assert_eq!(show(&name, "CPUQuotaPerSecUSec"), "infinity");
        assert!(["", "max 100000"].contains(&&read(&before.0, "cpu.max")[..]));
        assert_eq!((drop_ins(&name), show(&name, "NeedDaemonReload").as_str()), (vec![], "no"));
        assert_eq!(state(pid), before);
        assert_nothing_is_left();
    }

    #[test]
    fn a_limit_that_was_there_stays_and_comes_back() {
        needs!(Vm);
        let unit = Service::start("test-limited.service", "CPUQuota=30%\nTasksMax=50");
        let (pid, home) = (unit.pid(), cgroup_of(unit.pid()));
        let name = name_of(&home).to_owned();
        let record = done(pid, &["throttle", "60"]);
        assert_eq!(text(&record["detail"]), "cpu.max 30000 100000 was there already", "never loosened");
        assert_eq!(read(&home, "cpu.max"), "30000 100000");
        assert_nothing_is_left();
        guest::done("systemctl", &["set-property", "--runtime", &name, "CPUQuota=40%"]);
        let kept = drop_ins(&name);
        assert_eq!(kept.len(), 1, "{kept:?}");
        done(pid, &["throttle", "10"]);
        done(pid, &["cap", "7"]);
        assert_eq!(
            (read(&home, "cpu.max"), read(&home, "pids.max")),
            ("10000 100000".to_owned(), "7".to_owned())
        );
        assert_eq!(undo(pid).1, [verified("throttle"), verified("cap")]);
        assert_eq!(
            (read(&home, "cpu.max"), read(&home, "pids.max")),
            ("40000 100000".to_owned(), "50".to_owned())
        );
        assert_eq!(
            (show(&name, "CPUQuotaPerSecUSec"), show(&name, "TasksMax")),
            ("400ms".to_owned(), "50".to_owned())
        );
        assert_eq!(drop_ins(&name), kept, "what the administrator set stays, and nothing of ours");
        assert_nothing_is_left();
    }

    #[test]
    fn a_frozen_service_survives_a_reload_and_thaws() {
        needs!(Vm);
        let unit = Unit::start(&[], BUSY);
        let (pid, before) = (unit.pid(), state(unit.pid()));
        let record = done(pid, &["freeze"]);
        assert_eq!(text(&record["cell"]), before.0);
        assert!(is_frozen(&before.0));
        guest::done("systemctl", &["daemon-reload"]);
        assert!(is_frozen(&before.0));
        assert_eq!(share(&before.0), 0, "it does nothing");
        as_of_an_agent();
        let (code, acts, _) = recover(&[]);
        assert_eq!((code, acts), (Some(0), vec![verified("freeze")]));
        assert!(!is_frozen(&before.0));
        until("it works again", || (share(&before.0) > 10).then_some(()));
        assert_eq!(state(pid), before);
        assert_nothing_is_left();
    }

    #[test]
    fn a_process_of_a_session_gets_a_scope_and_comes_back() {
        needs!(Vm);
        let (mut shell, shell_pid) = of_desk(&["sh", "-c", SHELL]);
        shell.say("sh -c 'while :; do :; done' & echo $!");
        let pid: u32 = shell.hear().parse().unwrap();
        let before = state(pid);
        let record = done(pid, &["throttle", "10"]);
        let cell = text(&record["cell"]).to_owned();
        assert!(
            cell.starts_with("/user.slice/user-1000.slice/procwatch-cell-")
                && cell.strip_suffix(".scope").is_some(),
            "{cell}"
        );
        assert_eq!((cgroup_of(pid), cgroup_of(shell_pid)), (cell.clone(), before.0.clone()));
        wait_until_throttled(&cell);
        guest::done("systemctl", &["daemon-reload"]);
        assert_eq!(read(&cell, "cpu.max"), "10000 100000");
        done(pid, &["freeze"]);
        assert!(is_frozen(&cell));
        shell.say("echo here");
        assert_eq!(shell.hear(), "here", "the session goes on");
        let (code, undone, detail) = undo(pid);
        assert_eq!((code, undone), (Some(0), vec![verified("freeze"), verified("throttle")]), "{detail}");
        assert!(detail.ends_with(&format!("back in {}", before.0)), "{detail}");
        assert_eq!(state(pid), before);
        assert_eq!(show(name_of(&cell), "LoadState"), "not-found");
        assert!(drop_ins(name_of(&cell)).is_empty());
        assert_nothing_is_left();
        shell.say(&format!("kill {pid}"));
        shell.end();
    }

    #[test]
    fn a_cap_refuses_one_thread_more() {
        needs!(Vm);
        let (mut python, pid) = of_desk(&["python3", "-c", THREADS]);
        python.say("9");
        assert_eq!(python.hear(), "10 well");
        let record = done(pid, &["cap", "20"]);
        assert_eq!((text(&record["detail"]), number(&record["limit"])), ("pids.max 20", 20));
        assert_eq!((number(&record["threads_before"]), number(&record["threads_after"])), (10, 10));
        python.say("50");
        assert_eq!(python.hear(), "20 can't start new thread");
        assert_eq!(text(&done(pid, &["cap"])["detail"]), "pids.max 20", "as many as it has");
        assert_eq!(undo(pid).1, [verified("cap")]);
        python.say("50");
        assert_eq!(python.hear(), "70 well");
        assert_nothing_is_left();
        python.end();
    }

    #[test]
    fn a_service_is_restarted_and_its_new_process_counted() {
        needs!(Vm);
        let unit = Unit::start(
            &[],
            &[
                "python3",
                "-c",
                "import os, threading, time
if os.fork() == 0: time.sleep(1000)
[threading.Thread(target=time.sleep, args=(1000,)).start() for _ in range(4)]",
            ],
        );
        let pid = unit.pid();
        let home = cgroup_of(pid);
        let child = until("its child", || {
            let pids = read(&home, "cgroup.procs");
            pids.lines().map(|line| line.parse::<u32>().unwrap()).find(|other| *other != pid)
        });
        let (code, record) = contain(child, &["restart"]);
        assert_eq!((code, text(&record["reason"])), (Some(1), "not-main-process"), "{record}");
        done(pid, &["throttle", "50"]);
        done(pid, &["freeze"]);
        let record = done(pid, &["restart"]);
        let new = unit.pid();
        assert!(new != pid);
        // An emulated machine may not have begun all of them by then.
        let threads = number(&record["threads_after"]);
        let said = format!("new main pid {new}, {threads} threads after 2.0 s");
        assert!((1..=5).contains(&threads) && text(&record["detail"]).ends_with(&said), "{record}");
        assert_eq!(show(name_of(&home), "CPUQuotaPerSecUSec"), "infinity", "the new one is free");
        assert_nothing_is_left();
    }

    #[test]
    fn a_service_whose_process_ended_is_not_throttled_for_ever() {
        needs!(Vm);
        let unit = Unit::start(&["--property=Restart=always", "--property=RestartSec=50ms"], BUSY);
        let (pid, home) = (unit.pid(), cgroup_of(unit.pid()));
        done(pid, &["throttle", "10"]);
        let record = done(pid, &["kill"]);
        assert!(text(&record["detail"]).contains("taken back: "), "{record}");
        until("its next process", || Some(unit.pid()).filter(|new| *new != pid));
        assert!(undo(pid).1.is_empty());
        assert_eq!(show(name_of(&home), "CPUQuotaPerSecUSec"), "infinity");
        assert_nothing_is_left();
    }

    #[test]
    fn a_service_whose_alert_ended_first_is_not_throttled_for_ever() {
        needs!(Vm);
        let (agent, _config) = throttling();
        let unit = Service::start_with("test-pool.service", POOL);
        let pid = unit.pid();
        let act = agent.wait_for("the throttle", |it| it["kind"] == "action" && it["pid"] == pid);
        assert_eq!((text(&act["result"]), number(&act["limit"])), ("verified", 50), "{act}");
        assert_eq!(show(unit.0, "CPUQuotaPerSecUSec"), "500ms");
        guest::done("kill", &["-USR1", &pid.to_string()]);
        agent.wait_for_event("cleared", pid);
        assert_eq!(show(unit.0, "CPUQuotaPerSecUSec"), "500ms", "it holds until the process ends");
        guest::done("kill", &["-KILL", &pid.to_string()]);
        let undone = agent.wait_for("the way back", |it| it["undo"] == true && it["pid"] == pid);
        assert_eq!((text(&undone["occasion"]), text(&undone["result"])), ("process-end", "verified"));
        assert_eq!(show(unit.0, "CPUQuotaPerSecUSec"), "infinity");
        assert_nothing_is_left();
        agent.finish();
    }

    #[test]
    fn a_rule_never_loosens_what_a_person_has_limited() {
        needs!(Vm);
        let unit = Service::start_with("test-pool.service", POOL);
        let (pid, home) = (unit.pid(), cgroup_of(unit.pid()));
        done(pid, &["throttle", "10"]);
        until("its threads", || {
            read(&home, "pids.current").parse().ok().filter(|threads: &u32| *threads > 80)
        });
        let (agent, _config) = throttling();
        let act = agent.wait_for("the throttle", |it| it["kind"] == "action" && it["pid"] == pid);
        assert_eq!(text(&act["detail"]), "cpu.max 10000 100000 was there already", "{act}");
        agent.finish();
        assert_eq!(read(&home, "cpu.max"), "10000 100000");
        assert_eq!(undo(pid).1, [verified("throttle")]);
        assert_nothing_is_left();
    }

    #[test]
    fn a_placed_process_is_contained_below_our_unit() {
        needs!(Vm);
        let (_surroundings, agent) = enforcing(guest::SHIPPED);
        let mut shell = session("desk", &["su", "aimgr", "-c", SHELL]);
        let shell_pid = guest::pid_of(&mut shell);
        agent.wait_for("it is placed", |record| record["kind"] == "outcome" && record["pid"] == shell_pid);
        shell.say("sh -c 'while :; do :; done' & echo $!");
        let pid: u32 = shell.hear().parse().unwrap();
        let before = state(pid);
        let (keeper, _) = before.0.rsplit_once('/').unwrap();
        assert!(keeper.ends_with("procwatch-user-1003.service"), "{before:?}");
        let controllers = read(keeper, "cgroup.subtree_control");
        let record = done(pid, &["throttle", "10"]);
        let cell = text(&record["cell"]);
        assert!(cell.starts_with(&format!("{keeper}/procwatch-cell-{pid}-")), "{cell}");
        wait_until_throttled(cell);
        // A second one beside it needs what was enabled for the first.
        let other = done(shell_pid, &["throttle", "50"]);
        assert_eq!(undo(pid).1, [verified("throttle")]);
        assert_eq!(state(pid), before);
        let second = text(&other["cell"]);
        assert_eq!(read(second, "cpu.max"), "50000 100000");
        assert_eq!(undo(shell_pid).1, [verified("throttle")]);
        assert_eq!(read(keeper, "cgroup.subtree_control"), controllers);
        assert_nothing_is_left();
        shell.say(&format!("kill {pid}"));
        shell.end();
        agent.finish();
    }

    #[test]
    fn an_application_of_a_users_manager_is_contained_where_it_is() {
        needs!(Vm);
        guest::done("loginctl", &["enable-linger", "desk"]);
        let run = |words: &[&str]| {
            let mut command = Command::new("runuser");
            command.args(["-u", "desk", "--", "env", "XDG_RUNTIME_DIR=/run/user/1000", "systemd-run"]);
            command.args(["--quiet", "--user"]).args(words).stderr(Stdio::null());
            command.status().unwrap().success()
        };
        until("desk's manager", || run(&["--unit=app", "sh", "-c", BUSY[2]]).then_some(()));
        let pid = until("its process", || {
            guest::processes_of(1000).into_iter().find(|pid| cgroup_of_some(*pid).ends_with("/app.service"))
        });
        let before = state(pid);
        let record = done(pid, &["freeze"]);
        assert_eq!(text(&record["cell"]), before.0);
        assert!(is_frozen(&before.0));
        assert_eq!(undo(pid).1, [verified("freeze")]);
        assert_eq!(state(pid), before);
        let record = done(pid, &["throttle", "10"]);
        wait_until_throttled(text(&record["cell"]));
        let (code, undone, detail) = undo(pid);
        assert_eq!((code, undone), (Some(0), vec![verified("throttle")]), "{detail}");
        assert_eq!(state(pid), before);
        assert_nothing_is_left();
        contain(pid, &["kill"]);
        guest::done("loginctl", &["disable-linger", "desk"]);
    }

    #[test]
    fn a_scope_without_a_note_is_thawed() {
        needs!(Vm);
        let (mut shell, _) = of_desk(&["sh", "-c", SHELL]);
        shell.say("sleep 600 & echo $!");
        let pid: u32 = shell.hear().parse().unwrap();
        let cell = text(&done(pid, &["freeze"])["cell"]).to_owned();
        fs::remove_file(STATE).unwrap();
        let (code, acts, _) = recover(&[]);
        assert_eq!((code, acts), (Some(0), vec![verified("freeze")]));
        assert!(!is_frozen(&cell));
        done(pid, &["kill"]);
        until("its scope is gone", || (!folder(&cell).exists()).then_some(()));
        assert_nothing_is_left();
        shell.end();
    }

    #[test]
    fn those_who_run_the_machine_are_refused() {
        needs!(Vm);
        for (name, reason) in
            [("systemd-journald", "systemd"), ("systemd-logind", "systemd"), ("dbus-daemon", "dbus")]
        {
            let pid = until("it runs", || {
                let found = Command::new("pidof").arg(name).output().unwrap();
                let pids = String::from_utf8(found.stdout).unwrap();
                pids.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()).min()
            });
            for action in [&["freeze"][..], &["throttle", "10"], &["restart"], &["kill"]] {
                let (code, record) = contain(pid, action);
                let told = (code, text(&record["result"]), text(&record["reason"]));
                assert_eq!(told, (Some(1), "refused", reason), "{record}");
            }
            assert!(Path::new(&format!("/proc/{pid}")).exists());
        }
        assert_eq!(refusal(&["undo", "--all"]).stdout, "procwatch holds nobody\n");
    }
}
