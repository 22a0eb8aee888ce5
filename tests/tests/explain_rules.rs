//! `procwatch check --explain`: which `[[threads]]` rule holds for a process, and why the others do not.

use std::{fs, path::PathBuf, process::Command};

use procwatch_tests::{Refusal, SCENE_UID as UID, binary, for_everyone, needs, refusal, start, text, texts};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A configuration of this text, which everybody may read.
fn config(rules: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.toml");
    fs::write(&file, rules).unwrap();
    for_everyone(&file)
}

/// What `check --explain ASKED` answers.
fn explain(config: &str, asked: &[&str]) -> Refusal {
    refusal(&[&["check", "--config", config, "--explain"], asked].concat())
}

fn explained(config: &str, asked: &[&str]) -> Value {
    let answer = explain(config, &[asked, &["--json"]].concat());
    assert_eq!((answer.code, &*answer.stderr), (Some(0), ""), "{answer:?}");
    serde_json::from_str(&answer.stdout).unwrap()
}

const RULES: &str = "\
[[threads]]
uid = 4000000000
[[threads]]
comm = 'cat'
argv = 'cat --never'
[[threads]]
exe = '*/no-such-program'
[[threads]]
exe = '*/cat'
cgroup = '/*'
levels = [64]
burst = false
cap = 128
[[threads]]
comm = 'cat'
";

#[test]
fn a_process_that_runs_is_looked_at() {
    let (_folder, file) = config(RULES);
    let file = file.to_str().unwrap();
    let mut cat = start("cat", &["-"]);
    cat.say("here");
    assert_eq!(cat.hear(), "here");
    let pid = cat.pid().to_string();

    let told = explained(file, &[&pid]);
    assert_eq!((told["pid"].as_u64(), text(&told["comm"])), (Some(u64::from(cat.pid())), "cat"));
    assert_eq!(texts(&told["argv"]), ["cat", "-"]);
    assert!(text(&told["exe"]).ends_with("/cat"), "{told}");
    assert_eq!(text(&told["rule"]), "threads[4] exe=*/cat cgroup=/*");
    assert_eq!(text(&told["location"]), format!("{file}:8"));
    let rules: Vec<_> = told["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| (text(&rule["rule"]), text(&rule["verdict"]), rule["why"].as_str().unwrap_or_default()))
        .collect();
    let uid = format!("uid is {}", told["uid"]);
    let exe = format!("exe is {}", text(&told["exe"]));
    assert_eq!(
        rules,
        [
            ("threads[1] uid=4000000000", "no", &*uid),
            ("threads[2] comm=cat argv=\"cat --never\"", "no", "argv is cat -"),
            ("threads[3] exe=*/no-such-program", "no", &*exe),
            ("threads[4] exe=*/cat cgroup=/*", "yes", ""),
            ("threads[5] comm=cat", "not-looked-at", ""),
            ("default", "not-looked-at", ""),
        ]
    );
    let means = &told["means"];
    assert_eq!((&means["levels"], &means["burst"]), (&json!([64]), &Value::Null));
    assert_eq!((&means["leak"], &means["cap"]), (&json!({ "marks": 4, "over_ms": 3_600_000 }), &json!(128)));

    let shown = explain(file, &[&pid]).stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with(&format!("{pid} cat of ")), "{shown}");
    assert!(lines[0].ends_with(&format!(": threads[4] exe=*/cat cgroup=/* ({file}:8)")), "{shown}");
    for line in [
        "  no   threads[2] comm=cat argv=\"cat --never\" (",
        "  yes  threads[4] exe=*/cat cgroup=/* (",
        "  -    default (built in): not looked at",
        "  levels     notice at 64 threads",
        "  cap        the kernel refuses more than 128 threads; without BPF LSM",
        "  mode       observe: ",
    ] {
        assert_eq!(lines.iter().filter(|it| it.starts_with(line)).count(), 1, "{line:?}: {shown}");
    }
    cat.end();
}

