//! What is done to a process by hand: state before, action, state after, undo, and all is as it was.
//!
//! What needs controllers or systemd is in `vm_contain.rs`.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::Path,
    process::Command,
};

use procwatch_tests::{
    Sandbox, Started, binary,
    contained::{
        STATE, as_of_an_agent, assert_nothing_is_left, cells, cgroup_of, contain, done, folder, is_frozen,
        recover, root_controllers, state, undo, verified,
    },
    for_everyone, needs, number, refusal, start, text, until,
};

/// A shell that answers, and does what it is told.
const SHELL: &str = "echo ready; while read -r line; do eval \"$line\"; done";

fn shell() -> Started {
    let mut shell = start("sh", &["-c", SHELL]);
    assert_eq!(shell.hear(), "ready");
    shell
}

/// A shell in a cgroup of a sandbox.
fn shell_in(sandbox: &Sandbox, cgroup: &str) -> Started {
    let mut shell = Started::new(&mut sandbox.command(cgroup, &["sh", "-c", SHELL]));
    assert_eq!(shell.hear(), "ready");
    shell
}

/// It runs: it answers.
fn assert_answers(shell: &mut Started) {
    shell.say("echo here");
    assert_eq!(shell.hear(), "here");
}

#[test]
fn a_frozen_process_is_in_a_cell_and_undo_brings_it_back() {
    needs!(Root);
    let sandbox = Sandbox::new(&["home"]);
    let (mut shell, mut other) = (shell_in(&sandbox, "home"), shell_in(&sandbox, "home"));
    let (pid, before) = (shell.pid(), state(shell.pid()));
    let record = done(pid, &["freeze"]);
    let cell = text(&record["cell"]);
    assert!(cell.starts_with(&sandbox.path("procwatch-cell-")), "beside its cgroup: {cell}");
    assert!(text(&record["detail"]).starts_with("frozen after "), "{record}");
    assert_eq!((number(&record["threads_before"]), number(&record["threads_after"])), (1, 1));
    assert_eq!((record["pid"].as_u64(), text(&record["cgroup"])), (Some(pid.into()), &before.0[..]));
    assert_eq!(cgroup_of(pid), cell);
    assert!(is_frozen(cell));
    assert_answers(&mut other);
    assert_eq!(fs::metadata(STATE).unwrap().permissions().mode() & 0o7777, 0o600);
    // Once more does no harm.
    assert_eq!(text(&done(pid, &["freeze"])["cell"]), cell);
    let (code, undone, detail) = undo(pid);
    assert_eq!((code, undone), (Some(0), vec![verified("freeze")]));
    assert!(detail.contains(&format!("back in {}", before.0)), "{detail}");
    assert_eq!(state(pid), before);
    assert_answers(&mut shell);
    assert_nothing_is_left();
    assert_eq!(undo(pid), (Some(0), vec![], String::new()), "nothing to do is well");
}

#[test]
fn who_has_a_cgroup_to_himself_stays_there() {
    needs!(Root);
    let sandbox = Sandbox::new(&["home"]);
    let mut shell = shell_in(&sandbox, "home");
    let (pid, before) = (shell.pid(), state(shell.pid()));
    let record = done(pid, &["freeze"]);
    assert_eq!(text(&record["cell"]), before.0);
    assert!(is_frozen(&before.0) && cells().is_empty());
    let thawed = done(pid, &["thaw"]);
    assert!(text(&thawed["detail"]).starts_with("thawed after "), "{thawed}");
    assert!(!is_frozen(&before.0));
    assert_eq!(state(pid), before);
    assert_answers(&mut shell);
    let (code, record) = contain(pid, &["thaw"]);
    assert_eq!((code, text(&record["result"])), (Some(1), "unavailable"), "we did not freeze it");
    assert_nothing_is_left();
}

