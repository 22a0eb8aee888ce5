//! What rules have done about alerts: step by step, measured, and taken back.

use std::{fs, os::unix::process::ExitStatusExt as _, process::Command};

use nix::sys::signal::Signal;
use procwatch_tests::{Agent, Started, Talk, compiled, contained, needs, number, refusal, script, text};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a configuration, and a pool of threads under a name of its own.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("procwatch.toml"), config).unwrap();
        fs::copy(compiled("pthreads"), folder.path().join("pw-ladder")).unwrap();
        Self { folder }
    }

    fn run(&self) -> Agent {
        Agent::run(&["--config".as_ref(), self.folder.path().join("procwatch.toml").as_os_str()])
    }

    /// A pool of the rule's name.
    fn start(&self) -> Started {
        Started::new(&mut Command::new(self.folder.path().join("pw-ladder")))
    }

    /// One that grows to so many threads once the agent has chosen its rule.
    fn pool(&self, threads: u32) -> Started {
        let mut pool = self.start();
        Talk::greeted().wait_for_rule(pool.pid(), "threads[1] comm=pw-ladder");
        pool.say(&format!("have {threads}"));
        pool
    }
}

fn is_action(record: &Value, pid: u32, action: &str) -> bool {
    record["kind"] == "action" && record["pid"] == pid && record["action"] == action
}

/// Whether the kernel says that a process is in a frozen cgroup.
fn is_frozen(pid: u32) -> bool {
    contained::is_frozen(&contained::cgroup_of(pid))
}

const FREEZES: &str = "mode = \"enforce\"\n[[threads]]\ncomm = \"pw-ladder\"\nburst = false\nleak = false\n\
                       [threads.actions]\nnotice = [\"freeze\"]\n";

#[test]
fn steps_follow_each_other_while_the_alert_holds() {
    needs!(Root, Bpf);
    let scene = Scene::new(
        "mode = \"enforce\"\n[[threads]]\ncomm = \"pw-ladder\"\nlevels = [80]\nburst = false\nleak = false\n\
         [threads.actions]\nnotice = [\"freeze\", { do = \"thaw\", after = \"2s\" }, \
         { do = \"terminate\", after = \"1h\" }]\n",
    );
    let agent = scene.run();
    let mut pool = scene.pool(90);
    let pid = pool.pid();
    let frozen = agent.wait_for("the freeze", |record| is_action(record, pid, "freeze"));
    assert_eq!((text(&frozen["result"]), text(&frozen["occasion"])), ("verified", "notice"), "{frozen}");
    let thawed = agent.wait_for("the thaw", |record| is_action(record, pid, "thaw"));
    assert_eq!(text(&thawed["result"]), "verified", "{thawed}");
    assert!(
        number(&thawed["boot_ns"]) - number(&frozen["boot_ns"]) > 1_000_000_000,
        "after its time of grace"
    );
    assert_eq!(pool.hear(), "90");
    // The alert is over before the last step is due.
    pool.say("have 1");
    agent.wait_for("it is cleared", |record| record["kind"] == "cleared" && record["pid"] == pid);
    assert!(pool.lives());
    let records = agent.finish().records;
    let stopped = records.iter().rfind(|record| record["topic"] == "stopped").unwrap();
    let message = text(&stopped["message"]);
    assert!(message.ends_with("actions: freeze verified 1, thaw verified 1"), "{message}");
}

#[test]
fn what_a_person_froze_stays_the_persons() {
    needs!(Root, Bpf);
    let scene = Scene::new(FREEZES);
    let mut pool = scene.start();
    pool.say("have 90");
    assert_eq!(pool.hear(), "90");
    let pid = pool.pid();
    contained::done(pid, &["freeze"]);
    let agent = scene.run();
    let frozen = agent.wait_for("the freeze", |record| is_action(record, pid, "freeze"));
    assert_eq!(text(&frozen["result"]), "verified", "{frozen}");
    let records = agent.finish().records;
    assert!(records.iter().all(|record| record["undo"] != true), "{records:?}");
    assert!(is_frozen(pid));
    assert_eq!(contained::undo(pid).1, [contained::verified("freeze")]);
    contained::assert_nothing_is_left();
}

