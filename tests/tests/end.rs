//! The end comes at once and leaves nothing behind; and before it, silence costs nothing.

use std::{ffi::OsString, fs, thread, time::Duration};

use nix::sys::signal::Signal;
use procwatch_tests::{
    Agent, KernelObjects, Pool, compiled, kinds, needs, resident_kib, start, until, wake_ups,
};
use tempfile::TempDir;

/// What is promised.
const AT_ONCE: Duration = Duration::from_secs(1);
/// With what it waits for a reader, who may come yet.
const UNREAD: Duration = Duration::from_secs(2);

/// A configuration with every output, on files in memory: how long a disk takes to write its last page is not the agent's
/// to promise.
struct Room(TempDir);

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let room = folder.path().display();
        let config = format!(
            "[history]\npath = '{room}/history.db'\n[log]\npath = '{room}/log.jsonl'\n\
             [metrics]\nlisten = '{room}/metrics.sock'\n\
             [[outlet]]\nname = 'nobody'\nkind = 'webhook'\nurl = 'http://127.0.0.1:9/'\nseverity = 'emergency'\n"
        );
        fs::write(folder.path().join("procwatch.toml"), config).unwrap();
        Self(folder)
    }

    fn config(&self) -> [OsString; 2] {
        ["--config".into(), self.0.path().join("procwatch.toml").into()]
    }
}

fn assert_ends(agent: Agent, signal: Signal, within: Duration) {
    let held = KernelObjects::of_process(agent.pid());
    assert!(held.programs.len() >= 4 && held.links.len() >= 4 && held.maps.len() >= 4, "{held:?}");
    assert_eq!(held.left(), held.programs.len() + held.links.len() + held.maps.len());
    let ended = agent.finish_by(signal);
    assert!(ended.took < within, "{signal}: {:?}", ended.took);
    assert_eq!(ended.stderr, "");
    // The kernel frees them when the last program that runs has left.
    until("nothing left in the kernel", || (held.left() == 0).then_some(()));
}

#[test]
fn of_run_by_either_signal() {
    needs!(Root, Bpf);
    let room = Room::new();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        assert_ends(Agent::run(&room.config()), signal, AT_ONCE);
    }
}

#[test]
fn of_watch_by_either_signal() {
    needs!(Root, Bpf);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        assert_ends(Agent::watch(&[] as &[&str]), signal, AT_ONCE);
    }
}

#[test]
fn of_watch_while_nobody_reads() {
    needs!(Root, Bpf);
    let mut forks = start(compiled("forks"), &["2000"]);
    let agent = Agent::watch_unread(&["--comm", "forks"]);
    forks.say("go");
    forks.hear();
    assert_ends(agent, Signal::SIGTERM, UNREAD);
}

#[test]
fn of_run_while_nobody_reads() {
    needs!(Root, Bpf);
    let room = Room::new();
    let agent = Agent::run_unread(&room.config());
    // Two alerts and their ends each, of some 500 bytes: more than a pipe holds.
    for _ in 0..60 {
        let mut pool = Pool::raw_clone();
        pool.threads(110);
        pool.end();
    }
    assert_ends(agent, Signal::SIGTERM, UNREAD);
}

#[test]
fn an_idle_agent_is_silent_and_asleep() {
    needs!(Root, Bpf);
    const WATCHED: Duration = Duration::from_secs(3);
    let room = Room::new();
    let agent = Agent::run(&room.config());
    let pid = agent.pid();
    // What it wrote last has been written when nothing stirs any more.
    let mut last = wake_ups(pid);
    until("a quiet agent", || {
        thread::sleep(Duration::from_millis(200));
        let now = wake_ups(pid);
        (std::mem::replace(&mut last, now) == now).then_some(())
    });
    let told = agent.records().len();
    let before = wake_ups(pid);
    // Not to let something happen, but to see that nothing does.
    thread::sleep(WATCHED);
    let wake_ups = wake_ups(pid) - before;
    let records = agent.records();
    if records.len() == told {
        assert!(wake_ups < WATCHED.as_secs(), "{wake_ups} wake-ups in {WATCHED:?}");
    } else {
        // Somebody else's process crossed a level meanwhile: that is worth a wake-up each.
        let kinds = kinds(&records);
        let events = kinds.get("alert").unwrap_or(&0) + kinds.get("cleared").unwrap_or(&0);
        assert!(wake_ups <= 3 * events as u64 + WATCHED.as_secs(), "{wake_ups}: {kinds:?}");
    }
    assert!(resident_kib(pid) < 20 << 10, "{} KiB resident", resident_kib(pid));
    agent.finish();
}
