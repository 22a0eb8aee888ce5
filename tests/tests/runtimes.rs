//! Threads of runtimes that make them by themselves: the kernel's count is the same for all, and the diagnosis says what
//! it cannot read.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use procwatch_tests::{Agent, Started, needs, number, refusal, text};
use serde_json::Value;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/runtimes");

/// Compiles by that command, into a folder beside this program.
fn compiled(output: &str, compiler: &mut Command) -> PathBuf {
    let folder = std::env::current_exe().unwrap().with_file_name("runtimes");
    std::fs::create_dir_all(&folder).unwrap();
    let output = folder.join(output);
    let status = compiler.current_dir(&folder).env("GOCACHE", folder.join("cache")).status();
    assert!(status.expect("the compiler starts").success(), "{compiler:?}");
    output
}

/// Starts a program of 150 threads under an agent; each level below is told once, and the diagnosis knows the runtime.
fn is_seen(mut program: Command, runtime: &str) -> Value {
    let agent = Agent::run(&[] as &[&str]);
    let mut program = Started::new(program.arg("150"));
    let pid = program.pid();
    assert_eq!(program.hear(), "full");
    for level in [80, 100] {
        let alert = agent.wait_for("its alert", |record| {
            record["kind"] == "alert" && record["pid"] == pid && record["level"] == level
        });
        assert_eq!(number(&alert["threads"]), level, "{alert}");
    }
    let answer = refusal(&["diagnose", "--json", &pid.to_string()]);
    let answer: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(text(&answer["runtime"]), runtime, "{answer}");
    assert!(answer["runtime_note"].is_string() && number(&answer["counted"]["creations"]) > 100, "{answer}");
    program.end();
    let records = agent.finish().records;
    let levels = records
        .iter()
        .filter(|record| record["kind"] == "alert" && record["pid"] == pid && record["bound"] == "level");
    assert_eq!(levels.count(), 2);
    answer
}

#[test]
fn of_go() {
    needs!(Root, Bpf, Go);
    let source = Path::new(SOURCES).join("threads.go");
    let program = compiled("threads", Command::new("go").args(["build", "-o", "threads"]).arg(source));
    is_seen(Command::new(program), "go");
}

#[test]
fn of_the_jvm() {
    needs!(Root, Bpf, Jvm);
    let source = Path::new(SOURCES).join("Threads.java");
    let class = compiled("Threads.class", Command::new("javac").args(["-d", "."]).arg(source));
    let mut java = Command::new("java");
    java.arg("-cp").arg(class.parent().unwrap()).arg("Threads");
    let answer = is_seen(java, "jvm");
    let names = answer["names"].as_array().unwrap();
    assert!(names.iter().any(|group| group["name"] == "pool-N" && group["count"] == 150), "{names:?}");
}