#[test]
fn a_rule_may_end_the_processes_that_it_names() {
    needs!(Root, Bpf);
    for (action, by) in [("terminate", Signal::SIGTERM), ("kill", Signal::SIGKILL)] {
        let scene = Scene::new(&FREEZES.replace("freeze", action));
        let agent = scene.run();
        let mut pool = scene.pool(90);
        let pid = pool.pid();
        let ended = agent.wait_for("its end", |record| is_action(record, pid, action));
        assert_eq!((text(&ended["result"]), text(&ended["occasion"])), ("verified", "notice"), "{ended}");
        assert_eq!(pool.end().signal(), Some(by as i32));
        agent.finish();
    }
}

#[test]
fn in_observe_mode_it_is_told_what_would_be_done() {
    needs!(Root, Bpf);
    let scene = Scene::new(&FREEZES.replace("enforce", "observe"));
    let agent = scene.run();
    let mut pool = scene.pool(90);
    let pid = pool.pid();
    let would = agent.wait_for("what would be done", |record| is_action(record, pid, "freeze"));
    assert_eq!((text(&would["result"]), text(&would["mode"])), ("would", "observe"), "{would}");
    assert_eq!(pool.hear(), "90");
    assert!(!is_frozen(pid));
    agent.finish();
}

#[test]
fn the_agents_end_takes_back_what_it_did() {
    needs!(Root, Bpf);
    let scene = Scene::new(FREEZES);
    let agent = scene.run();
    let mut pool = scene.pool(90);
    let pid = pool.pid();
    agent.wait_for("the freeze", |record| is_action(record, pid, "freeze"));
    assert!(is_frozen(pid));
    let records = agent.finish().records;
    let undone = records.iter().find(|record| is_action(record, pid, "freeze") && record["undo"] == true);
    assert_eq!(text(&undone.unwrap()["result"]), "verified", "{undone:?}");
    assert!(!is_frozen(pid));
    assert_eq!(pool.hear(), "90");
}

#[test]
fn what_a_killed_agent_left_frozen_is_thawed() {
    needs!(Root, Bpf);
    let scene = Scene::new(FREEZES);
    for by_the_next_agent in [false, true] {
        let mut agent = scene.run();
        let mut pool = scene.pool(90);
        let pid = pool.pid();
        agent.wait_for("the freeze", |record| is_action(record, pid, "freeze"));
        agent.signal(Signal::SIGKILL);
        agent.wait();
        assert!(is_frozen(pid));
        if by_the_next_agent {
            let next = scene.run();
            let undone = next.wait_for("it is released", |record| is_action(record, pid, "freeze"));
            assert_eq!(
                (&undone["undo"], text(&undone["occasion"]), text(&undone["result"])),
                (&Value::Bool(true), "recovery", "verified"),
                "{undone}"
            );
            // It is above the level still, and frozen again by the rule: the end of this agent releases it.
            next.finish();
        } else {
            let kept = refusal(&["recover", "--keep"]);
            assert_eq!(kept.code, Some(0), "{kept:?}");
            assert!(is_frozen(pid), "{kept:?}");
            let recovered = refusal(&["recover"]);
            assert_eq!(recovered.code, Some(0), "{recovered:?}");
            assert!(recovered.stdout.contains("undo freeze: verified"), "{recovered:?}");
        }
        assert!(!is_frozen(pid));
        assert_eq!(pool.hear(), "90");
    }
}

#[test]
fn an_alert_names_the_code_that_creates_the_threads() {
    needs!(Root, Bpf);
    let agent = Agent::run(&[] as &[&str]);
    let program = script("threads.py");
    let mut pool = Started::new(Command::new("python3").arg(&program));
    pool.say("have 150");
    assert_eq!(pool.hear(), "150");
    let pid = pool.pid();
    let diagnosis =
        agent.wait_for("the diagnosis", |record| record["kind"] == "diagnosis" && record["pid"] == pid);
    assert_eq!(
        (text(&diagnosis["result"]), text(&diagnosis["occasion"])),
        ("cause", "warning"),
        "{diagnosis}"
    );
    let source = fs::read_to_string(&program).unwrap();
    let line = 1 + source.lines().position(|line| line.contains("Thread(")).unwrap();
    let expected = format!("{}:{line}", program.display());
    assert!(text(&diagnosis["headline"]).starts_with(&expected), "{expected}: {diagnosis}");
    agent.finish();
}