#[test]
fn what_somebody_else_froze_stays_frozen() {
    needs!(Root);
    let sandbox = Sandbox::new(&["home"]);
    let shell = shell_in(&sandbox, "home");
    fs::write(sandbox.folder("home").join("cgroup.freeze"), "1").unwrap();
    until("it is frozen", || is_frozen(&sandbox.path("home")).then_some(()));
    done(shell.pid(), &["freeze"]);
    let (code, undone, _) = undo(shell.pid());
    assert_eq!((code, undone), (Some(0), vec![verified("freeze")]));
    assert!(is_frozen(&sandbox.path("home")));
    assert_nothing_is_left();
}

#[test]
fn children_that_were_born_in_the_cell_go_back_with_it() {
    needs!(Root);
    let sandbox = Sandbox::new(&["home"]);
    let (mut shell, _other) = (shell_in(&sandbox, "home"), shell_in(&sandbox, "home"));
    let home = cgroup_of(shell.pid());
    let cell = text(&done(shell.pid(), &["freeze"])["cell"]).to_owned();
    fs::write(folder(&cell).join("cgroup.freeze"), "0").unwrap();
    shell.say("sleep 600 & echo $!");
    let child: u32 = shell.hear().parse().unwrap();
    assert_eq!(cgroup_of(child), cell);
    assert_eq!(undo(shell.pid()).0, Some(0));
    assert_eq!([cgroup_of(shell.pid()), cgroup_of(child)], [home.clone(), home]);
    assert_nothing_is_left();
}

#[test]
fn a_way_back_that_is_gone_is_told() {
    needs!(Root);
    let sandbox = Sandbox::new(&["home"]);
    let (mut shell, mut other) = (shell_in(&sandbox, "home"), shell_in(&sandbox, "home"));
    let cell = text(&done(shell.pid(), &["freeze"])["cell"]).to_owned();
    other.end();
    sandbox.remove("home");
    let (code, undone, detail) = undo(shell.pid());
    assert_eq!((code, undone), (Some(1), vec![("freeze".to_owned(), "unverified".to_owned())]));
    assert!(detail.contains(&sandbox.path("home")) && detail.contains("is gone"), "{detail}");
    assert_answers(&mut shell);
    assert_eq!(cgroup_of(shell.pid()), cell, "it is free, where it is");
    // One of the same name is not the same.
    sandbox.make("home");
    let (code, _, detail) = undo(shell.pid());
    assert_eq!(code, Some(1), "{detail}");
    assert!(detail.contains("another cgroup of that name"), "{detail}");
    shell.end();
    assert_eq!(undo(shell.pid()).0, Some(0), "what is left of it goes with it");
    assert_nothing_is_left();
}

#[test]
fn a_stopped_process_goes_on() {
    needs!(Root);
    let mut shell = shell();
    let before = state(shell.pid());
    done(shell.pid(), &["stop"]);
    assert_eq!(state(shell.pid()), (before.0.clone(), true));
    let (code, undone, detail) = undo(shell.pid());
    assert_eq!((code, undone), (Some(0), vec![verified("stop")]));
    assert!(detail.starts_with("goes on after"), "{detail}");
    assert_eq!(state(shell.pid()), before);
    assert_answers(&mut shell);
    assert_nothing_is_left();
}

