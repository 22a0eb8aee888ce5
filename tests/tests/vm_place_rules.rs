//! Rules of placement on a stock machine: none of them is mistaken for another, and what is not theirs is left alone.

use std::{fs, os::unix::fs::PermissionsExt as _};

use nix::sys::signal::Signal;
use procwatch_tests::{
    Agent,
    guest::{
        AIMGR, SHELL, cgroup_of, done, enforcing, folder, is_inside, pid_of, processes_of, program_for_all,
        session,
    },
    needs, refusal, start, text,
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
    let before = cgroup_of(pid);
    // The number that its record bears is that of another rule by now, and none is its own.
    let (_surroundings, next) = enforcing(OTHERS);
    let records = next.finish().records;
    let armed = records.iter().find(|record| record["topic"] == "armed").unwrap();
    let waited = text(&armed["message"]);
    assert!(waited.contains("took over") && !waited.contains(" 0 urgent records"), "{waited}");
    assert_eq!(cgroup_of(pid), before, "{records:?}");
    shell.say("end");
    assert!(shell.end().success());
}

#[test]
fn a_unit_of_somebodys_that_bears_our_name_is_not_touched() {
    needs!(Vm);
    let unit = "procwatch-ai.service";
    let file = format!("/run/systemd/system/{unit}");
    fs::write(&file, "[Service]\nSlice=ai.slice\nExecStart=sleep 600\n").unwrap();
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
        assert!(
            refused.code != Some(0) && refused.stderr.contains("that procwatch has not made"),
            "{refused:?}"
        );
        assert_eq!((show("ActiveState").trim(), show("MainPID")), (state, main), "it is as it was");
    }
    fs::remove_file(file).unwrap();
    done("systemctl", &["daemon-reload"]);
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

/// The outcome of a process' move, which was verified.
fn moved(agent: &Agent, pid: u32) -> String {
    let outcome = agent.wait_for("it is moved", |it| it["kind"] == "outcome" && it["pid"] == pid);
    assert_eq!(text(&outcome["result"]), "verified", "{outcome}");
    cgroup_of(pid).unwrap()
}

#[test]
fn a_users_own_manager_keeps_what_it_runs() {
    needs!(Vm);
    let mut login = session("aimgr", &["sh", "-c", SHELL]);
    let login_pid = pid_of(&mut login);
    let user = ["-u", "aimgr", "--", "env", "XDG_RUNTIME_DIR=/run/user/1003"];
    let order = |words: &[&'static str]| done("runuser", &[&user[..], words].concat());
    let begin = |unit: &'static str| {
        order(&[
            "systemd-run",
            "--user",
            "--scope",
            "--quiet",
            unit,
            "sh",
            "-c",
            "sleep 600 >/dev/null 2>&1 &",
        ]);
        order(&["systemd-run", "--user", "--quiet", "sleep", "600"]);
    };
    begin("--unit=before");
    let managed = || {
        let all = processes_of(AIMGR).into_iter().map(|pid| (pid, cgroup_of(pid).unwrap_or_default()));
        all.filter(|(_, cgroup)| cgroup.contains("/user@1003.service/")).collect::<Vec<_>>()
    };
    let before = managed();
    assert!(before.iter().any(|(_, cgroup)| cgroup.ends_with("/init.scope")), "{before:?}");
    let (surroundings, agent) = enforcing("[[place]]\nuser = \"aimgr\"\nslice = \"ai.slice\"\n");
    assert!(
        moved(&agent, login_pid).starts_with("/ai.slice/"),
        "a login of its own is taken from user.slice"
    );
    begin("--unit=after");
    let mut su = session("desk", &["su", "aimgr", "-c", SHELL]);
    let su_pid = pid_of(&mut su);
    assert!(moved(&agent, su_pid).starts_with("/ai.slice/"));
    let after = managed();
    assert!(after.len() >= before.len() + 2, "{after:?}");
    assert!(before.iter().all(|it| after.contains(it)), "{before:?} {after:?}");
    for (pid, cgroup) in &after {
        assert_eq!(surroundings.explain(*pid), "delegated-subtree", "{cgroup}");
    }
    for shell in [&mut login, &mut su] {
        shell.say("end");
        shell.end();
    }
    let records = agent.finish().records;
    let moved = |pid: &u32| records.iter().any(|it| it["kind"] == "outcome" && it["pid"] == *pid);
    assert!(!after.iter().any(|(pid, _)| moved(pid)), "{records:?}");
    done("systemctl", &["stop", "user@1003.service"]);
}

