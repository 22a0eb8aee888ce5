//! `diagnose --patch`: a fix of the cause for a program that leaks now, and the same program without the leak.

use std::{fs, path::Path, process::Command};

use procwatch_tests::{Agent, Refusal, Started, needs, number, refusal, script, text, texts};
use serde_json::Value;

const THREADS: u64 = 60;

/// The program, started from a folder of its own.
fn start(file: &Path) -> Started {
    let mut program = Started::new(Command::new("python3").arg(file).arg(THREADS.to_string()));
    assert_eq!(program.hear(), "full");
    program
}

fn threads_of(program: &Started) -> u64 {
    fs::read_dir(format!("/proc/{}/task", program.pid())).unwrap().count() as u64
}

fn diagnose(program: &Started, options: &[&str]) -> Refusal {
    let pid = program.pid().to_string();
    let args: Vec<&str> = ["diagnose", &pid].into_iter().chain(options.iter().copied()).collect();
    refusal(&args)
}

fn answer(run: &Refusal) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"))
}

#[test]
fn one_executor_for_all_calls_is_proposed_applied_and_holds() {
    needs!(Root, Bpf);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("service.py");
    fs::copy(script("shared_executor.py"), &file).unwrap();
    let source = fs::read_to_string(&file).unwrap();
    // The kernel's count of creations is the proof.
    let agent = Agent::run::<&str>(&[]);
    let mut program = start(&file);
    assert_eq!(threads_of(&program), THREADS + 1);

    // Asked only, nothing is changed.
    let run = diagnose(&program, &["--patch"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    for line in [
        "patch    for executor-per-call: all calls share one executor",
        "-    executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix=\"handle\")",
        "+    executor = _handle_executor()",
    ] {
        assert!(run.stdout.lines().any(|it| it.starts_with(line)), "{line:?}: {}", run.stdout);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), source);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let answer = answer(&diagnose(&program, &["--patch", "--apply", "--json"]));
    let [patch] = &answer["patches"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!((text(&patch["hint"]), &patch["not_applied"]), ("executor-per-call", &Value::Null), "{patch}");
    assert_eq!(texts(&patch["remarks"]).len(), 1);
    let backup = text(&patch["backup"]);
    assert_eq!(fs::read_to_string(backup).unwrap(), source);
    assert!(fs::read_to_string(&file).unwrap().contains("\n    executor = _handle_executor()\n"));
    // The process runs what it ran, and now its file says something else.
    let again = diagnose(&program, &["--patch"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stdout.contains("patch    none for executor-per-call: the source is newer"), "{again:?}");
    assert!(program.end().success());

    let mut fixed = start(&file);
    assert_eq!(threads_of(&fixed), 1 + 4, "four workers for all calls");
    assert!(fixed.end().success());
    drop(agent);
}

#[test]
fn without_a_proof_there_is_no_patch() {
    needs!(Root, Bpf);
    // Nobody counted, and no thread is inside of the pattern now.
    let mut program = start(&script("shared_executor.py"));
    let answer = answer(&diagnose(&program, &["--patch", "--json"]));
    let patches = answer["patches"].as_array().unwrap();
    assert!(patches.iter().all(|it| it["diff"].is_null() && it["reason"] == "not-proved"), "{answer}");
    assert_eq!(number(&answer["now"]["threads"]), THREADS + 1);
    assert!(program.end().success());
    for args in [&["diagnose", "--all", "--patch"][..], &["diagnose", "1", "--apply"]] {
        let refused = refusal(args);
        assert_eq!(refused.code, Some(2), "{refused:?}");
    }
}