#[test]
fn an_end_is_measured_and_a_frozen_process_can_hear_of_it() {
    needs!(Root);
    let mut obedient =
        start("sh", &["-c", "trap 'echo bye; exit 3' TERM; echo ready; while :; do read -r line; done"]);
    assert_eq!(obedient.hear(), "ready");
    done(obedient.pid(), &["stop"]);
    done(obedient.pid(), &["freeze"]);
    let record = done(obedient.pid(), &["terminate"]);
    let detail = text(&record["detail"]);
    assert!(detail.starts_with("ended ") && detail.contains("thawed after"), "{detail}");
    assert_eq!((number(&record["threads_before"]), number(&record["threads_after"])), (1, 0));
    assert_eq!(obedient.hear(), "bye");
    assert_eq!(obedient.end().code(), Some(3));
    assert_nothing_is_left();

    let mut stubborn = start("sh", &["-c", "trap '' TERM; echo ready; read -r line"]);
    assert_eq!(stubborn.hear(), "ready");
    let (code, record) = contain(stubborn.pid(), &["terminate"]);
    assert_eq!((code, text(&record["result"])), (Some(1), "unverified"), "{record}");
    assert_eq!(text(&record["detail"]), "still there 10.0 s after SIGTERM");
    assert!(stubborn.lives());
    done(stubborn.pid(), &["freeze"]);
    let record = done(stubborn.pid(), &["kill"]);
    let detail = text(&record["detail"]);
    assert!(detail.contains("after SIGKILL; taken back: thawed"), "{detail}");
    assert_eq!(stubborn.end().signal(), Some(9));
    assert_nothing_is_left();
}

#[test]
fn what_the_hierarchy_cannot_do_is_unavailable_and_changes_nothing() {
    needs!(Root);
    let offered = root_controllers();
    let shell = shell();
    let before = state(shell.pid());
    for (controller, action) in [("cpu", &["throttle", "50"][..]), ("pids", &["cap", "5"])] {
        if offered.split_whitespace().any(|name| name == controller) {
            continue;
        }
        let (code, record) = contain(shell.pid(), action);
        assert_eq!((code, text(&record["result"])), (Some(1), "unavailable"), "{record}");
        assert!(text(&record["detail"]).contains(&format!("has no {controller} controller")), "{record}");
        assert_eq!((state(shell.pid()), record["cell"].is_null()), (before.clone(), true));
    }
    let (code, record) = contain(shell.pid(), &["restart"]);
    assert_eq!(code, Some(1));
    assert!(["unavailable", "refused"].contains(&text(&record["result"])), "{record}");
    assert_nothing_is_left();
}

#[test]
fn what_a_dead_agent_left_frozen_is_found_and_thawed() {
    needs!(Root);
    let sandbox = Sandbox::new(&["home"]);
    let (mut shell, mut other) = (shell_in(&sandbox, "home"), shell_in(&sandbox, "home"));
    let before = state(shell.pid());
    done(shell.pid(), &["freeze"]);
    assert_eq!(recover(&[]).1, [], "what was done by hand is the person's");
    assert_eq!(state(shell.pid()).0, cgroup_of(shell.pid()));
    as_of_an_agent();
    let (code, acts, records) = recover(&["--keep"]);
    assert_eq!((code, acts), (Some(0), vec![("freeze".to_owned(), "would".to_owned())]));
    assert_eq!(text(&records[0]["occasion"]), "recovery");
    assert!(is_frozen(&cgroup_of(shell.pid())));
    let (code, acts, records) = recover(&[]);
    assert_eq!((code, acts), (Some(0), vec![verified("freeze")]));
    assert_eq!(number(&records[0]["pid"]), u64::from(shell.pid()));
    assert_eq!(state(shell.pid()), before);
    assert_answers(&mut shell);
    assert_nothing_is_left();
    // One whose process has ended meanwhile.
    done(other.pid(), &["freeze"]);
    as_of_an_agent();
    other.kill();
    let (code, acts, _) = recover(&[]);
    assert_eq!((code, acts), (Some(0), vec![verified("freeze")]));
    assert_nothing_is_left();
}

#[test]
fn a_note_of_what_never_came_about_does_no_harm() {
    needs!(Root);
    let sandbox = Sandbox::new(&["home"]);
    let (mut shell, _other) = (shell_in(&sandbox, "home"), shell_in(&sandbox, "home"));
    let before = state(shell.pid());
    done(shell.pid(), &["freeze"]);
    as_of_an_agent();
    // As if the agent had died after its note and before the cell was made.
    let note = fs::read_to_string(STATE).unwrap().replace("\"done\": true", "\"done\": false");
    assert!(note.contains("\"done\": false"), "{note}");
    assert_eq!(undo(shell.pid()).0, Some(0));
    fs::write(STATE, note).unwrap();
    fs::set_permissions(STATE, fs::Permissions::from_mode(0o600)).unwrap();
    let (code, acts, records) = recover(&[]);
    assert_eq!((code, acts), (Some(0), vec![verified("freeze")]));
    assert!(text(&records[0]["detail"]).starts_with("its cgroup is gone"), "{records:?}");
    assert_eq!(state(shell.pid()), before);
    assert_answers(&mut shell);
    assert_nothing_is_left();
}