#[test]
fn a_command_line_is_taken_as_it_would_run() {
    let (_folder, file) =
        config("[[threads]]\nuser = 'root'\n[[threads]]\nargv = '*/watch.py*'\nlevels = [40]\n");
    let file = file.to_str().unwrap();
    let line = "/no/such/python3 /opt/x/watch.py -v";
    let told = explained(file, &[line, "--user", "4000000000"]);
    assert_eq!((text(&told["rule"]), &told["pid"]), ("threads[2] argv=*/watch.py*", &Value::Null));
    assert_eq!((text(&told["exe"]), text(&told["comm"])), ("/no/such/python3", "python3"));
    assert_eq!((&told["uid"], &told["cgroup"]), (&json!(4_000_000_000_u32), &Value::Null));
    assert_eq!(text(&explained(file, &[line, "--user", "root"])["rule"]), "threads[1] user=root");
}

#[test]
fn whoever_asks_is_answered() {
    needs!(Root);
    let (_config, file) = config("[[threads]]\nexe = '*'\n");
    let (_binary, copy) = for_everyone(&binary());
    let ask = |pid: &str| {
        let output = Command::new("setpriv")
            .args([&format!("--reuid={UID}"), &format!("--regid={UID}"), "--clear-groups"])
            .arg(&copy)
            .args(["check", "--json", "--explain", pid, "--config"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    // Whose program may not be looked at is not known to run any.
    let told = ask("1");
    assert_eq!((&told["exe"], text(&told["rule"])), (&Value::Null, "default"));
    assert_eq!(text(&told["rules"][0]["why"]), "exe is not known");
    assert_eq!(text(&told["protected"]), "the machine needs it");
}

#[test]
fn what_cannot_be_explained_is_told() {
    let (_folder, file) = config("");
    let file = file.to_str().unwrap();
    for (asked, part) in [
        (&["4000000"][..], "procwatch: there is no process 4000000\n"),
        (&["0"], "procwatch: there is no process 0\n"),
        (&["1", "--user", "root"], "--user belongs to a command line; process 1 has its own user"),
        (&["sh", "--user", "no-such-user"], "--user no-such-user: no such user"),
        (&[" "], "--explain: is empty; give a pid, or a command line such as"),
    ] {
        let answer = explain(file, asked);
        assert_eq!((answer.code, &*answer.stdout), (Some(2), ""), "{answer:?}");
        assert!(answer.stderr.contains(part), "{part:?} is missing: {answer:?}");
    }
    assert_eq!(refusal(&["check", "--user", "root"]).code, Some(2));
}

#[test]
fn a_rule_that_is_wrong_is_told_by_check_and_by_explain() {
    let (_folder, file) = config(
        "[[threads]]\nlevels = [40]\n[[threads]]\ncomm = 'sshd'\nactions = { burst = ['kill'] }\nprotekt = true\n",
    );
    let file = file.to_str().unwrap();
    let expected = [
        format!("{file}:3: threads[2]: can never be chosen, because threads[1] before it has no match key"),
        format!("{file}:6: threads[2].protekt: unknown key; did you mean \"protect\"?"),
    ];
    let explained = explain(file, &["1"]);
    assert_eq!((explained.code, &*explained.stdout), (Some(2), ""), "{explained:?}");
    let checked = refusal(&["check", "--config", file]);
    assert_eq!(checked.code, Some(2), "{checked:?}");
    let problems: Vec<&str> =
        explained.stderr.lines().map(|line| line.trim_start_matches("procwatch: ")).collect();
    assert_eq!(problems.len(), expected.len(), "{explained:?}");
    for (problem, expected) in problems.into_iter().zip(&expected) {
        assert!(problem.starts_with(expected), "{problem}");
        assert!(checked.stdout.lines().any(|line| line == problem), "{}", checked.stdout);
    }
}
