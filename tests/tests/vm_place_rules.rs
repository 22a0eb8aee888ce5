//! Rules of placement on a stock machine: none of them is mistaken for another, and what is not theirs is left alone.

use std::fs;

use nix::sys::signal::Signal;
use procwatch_tests::{
    guest::{SHELL, cgroup_of, done, enforcing, is_inside, pid_of, session},
    needs, refusal, text, until,
};

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