#[test]
fn a_user_of_another_rule_does_not_stay_in_our_leaf() {
    needs!(Vm);
    for backend in ["systemd", "scope"] {
        let (_surroundings, agent) = enforcing(&format!("backend = \"{backend}\"\n{AIMGRS}{OTHERS}"));
        let mut outer = session("desk", &["su", "aimgr", "-c", SHELL]);
        let outer_pid = pid_of(&mut outer);
        let leaf = moved(&agent, outer_pid);
        let enter = format!("echo $$ >{}/cgroup.procs", folder(&leaf).display());
        let become_other = "exec setpriv --reuid=1004 --regid=1004 --clear-groups sh -c";
        let mut inner = start("sh", &["-c", &format!("{enter}; {become_other} '{SHELL}'")]);
        let inner_pid = pid_of(&mut inner);
        let place = moved(&agent, inner_pid);
        assert!(place.starts_with("/ai.slice/"), "{backend}: {place}");
        assert_eq!(cgroup_of(outer_pid), Some(leaf), "{backend}");
        for shell in [&mut inner, &mut outer] {
            shell.say("end");
            shell.end();
        }
        agent.finish();
    }
}

#[test]
fn who_was_moved_elsewhere_since_is_left_there() {
    needs!(Vm);
    let elsewhere = "/elsewhere";
    fs::create_dir_all(folder(elsewhere)).unwrap();
    let (_surroundings, agent) = enforcing(AIMGRS);
    agent.signal(Signal::SIGSTOP);
    let mut shell = session("desk", &["su", "aimgr", "-c", SHELL]);
    let pid = pid_of(&mut shell);
    fs::write(folder(elsewhere).join("cgroup.procs"), pid.to_string()).unwrap();
    agent.signal(Signal::SIGCONT);
    let decision = agent.wait_for("it is judged", |it| it["kind"] == "decision" && it["pid"] == pid);
    assert_eq!(
        (text(&decision["reason"]), text(&decision["evidence"])),
        ("not-in-from", elsewhere),
        "{decision}"
    );
    shell.say("end");
    let ended = agent.finish();
    assert!(
        ended.records.iter().all(|it| it["kind"] != "outcome" || it["pid"] != pid),
        "{:?}",
        ended.records
    );
}

#[test]
fn who_is_about_to_run_an_ignored_program_waits_for_it() {
    needs!(Vm);
    let program = program_for_all("becomes");
    let begin = |argv: &[&str]| {
        let mut process = session("root", &[&[program.as_str(), "1003"], argv].concat());
        let pid = pid_of(&mut process);
        (process, pid)
    };
    let (mut ignored, ignored_pid) = begin(&["sleep", "600"]);
    let (mut other, other_pid) = begin(&["cat"]);
    let before = cgroup_of(ignored_pid);
    // Both were there before it.
    let (_surroundings, agent) = enforcing(&format!("{AIMGRS}ignore = {{ comms = [\"sleep\"] }}\n"));
    let mut su = session("desk", &["su", "aimgr", "-c", SHELL]);
    let su_pid = pid_of(&mut su);
    moved(&agent, su_pid);
    assert!(!is_inside(&cgroup_of(other_pid).unwrap()), "not by the program that it is about to leave");
    ignored.say("run");
    let decision = agent.wait_for("it is ignored", |it| it["kind"] == "decision" && it["pid"] == ignored_pid);
    assert_eq!(text(&decision["reason"]), "ignored", "{decision}");
    assert_eq!(cgroup_of(ignored_pid), before);
    other.say("run");
    assert!(is_inside(&moved(&agent, other_pid)));
    other.say("end");
    assert_eq!(other.hear(), "end");
    other.end();
    su.say("end");
    su.end();
    ignored.kill();
    agent.finish();
    done("kill", &[&ignored_pid.to_string()]);
}

#[test]
fn a_hold_is_told_of_the_exec_that_was_held() {
    needs!(Vm, Lsm);
    // Its uid is no occasion, so that the first exec is held; it cannot be carried out.
    let (_surroundings, agent) = enforcing(&format!("{AIMGRS}ignore = {{ comms = [\"nobody\"] }}\n"));
    let broken = "/tmp/broken";
    fs::write(broken, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(broken, fs::Permissions::from_mode(0o755)).unwrap();
    let program = program_for_all("becomes");
    let mut shell = session("root", &[&program, "1003", broken, "sh", "-c", SHELL]);
    let pid = pid_of(&mut shell);
    shell.say("run");
    assert_eq!(pid_of(&mut shell), pid);
    assert!(is_inside(&cgroup_of(pid).unwrap()));
    shell.say("end");
    shell.end();
    let records = agent.finish().records;
    let holds: Vec<_> = records.iter().filter(|it| it["kind"] == "hold" && it["pid"] == pid).collect();
    assert!(holds.is_empty(), "the one that was held never ran: {holds:?}");
}