#[test]
fn a_cell_without_a_note_is_found_by_its_name() {
    needs!(Root);
    let sandbox = Sandbox::new(&["home"]);
    let (mut shell, _other) = (shell_in(&sandbox, "home"), shell_in(&sandbox, "home"));
    let cell = text(&done(shell.pid(), &["freeze"])["cell"]).to_owned();
    fs::remove_file(STATE).unwrap();
    sandbox.make("procwatch-cell-1-1");
    let (code, acts, _) = recover(&["--keep"]);
    assert_eq!((code, acts), (Some(0), vec![("freeze".to_owned(), "would".to_owned())]));
    assert!(is_frozen(&cell) && sandbox.folder("procwatch-cell-1-1").exists());
    let (code, acts, records) = recover(&[]);
    assert_eq!((code, acts), (Some(0), vec![verified("freeze")]));
    assert!(!sandbox.folder("procwatch-cell-1-1").exists(), "{records:?}");
    assert!(records.iter().any(|it| it["kind"] == "health"), "{records:?}");
    assert_answers(&mut shell);
    assert_eq!(cgroup_of(shell.pid()), cell, "where it came from is not known");
    shell.end();
    assert_eq!(recover(&[]).0, Some(0));
    assert_nothing_is_left();
}

#[test]
fn damaged_notes_are_set_aside_and_told() {
    needs!(Root);
    fs::create_dir_all("/run/procwatch").unwrap();
    fs::write(STATE, "{ \u{1b}[2J").unwrap();
    fs::set_permissions(STATE, fs::Permissions::from_mode(0o600)).unwrap();
    let told = refusal(&["undo", "--all"]);
    assert_eq!((told.code, &told.stderr[..]), (Some(0), ""), "{told:?}");
    let name = told.stdout.split_whitespace().find(|word| word.contains("contained.json.bad-"));
    let aside = name.unwrap_or_else(|| panic!("{told:?}")).trim_end_matches(',');
    assert_eq!(fs::read_to_string(aside).unwrap(), "{ \u{1b}[2J");
    assert!(!told.stdout.trim_end().contains(char::is_control), "{told:?}");
    fs::remove_file(aside).unwrap();
    assert_nothing_is_left();
}

/// A shell that has become a program of this name.
fn named(name: &str) -> (tempfile::TempDir, Started) {
    let (folder, copy) = for_everyone(Path::new("/bin/sh"));
    let program = copy.with_file_name(name);
    fs::rename(&copy, &program).unwrap();
    let mut started = start(&program, &["-c", SHELL]);
    assert_eq!(started.hear(), "ready");
    (folder, started)
}

fn assert_refused(pid: u32, reason: &str) {
    let before = state(pid);
    for action in [
        &["freeze"][..],
        &["throttle", "50"],
        &["cap", "5"],
        &["stop"],
        &["terminate"],
        &["restart"],
        &["kill"],
    ] {
        let (code, record) = contain(pid, action);
        let told = (code, text(&record["result"]), text(&record["reason"]));
        assert_eq!(told, (Some(1), "refused", reason), "{record}");
        assert_eq!(state(pid), before);
    }
}

