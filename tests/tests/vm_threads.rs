//! Threads are refused by the kernel: exactly so many live, and each refusal is counted.

use std::{fs, os::unix::process::ExitStatusExt as _, process::Command};

use nix::sys::signal::Signal;
use procwatch_tests::{Agent, Started, Talk, guest, needs, number, refusal, text};
use serde_json::Value;

/// An agent with a rule for processes of that name.
fn run(mode: &str, rule: &str) -> (Agent, tempfile::NamedTempFile) {
    let config = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let text =
        format!("mode = \"{mode}\"\n[[threads]]\ncomm = \"tries\"\nburst = false\nleak = false\n{rule}\n");
    fs::write(config.path(), text).unwrap();
    (Agent::run(&["--config".as_ref(), config.path().as_os_str()]), config)
}

/// A process that has its rule and waits for the word to make as many threads.
fn waiting(count: u32) -> Started {
    let program = guest::program_for_all("tries");
    let tries = Started::new(Command::new(program).arg(count.to_string()));
    Talk::greeted().wait_for_rule(tries.pid(), "threads[1] comm=tries");
    tries
}

/// Has it make its threads. Returns what it said, and how many threads it has, the first among them.
fn go(tries: &mut Started) -> (String, usize) {
    tries.say("go");
    let said = tries.hear();
    (said, fs::read_dir(format!("/proc/{}/task", tries.pid())).unwrap().count())
}

/// The count of all that was refused to a process, which is told when it has ended.
fn whole_count(agent: &Agent, pid: u32) -> Value {
    agent.wait_for("the whole count", |record| {
        record["kind"] == "refused" && record["pid"] == pid && record["cap"].is_null()
    })
}

fn refusals(records: &[Value], pid: u32) -> Vec<&Value> {
    records.iter().filter(|record| record["kind"] == "refused" && record["pid"] == pid).collect()
}

#[test]
fn a_cap_lets_exactly_that_many_threads_live() {
    needs!(Vm, Lsm);
    let (agent, _config) = run("enforce", "levels = false\ncap = 150");
    for _ in 0..100 {
        let mut process = waiting(250);
        let (said, threads) = go(&mut process);
        assert_eq!((&*said, threads), ("made 149 refused 101 error 11", 150));
        let pid = process.pid();
        process.end();
        let whole = whole_count(&agent, pid);
        assert_eq!((number(&whole["refused"]), &whole["enforced"]), (101, &Value::Bool(true)), "{whole}");
        let records = agent.records();
        let told = refusals(&records, pid);
        assert_eq!(told.len(), 2, "the first at once, and one at the end: {told:?}");
        let cap = (number(&told[0]["cap"]), number(&told[0]["refused"]), number(&told[0]["threads"]));
        assert_eq!(cap, (150, 1, 150));
    }
    // Another process has no cap.
    let python = "import threading\n\
                  e = threading.Event()\n\
                  for _ in range(200): threading.Thread(target=e.wait, daemon=True).start()\n\
                  print(threading.active_count())";
    assert_eq!(guest::done("python3", &["-c", python]), "201\n");
    let records = agent.finish().records;
    assert_eq!(records.iter().filter(|record| record["kind"] == "refused").count(), 200);
}

#[test]
fn a_cap_goes_on_while_no_agent_lives() {
    needs!(Vm, Lsm);
    let cap = "levels = false\ncap = 150";
    let (agent, _config) = run("enforce", cap);
    let mut process = waiting(250);
    assert_eq!(agent.kill().status.signal(), Some(Signal::SIGKILL as i32));
    let (said, threads) = go(&mut process);
    assert_eq!((&*said, threads), ("made 149 refused 101 error 11", 150));
    // The next agent tells what was refused meanwhile.
    let (next, _config) = run("enforce", cap);
    let pid = process.pid();
    process.end();
    let whole = whole_count(&next, pid);
    assert_eq!((number(&whole["refused"]), &whole["enforced"]), (101, &Value::Bool(true)), "{whole}");
    let records = next.finish().records;
    let armed = records.iter().find(|record| record["topic"] == "armed").unwrap();
    assert!(text(&armed["message"]).contains("took over"), "{armed}");
    assert_eq!(refusals(&records, pid).len(), 2, "the first and the whole count");
}

#[test]
fn in_observe_mode_nothing_is_refused() {
    needs!(Vm, Lsm);
    let (agent, _config) = run("observe", "levels = false\ncap = 150");
    let mut process = waiting(250);
    let (said, threads) = go(&mut process);
    assert_eq!((&*said, threads), ("made 250 refused 0 error 0", 251));
    let pid = process.pid();
    process.end();
    let whole = whole_count(&agent, pid);
    assert_eq!((number(&whole["refused"]), &whole["enforced"]), (101, &Value::Bool(false)), "{whole}");
    agent.finish();
}

#[test]
fn python_says_that_it_cannot_start_a_thread() {
    needs!(Vm, Lsm);
    let (agent, _config) = run("enforce", "cap = 40\n[[threads]]\nargv = \"*capped-by-argv*\"\ncap = 60");
    let script = "import sys, threading\n\
                  sys.stdin.readline()\n\
                  e = threading.Event()\n\
                  try:\n    \
                      for i in range(200): threading.Thread(target=e.wait, daemon=True).start()\n\
                  except RuntimeError as error: print(i, error, flush=True)";
    let mut python = Started::new(Command::new("python3").args(["-c", script, "capped-by-argv"]));
    Talk::greeted().wait_for_rule(python.pid(), "threads[2] argv=*capped-by-argv*");
    python.say("");
    assert_eq!(python.hear(), "59 can't start new thread");
    let refused = agent.wait_for("the refusal", |record| record["kind"] == "refused");
    assert_eq!((number(&refused["cap"]), text(&refused["comm"])), (60, "python3"), "{refused}");
    agent.finish();
}

#[test]
fn a_step_caps_a_process_and_undo_lifts_it() {
    needs!(Vm, Lsm);
    let rule = "levels = false\n[[threads]]\nargv = \"*stepwise*\"\nlevels = [100]\n\
                [threads.actions]\nnotice = [{ do = \"cap\", threads = 120 }]";
    let (agent, _config) = run("enforce", rule);
    let script = "import sys, threading\n\
                  e = threading.Event()\n\
                  for line in sys.stdin:\n    \
                      try:\n        \
                          for _ in range(int(line)): threading.Thread(target=e.wait, daemon=True).start()\n    \
                      except RuntimeError: pass\n    \
                      print(threading.active_count(), flush=True)";
    let mut python = Started::new(Command::new("python3").args(["-c", script, "stepwise"]));
    let pid = python.pid();
    python.say("104");
    assert_eq!(python.hear(), "105");
    let cap = agent.wait_for("its cap", |record| record["kind"] == "action" && record["pid"] == pid);
    assert_eq!((text(&cap["action"]), text(&cap["result"]), number(&cap["limit"])), ("cap", "verified", 120));
    python.say("50");
    assert_eq!(python.hear(), "120");
    let undone = refusal(&["undo", &pid.to_string()]);
    assert_eq!(undone.code, Some(0), "{undone:?}");
    assert!(undone.stdout.contains("undo cap: verified"), "{undone:?}");
    python.say("30");
    assert_eq!(python.hear(), "150");
    python.end();
    agent.finish();
}
