//! A machine that has no pid left, as after an explosion of processes: the agent cannot make a thread any more, and has those that
//! it needs.

use std::{fs, path::PathBuf, thread, time::Duration};

use procwatch_tests::{
    Agent, Talk,
    guest::{self, Unit},
    needs, text, until,
};

/// Longer than a thread of the agent's that has nothing to do would live if it were not kept.
const IDLE: Duration = Duration::from_secs(12);

/// Puts a process, as it is, into a cgroup that has no room for another thread.
fn confine(pid: u32) -> PathBuf {
    fs::write(guest::folder("/").join("cgroup.subtree_control"), "+pids").unwrap();
    let cgroup = guest::folder("/test-full");
    fs::create_dir(&cgroup).unwrap();
    fs::write(cgroup.join("cgroup.procs"), pid.to_string()).unwrap();
    let threads = fs::read_to_string(cgroup.join("pids.current")).unwrap();
    fs::write(cgroup.join("pids.max"), threads.trim()).unwrap();
    cgroup
}

/// Python that makes threads and stays.
const EXPLODE: &str = "e = threading.Event()\n\
                       for _ in range(70): threading.Thread(target=e.wait, daemon=True).start()\n\
                       time.sleep(600)";

#[test]
fn an_agent_that_can_make_no_thread_still_tells_and_acts() {
    needs!(Vm);
    let config = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let rule = "mode = \"enforce\"\n[[threads]]\ncomm = \"python3\"\nlevels = [60]\nburst = false\nleak = false\n\
                   [threads.actions]\nnotice = [{ do = \"throttle\", cpu = \"50%\" }, \"freeze\", \"terminate\"]\n";
    fs::write(config.path(), rule).unwrap();
    let agent = Agent::run(&["--config".as_ref(), config.path().as_os_str()]);
    let cgroup = confine(agent.pid());
    thread::sleep(IDLE);
    let word = config.path().with_extension("word");
    let script = format!(
        "import os, threading, time\nwhile not os.path.exists('{}'): time.sleep(0.01)\n{EXPLODE}",
        word.display()
    );
    let unit = Unit::start(&[], &["python3", "-c", &script]);
    Talk::greeted().wait_for_rule(unit.pid(), "threads[1] comm=python3");
    fs::write(&word, "").unwrap();
    let pid = unit.pid();
    let act = |action: &str| {
        agent.wait_for(action, |record| {
            record["kind"] == "action" && record["pid"] == pid && record["action"] == action
        })
    };
    for action in ["throttle", "freeze", "terminate"] {
        let told = act(action);
        assert_eq!(text(&told["result"]), "verified", "{told}");
    }
    agent.finish();
    until("nobody is in it", || fs::remove_dir(&cgroup).ok());
}