#[test]
fn nobody_touches_those_whom_people_and_machines_need() {
    needs!(Root);
    assert_refused(1, "first-process");
    let kernel_thread = (2..100).find(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains("(kthreadd)")
    });
    if let Some(pid) = kernel_thread {
        assert_refused(pid, "kernel-thread");
    }
    let procwatch = start(binary(), &["keep"]);
    until("it is procwatch", || {
        fs::read_link(format!("/proc/{}/exe", procwatch.pid())).ok().filter(|exe| exe.ends_with("procwatch"))
    });
    assert_refused(procwatch.pid(), "procwatch");
    for (name, reason) in [
        ("sshd", "sshd"),
        ("systemd-something", "systemd"),
        ("dbus-daemon", "dbus"),
        ("Xorg", "display"),
        ("gnome-shell", "display"),
        ("sway", "display"),
    ] {
        let (_folder, mut program) = named(name);
        assert_refused(program.pid(), reason);
        assert_answers(&mut program);
        // By its program, whatever it calls itself.
        program.say("echo harmless >/proc/$$/comm; echo done");
        assert_eq!(program.hear(), "done");
        assert_refused(program.pid(), reason);
    }
    // By what it calls itself, whatever its program is.
    let mut pretender = shell();
    pretender.say("echo sshd >/proc/$$/comm; echo done");
    assert_eq!(pretender.hear(), "done");
    assert_refused(pretender.pid(), "sshd");
    assert_nothing_is_left();
}

#[test]
fn nobody_touches_a_shell_that_leads_a_session_with_a_terminal() {
    needs!(Root);
    let mut script = start("script", &["-qec", "echo in $$; read line; echo out $line", "/dev/null"]);
    let pid = script.hear().strip_prefix("in ").unwrap().parse().unwrap();
    assert_refused(pid, "session-leader");
    script.say("alive");
    let heard = script.hear_all();
    assert!(heard.iter().any(|line| line.trim_end() == "out alive"), "{heard:?}");
}

#[test]
fn bad_input_does_nothing() {
    needs!(Root);
    let shell = shell();
    let pid = shell.pid().to_string();
    for (words, part) in [
        (&["contain", "4194999", "freeze"][..], "there is no process 4194999"),
        (&["contain", "0", "freeze"], "0 is not in 1.."),
        (&["contain", "x", "freeze"], "invalid value 'x'"),
        (&["contain", &pid, "throttle", "0"], "0 is not in 1..=10000"),
        (&["contain", &pid, "cap", "0"], "0 is not in 1.."),
        (&["contain", &pid, "boil"], "'boil'"),
        (&["contain", &pid], "procwatch contain"),
        (&["undo"], "required"),
        (&["undo", &pid, "--all"], "cannot be used with"),
    ] {
        let told = refusal(words);
        assert_eq!(told.code, Some(2), "{words:?}: {told:?}");
        assert!(told.stderr.contains(part), "{words:?}: {told:?}");
        assert_eq!(told.stdout, "", "{words:?}");
    }
    let (_folder, copy) = for_everyone(&binary());
    for words in [&["contain", &pid, "freeze"][..], &["undo", "--all"], &["recover"]] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=64123", "--regid=64123", "--clear-groups"]).arg(&copy).args(words);
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(&format!("procwatch {} must run as root", words[0])), "{stderr}");
    }
    assert_nothing_is_left();
}

#[test]
fn lines_for_people_are_short() {
    needs!(Root);
    let shell = shell();
    let pid = shell.pid().to_string();
    for (words, begin) in [
        (&["contain", &pid, "stop"][..], "sh  stop: verified, stopped after "),
        (&["undo", &pid], "sh  undo stop: verified, goes on after "),
    ] {
        let told = refusal(words);
        assert_eq!(told.code, Some(0), "{told:?}");
        assert!(told.stdout.starts_with(&format!("{pid} {begin}")), "{told:?}");
        assert!(told.stdout.lines().count() == 1 && told.stdout.len() < 160, "{told:?}");
    }
    assert_eq!(refusal(&["undo", "--all"]).stdout, "procwatch holds nobody\n");
    assert_eq!(refusal(&["recover"]).stdout, "nothing is left over\n");
}
