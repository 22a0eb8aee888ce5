//! Threads are refused by the kernel: exactly so many live, and each refusal is counted.

use std::{fs, process::Command};

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

/// Tries to make as many threads. Returns what it said, and how many threads it has, the first among them.
fn tries(count: u32) -> (Started, String, usize) {
    let program = guest::program_for_all("tries");
    let mut tries = Started::new(Command::new(program).arg(count.to_string()));
    Talk::greeted().wait_for_rule(tries.pid(), "threads[1] comm=tries");
    tries.say("go");
    let said = tries.hear();
    let threads = fs::read_dir(format!("/proc/{}/task", tries.pid())).unwrap().count();
    (tries, said, threads)
}

fn refusals(records: &[Value], pid: u32) -> Vec<&Value> {
    records.iter().filter(|record| record["kind"] == "refused" && record["pid"] == pid).collect()
}

#[test]
fn a_cap_lets_exactly_that_many_threads_live() {
    needs!(Vm, Lsm);
    let (agent, _config) = run("enforce", "levels = false\ncap = 150");
    for _ in 0..100 {
        let (mut process, said, threads) = tries(250);
        assert_eq!((&*said, threads), ("made 149 refused 101 error 11", 150));
        let pid = process.pid();
        process.end();
        let whole = agent.wait_for("the whole count", |record| {
            record["kind"] == "refused" && record["pid"] == pid && record["cap"].is_null()
        });
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
fn in_observe_mode_nothing_is_refused() {
    needs!(Vm, Lsm);
    let (agent, _config) = run("observe", "levels = false\ncap = 150");
    let (mut process, said, threads) = tries(250);
    assert_eq!((&*said, threads), ("made 250 refused 0 error 0", 251));
    let pid = process.pid();
    process.end();
    let whole = agent.wait_for("the whole count", |record| {
        record["kind"] == "refused" && record["pid"] == pid && record["cap"].is_null()
    });
    assert_eq!((number(&whole["refused"]), &whole["enforced"]), (101, &Value::Bool(false)), "{whole}");
    agent.finish();
}

#[test]
fn python_says_that_it_cannot_start_a_thread() {
    needs!(Vm, Lsm);
    let (agent, _config) = run("enforce", "cap = 40\n[[threads]]\nargv = \"*capped-by-argv*\"\ncap = 60");
    let python = "import threading\n\
                  e = threading.Event()\n\
                  try:\n    \
                      for i in range(200): threading.Thread(target=e.wait, daemon=True).start()\n\
                  except RuntimeError as error: print(i, error)";
    assert_eq!(guest::done("python3", &["-c", python, "capped-by-argv"]), "59 can't start new thread\n");
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
