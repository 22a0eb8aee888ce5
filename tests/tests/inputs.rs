//! Bad input is refused with one clear message and changes nothing.

use std::{fs, process::Command};

use procwatch_tests::{Agent, KernelObjects, Refusal, binary, for_everyone, needs, refusal};

fn assert_refused(refused: &Refusal, parts: &[&str]) {
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert_eq!(refused.stdout, "", "{refused:?}");
    for part in parts {
        assert!(refused.stderr.contains(part), "{part:?} is missing: {}", refused.stderr);
    }
    assert!(!refused.stderr.contains("panicked"), "{}", refused.stderr);
}

/// What a configuration with this text is refused with.
fn refusal_of_config(text: &str) -> (Refusal, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("procwatch.toml");
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (refusal(&["run", "--config", &file]), file)
}

#[test]
fn mistakes_in_a_configuration_are_named_with_file_line_and_field() {
    needs!(Root);
    for (text, line, parts) in [
        ("mode = 'observe'\ncolour = 'red'\n", 2, vec!["colour: unknown key"]),
        ("\nmod = 'observe'\n", 2, vec!["mod: unknown key", "mode"]),
        ("mode = 'enforced'\n", 1, vec!["mode: unknown mode", "did you mean \"enforce\"?"]),
        (
            "[[threads]]\nlevels = [80, 100, 90]\n",
            2,
            vec!["threads[1].levels: ", "90 after 100 does not rise"],
        ),
        ("[[threads]]\nlevels = [80, 80]\n", 2, vec!["80 after 80 does not rise"]),
        (
            "[[place]]\nuser = 'no-such-user'\nslice = 'a.slice'\n",
            2,
            vec!["place[1].user: unknown user \"no-such-user\""],
        ),
        ("[[place]\n", 1, vec!["not TOML"]),
        ("mode = 'observe'\n\n[[place]]\nuid = 0\nslice = 'a.slice'\n", 4, vec!["place[1].uid", "root"]),
    ] {
        let (refused, file) = refusal_of_config(text);
        let place = format!("procwatch: {file}:{line}: ");
        assert_refused(&refused, &parts);
        assert!(refused.stderr.starts_with(&place), "{place}: {}", refused.stderr);
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    }
}

#[test]
fn a_slice_that_does_not_exist_is_named_with_its_rule() {
    needs!(Root);
    let (refused, file) =
        refusal_of_config("[[place]]\nuid = 7\nslice = 'no-such-one.slice'\nfrom = ['/']\n");
    assert_refused(&refused, &[&file, "place[1]", "there is no such cgroup", "mkdir -p"]);
    let refused = refusal(&["watch", "--cgroup", "/no/such/cgroup"]);
    assert_refused(&refused, &["--cgroup", "/no/such/cgroup", "there is no such cgroup"]);
}

#[test]
fn a_configuration_that_is_missing() {
    needs!(Root);
    let refused = refusal(&["run", "--config", "/no/such.toml"]);
    assert_refused(&refused, &["/no/such.toml: there is no such file"]);
}

#[test]
fn options_that_make_no_sense() {
    needs!(Root);
    for (args, part) in [
        (&["watch", "--for", "10"][..], "a number with its unit is needed"),
        (&["watch", "--for", "0s"], "must be from 1ms"),
        (&["watch", "--count", "0"], "0 is not in 1.."),
        (&["watch", "--count", "many"], "invalid digit"),
        (&["watch", "--ring-kib", "5"], "must be a power of two"),
        (&["watch", "--comm", "a-name-of-16-byte"], "TASK_COMM_LEN"),
        (&["watch", "--children"], "--pid"),
        (&["watch", "--user", "no-such-user"], "no such user"),
        (&["watch", "--kind", "birth"], "invalid value 'birth'"),
        (&["watch", "--nonsense"], "unexpected argument"),
        (&["run", "--mode", "loud"], "invalid value 'loud'"),
    ] {
        assert_refused(&refusal(args), &[part]);
    }
}

#[test]
fn a_second_agent_is_told_of_the_first() {
    needs!(Root, Bpf);
    let agent = Agent::run(&[] as &[&str]);
    let before = KernelObjects::of_process(agent.pid());
    let holder = format!("pid {}", agent.pid());
    assert_refused(
        &refusal(&["run"]),
        &["another procwatch agent runs on this machine", &holder, "stop it first"],
    );
    assert_eq!(KernelObjects::of_process(agent.pid()), before, "the first is as it was");
    agent.finish();
}

#[test]
fn those_who_are_not_root_are_told_what_to_type() {
    needs!(Root);
    let (_folder, copy) = for_everyone(&binary());
    for command in ["watch", "run"] {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&copy)
            .arg(command)
            .output()
            .unwrap();
        let refused = Refusal {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert_refused(&refused, &["must run as root", &format!("sudo procwatch {command}")]);
    }
}
