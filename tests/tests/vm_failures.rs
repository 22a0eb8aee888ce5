//! What goes wrong while processes are placed: an agent that dies or does not answer, a slice that is gone or spoilt.
//! Nobody is killed, nobody waits for ever, and what happened is told.

use std::{
    fs,
    io::ErrorKind,
    os::unix::process::ExitStatusExt as _,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use procwatch_tests::{
    Agent, Started,
    guest::{
        AIMGR, SHELL, SLICE, Surroundings, cgroup_of, done, enforcing, folder, is_inside, pid_of,
        processes_of, session, spoil_slice,
    },
    has_bpf_lsm, needs, number, start, text, until,
};
use serde_json::Value;

/// The longest time to hold that a rule may have.
const LONGEST: &str = "2s";

/// The shipped rule, holding this long.
fn rule(hold: &str) -> String {
    format!(
        "[[place]]\nuser = \"aimgr\"\nslice = \"user-1003.slice\"\nfrom = [\"user.slice\"]\nhold = \"{hold}\"\n"
    )
}

/// The agent with a rule that holds this long.
fn holding(hold: &str) -> (Surroundings, Agent) {
    enforcing(&rule(hold))
}

fn su() -> Started {
    session("desk", &["su", "aimgr", "-c", SHELL])
}

fn outcome(agent: &Agent, pid: u32) -> Value {
    agent.wait_for("an outcome", |record| record["kind"] == "outcome" && record["pid"] == pid)
}

fn moved(agent: &Agent, pid: u32) -> String {
    let outcome = outcome(agent, pid);
    assert_eq!(text(&outcome["result"]), "verified", "{outcome}");
    let there = cgroup_of(pid).unwrap();
    assert!(is_inside(&there), "{there}");
    there
}

fn end(mut shell: Started) {
    shell.say("end");
    assert!(shell.end().success(), "its session ends well");
}

/// The process of an `su` that is aimgr's already and not yet its shell.
fn becoming() -> u32 {
    until("a process that is about to become aimgr's shell", || {
        let comm = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        processes_of(AIMGR).into_iter().find(|pid| comm(pid).trim() == "su")
    })
}

#[test]
fn an_agent_that_is_killed_while_it_holds_lets_go() {
    needs!(Vm, Lsm);
    let (_surroundings, mut agent) = holding(LONGEST);
    agent.signal(Signal::SIGSTOP);
    // A shell that is quick to say that it is there.
    let mut shell = session("desk", &["su", "aimgr", "--shell", "/bin/sh", "-c", SHELL]);
    let held = becoming();
    let begun = Instant::now();
    agent.signal(Signal::SIGKILL);
    let pid = pid_of(&mut shell);
    assert!(begun.elapsed() < Duration::from_secs(2), "the kernel program saw the agent's end");
    assert_eq!(pid, held, "nobody was killed");
    let ended = agent.wait();
    assert_eq!(ended.status.signal(), Some(Signal::SIGKILL as i32));
    assert!(!is_inside(&cgroup_of(pid).unwrap()), "nobody was there to move it");
    // The next agent finds it.
    let (_surroundings, next) = holding("250ms");
    moved(&next, pid);
    end(shell);
    next.finish();
}

#[test]
fn without_an_agent_nobody_is_held() {
    needs!(Vm, Lsm);
    let (_surroundings, agent) = holding(LONGEST);
    // The kernel's part stays, and sees the session.
    assert_eq!(agent.kill().status.signal(), Some(Signal::SIGKILL as i32));
    let mut shell = su();
    let pid = pid_of(&mut shell);
    assert!(!is_inside(&cgroup_of(pid).unwrap()), "nobody was there to move it");
    let (_surroundings, next) = holding(LONGEST);
    moved(&next, pid);
    end(shell);
    let records = next.finish().records;
    let armed = records.iter().find(|record| record["topic"] == "armed").unwrap();
    assert!(text(&armed["message"]).contains("took over"), "{armed}");
    assert!(records.iter().all(|record| record["kind"] != "hold" || record["pid"] != pid));
}

#[test]
fn an_agent_that_does_not_answer_costs_the_time_of_the_rule() {
    needs!(Vm, Lsm);
    let (_surroundings, agent) = holding("250ms");
    agent.signal(Signal::SIGSTOP);
    let mut shell = su();
    let pid = pid_of(&mut shell);
    assert!(!is_inside(&cgroup_of(pid).unwrap()));
    agent.signal(Signal::SIGCONT);
    moved(&agent, pid);
    let hold = agent.wait_for("the hold is told", |record| record["kind"] == "hold" && record["pid"] == pid);
    assert_eq!(text(&hold["result"]), "deadline", "{hold}");
    let held_ms = number(&hold["held_ns"]) / 1_000_000;
    assert!((250..10_000).contains(&held_ms), "{hold}");
    end(shell);
    agent.finish();
}

#[test]
fn sessions_outlive_the_agent_and_the_next_one_goes_on() {
    needs!(Vm);
    let (_surroundings, mut agent) = holding("250ms");
    let mut first = su();
    let pid = pid_of(&mut first);
    let leaf = moved(&agent, pid);
    agent.signal(Signal::SIGKILL);
    agent.wait();
    assert_eq!(cgroup_of(pid).as_ref(), Some(&leaf));
    let (_surroundings, next) = holding("250ms");
    let mut second = su();
    let second_pid = pid_of(&mut second);
    moved(&next, second_pid);
    assert_eq!(cgroup_of(pid), Some(leaf), "what is inside is left in peace");
    end(first);
    end(second);
    next.finish();
}

#[test]
fn an_agent_may_die_at_any_step() {
    needs!(Vm);
    // Whom this rule ignores is known at an exec only: nothing is done before it, and so it is held in any case.
    let at_exec = rule("1s") + "ignore = { comms = [\"nobody-is-so\"] }\n";
    for step in ["decision", "outcome", "hold"] {
        let (_surroundings, mut agent) = enforcing(&at_exec);
        let mut shell = su();
        if step != "hold" || has_bpf_lsm() {
            agent.wait_for(step, |record| record["kind"] == step);
        }
        agent.signal(Signal::SIGKILL);
        let pid = pid_of(&mut shell);
        agent.wait();
        // Wherever the dead one left it, the next one has it inside.
        let (_surroundings, next) = holding("1s");
        until("it is inside", || is_inside(&cgroup_of(pid).expect("it lives")).then_some(()));
        end(shell);
        next.finish();
    }
}

#[test]
fn a_slice_that_is_stopped_under_us_is_made_again() {
    needs!(Vm);
    let (_surroundings, agent) = holding("250ms");
    let mut first = su();
    let pid = pid_of(&mut first);
    moved(&agent, pid);
    done("systemctl", &["stop", "user-1003.slice"]);
    assert!(cgroup_of(pid).is_some(), "nobody is killed");
    let mut second = su();
    let second_pid = pid_of(&mut second);
    moved(&agent, second_pid);
    end(first);
    end(second);
    done("systemctl", &["stop", "user-1003.slice"]);
    let mut third = su();
    let third_pid = pid_of(&mut third);
    moved(&agent, third_pid);
    end(third);
    agent.finish();
}

#[test]
fn a_slice_with_domain_controllers_takes_sessions_in() {
    needs!(Vm);
    let (_surroundings, agent) = holding("250ms");
    // From now on the slice itself refuses processes: EBUSY.
    fs::write(folder(SLICE).join("cgroup.subtree_control"), "+memory").unwrap();
    let mut shell = su();
    let pid = pid_of(&mut shell);
    moved(&agent, pid);
    end(shell);
    agent.finish();
}

#[test]
fn a_slice_that_is_in_use_refuses_a_bare_shell() {
    needs!(Vm);
    let (_surroundings, agent) = holding("250ms");
    fs::write(folder(SLICE).join("cgroup.subtree_control"), "+pids").unwrap();
    // What people write into it by hand would spoil it, and does while it is empty.
    let intruder = start("cat", &[""; 0]);
    let refused = fs::write(folder(SLICE).join("cgroup.procs"), intruder.pid().to_string()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ResourceBusy, "{refused}");
    agent.finish();
}

#[test]
fn a_slice_that_was_made_threaded_is_told_and_the_session_goes_on() {
    needs!(Vm);
    // Under systemd our unit keeps the slice in use, and it cannot come to this.
    let (_surroundings, agent) = enforcing(&format!("backend = \"cgroupfs\"\n{}", rule("250ms")));
    done("systemctl", &["stop", "user-1003.slice"]);
    until("the slice is gone", || (!folder(SLICE).exists()).then_some(()));
    let mut intruder = start("cat", &[""; 0]);
    spoil_slice(intruder.pid());
    let kind = fs::read_to_string(folder(SLICE).join("cgroup.type")).unwrap();
    assert_eq!(kind.trim(), "domain threaded");

    let mut shell = su();
    let pid = pid_of(&mut shell);
    let refused = outcome(&agent, pid);
    assert_eq!(text(&refused["result"]), "failed", "{refused}");
    assert!(text(&refused["error"]).contains("threaded"), "{refused}");
    assert!(!is_inside(&cgroup_of(pid).unwrap()), "it is as it was");
    end(shell);

    assert!(intruder.end().success());
    let mut next = su();
    let next_pid = pid_of(&mut next);
    moved(&agent, next_pid);
    end(next);
    agent.finish();
}
