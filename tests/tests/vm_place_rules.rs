//! Rules of placement on a stock machine: none of them is mistaken for another, and what is not theirs is left alone.

use std::fs;

use nix::sys::signal::Signal;
use procwatch_tests::{
    Agent,
    guest::{SHELL, cgroup_of, done, enforcing, is_inside, pid_of, session},
    needs, refusal, text, until,
};
use serde_json::Value;

/// The rule that is shipped.
const AIMGRS: &str = "[[place]]\nuser = \"aimgr\"\nslice = \"user-1003.slice\"\n";

/// A rule for a user who is not there.
const OTHERS: &str = "[[place]]\nuid = 1004\nslice = \"ai.slice\"\n";

#[test]
fn a_stray_that_waits_is_not_taken_for_one_of_another_rule() {
    needs!(Vm);
    let (_surroundings, mut agent) = enforcing(AIMGRS);
    agent.signal(Signal::SIGSTOP);
    let mut shell = session("desk", &["su", "aimgr", "-c", SHELL]);
    let pid = pid_of(&mut shell);
    assert!(!is_inside(&cgroup_of(pid).unwrap()), "nobody is there to move it");
    agent.signal(Signal::SIGKILL);
    agent.wait();
    // The number that its record bears is that of another rule by now.
    let (_surroundings, next) = enforcing(&format!("{OTHERS}{AIMGRS}"));
    until("it is inside", || is_inside(&cgroup_of(pid).expect("it lives")).then_some(()));
    shell.say("end");
    assert!(shell.end().success());
    let records = next.finish().records;
    let armed = records.iter().find(|record| record["topic"] == "armed").unwrap();
    let waited = text(&armed["message"]);
    assert!(waited.contains("took over") && !waited.contains(" 0 urgent records"), "{waited}");
    let outcomes: Vec<_> =
        records.iter().filter(|it| it["kind"] == "outcome" && it["pid"] == pid).collect();
    assert!(!outcomes.is_empty() && outcomes.iter().all(|it| is_inside(text(&it["to"]))), "{outcomes:?}");
}

#[test]
fn a_unit_of_somebodys_that_bears_our_name_is_not_touched() {
    needs!(Vm);
    let unit = "procwatch-ai.service";
    fs::write(format!("/run/systemd/system/{unit}"), "[Service]\nSlice=ai.slice\nExecStart=sleep 600\n").unwrap();
    done("systemctl", &["daemon-reload"]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("procwatch.toml");
    let config = config.to_str().unwrap();
    fs::write(config, format!("mode = \"enforce\"\n{OTHERS}")).unwrap();
    let show = |property: &str| done("systemctl", &["show", "--value", "--property", property, unit]);
    for (order, state) in [("start", "active"), ("stop", "inactive")] {
        done("systemctl", &[order, unit]);
        let main = show("MainPID");
        let refused = refusal(&["run", "--config", config]);
        assert!(refused.code != Some(0) && refused.stderr.contains("that procwatch has not made"), "{refused:?}");
        assert_eq!((show("ActiveState").trim(), show("MainPID")), (state, main), "it is as it was");
    }
}

#[test]
fn what_a_new_rule_needs_outlives_the_rule_before() {
    needs!(Vm);
    let unit = "procwatch-ai.service";
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("procwatch.toml");
    let write = |text: &str| fs::write(&config, format!("mode = \"enforce\"\n{text}")).unwrap();
    let main = || done("systemctl", &["show", "--value", "--property=MainPID", unit]);
    let shared = format!("{OTHERS}[[place]]\nuid = 1005\nslice = \"ai.slice\"\n");
    let scopes = format!("backend = \"scope\"\n{OTHERS}");
    write(&shared);
    let agent = Agent::run(&["--config".as_ref(), config.as_os_str()]);
    let before = main();
    assert_ne!(before.trim(), "0");
    let bad = format!("{scopes}[[place]]\nuid = 1006\nslice = \"/no/such\"\n");
    let steps = [(OTHERS, "reloaded"), (&*bad, "refused"), (&*scopes, "reloaded")];
    for (number, (text_of_config, topic)) in steps.into_iter().enumerate() {
        write(text_of_config);
        agent.signal(Signal::SIGHUP);
        let answer = |it: &Value| ["reloaded", "refused"].contains(&it["topic"].as_str().unwrap_or_default());
        let answer = agent.wait_for_many(number + 1, "an answer to SIGHUP", answer)[number].clone();
        assert_eq!(text(&answer["topic"]), topic, "{answer}");
        assert_eq!(main(), before, "the unit runs on: {answer}");
    }
    agent.finish();
    assert_eq!(main().trim(), "0", "nobody needs it any more");
}
