//! A kernel that cannot refuse threads by itself: the cgroup of the process does, or the agent does not start.

use std::{fs, process::Command};

use procwatch_tests::{Agent, Started, needs, number, refusal, text};

fn config(on_missing: &str) -> tempfile::NamedTempFile {
    let config = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let text = format!(
        "mode = \"enforce\"\n[[threads]]\nargv = \"*capped-by-cgroup*\"\ncap = 40\non-missing = \"{on_missing}\"\n"
    );
    fs::write(config.path(), text).unwrap();
    config
}

#[test]
fn the_cgroup_refuses_where_the_kernel_programs_cannot() {
    needs!(Vm);
    let config = config("fallback");
    let agent = Agent::run(&["--config".as_ref(), config.path().as_os_str()]);
    let script = "import sys, threading\n\
                  sys.stdin.readline()\n\
                  e = threading.Event()\n\
                  try:\n    \
                      for i in range(200): threading.Thread(target=e.wait, daemon=True).start()\n\
                  except RuntimeError as error: print(i, error, flush=True)\n\
                  sys.stdin.readline()";
    let mut python = Started::new(Command::new("python3").args(["-c", script, "capped-by-cgroup"]));
    let pid = python.pid();
    let cap = agent.wait_for("its cap", |record| record["kind"] == "action" && record["pid"] == pid);
    assert_eq!((text(&cap["action"]), text(&cap["result"])), ("cap", "verified"), "{cap}");
    assert_eq!((number(&cap["limit"]), text(&cap["occasion"])), (40, "rule"), "{cap}");
    python.say("");
    assert_eq!(python.hear(), "39 can't start new thread");
    python.end();
    agent.finish();
}

#[test]
fn a_rule_may_demand_that_they_can() {
    needs!(Vm);
    let config = config("refuse");
    let refused = refusal(&["run", "--config", config.path().to_str().unwrap()]);
    assert_eq!((refused.code, &*refused.stdout), (Some(2), ""), "{refused:?}");
    let told = "threads[1] argv=*capped-by-cgroup*: this kernel cannot refuse threads (";
    assert!(
        refused.stderr.contains(told) && refused.stderr.contains("on-missing = \"fallback\""),
        "{refused:?}"
    );
}
