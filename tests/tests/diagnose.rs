//! `diagnose` names the code that creates threads, in real programs that leak.

use std::process::Command;

use procwatch_tests::{Agent, Leak, Refusal, Started, needs, refusal, script, text, texts};
use serde_json::Value;

/// Above the default level, and far from what any of the programs has besides.
const THREADS: u32 = 100;

fn diagnose(pid: u32) -> (Value, Refusal) {
    let run = refusal(&["diagnose", &pid.to_string(), "--json"]);
    let answer = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"));
    (answer, run)
}

fn of(program: &Started) -> Value {
    let (answer, run) = diagnose(program.pid());
    assert_eq!(run.stderr, "", "{answer}");
    answer
}

/// The hint of that name.
fn hint<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let hints = answer["hints"].as_array().unwrap();
    hints.iter().find(|hint| hint["name"] == name).unwrap_or_else(|| panic!("no {name} in {hints:?}"))
}

/// What is not named as it should be, and how many were asked about.
fn misses(leaks: &[Leak], look: impl Fn(&Leak, &Value)) -> Vec<String> {
    let mut misses = Vec::new();
    for leak in leaks {
        let program = leak.leaked(THREADS);
        let answer = of(&program);
        if !leak.expected().is_met_by(&answer["cause"], leak) {
            misses.push(format!("{}: {:?} and not {}", leak.name(), leak.expected(), answer["cause"]));
        }
        assert_eq!(answer["work"]["stopped_ms"], 0, "{answer}");
        look(leak, &answer);
    }
    misses
}

/// Nobody saw the threads being made: the source and the live threads have to tell.
#[test]
fn names_the_line_of_python_programs_without_an_agent() {
    needs!(Root);
    let leaks = Leak::python();
    let misses = misses(&leaks, |_, answer| assert_eq!(answer["counted"], Value::Null));
    assert!(leaks.len() >= 18, "{leaks:?}");
    assert!(misses.len() * 20 <= leaks.len(), "{} of {}:\n{}", misses.len(), leaks.len(), misses.join("\n"));
}

/// At least 19 of 20 programs that leak in different styles.
#[test]
fn names_the_code_of_programs_that_an_agent_watches() {
    needs!(Root, Bpf);
    let agent = Agent::run::<&str>(&[]);
    let leaks = [Leak::native(), Leak::python()].concat();
    let misses = misses(&leaks, |leak, answer| {
        let counted = &answer["counted"];
        assert!(counted["creations"].as_u64().is_some_and(|it| it > 60), "{}: {answer}", leak.name());
        let sum: u64 =
            answer["creators"].as_array().unwrap().iter().map(|it| it["count"].as_u64().unwrap()).sum();
        let unkept = counted["unkept"].as_u64().unwrap();
        assert_eq!(Some(sum + unkept), counted["creations"].as_u64(), "{}: {answer}", leak.name());
    });
    agent.finish();
    assert!(leaks.len() >= 24, "{leaks:?}");
    assert!(misses.len() * 20 <= leaks.len(), "{} of {}:\n{}", misses.len(), leaks.len(), misses.join("\n"));
}

#[test]
fn patterns_have_hints_where_they_stand() {
    needs!(Root);
    let rows = [
        (
            "executor_per_call.py",
            "executor-per-call",
            "ThreadPoolExecutor(",
            "ThreadPoolExecutors live at once",
        ),
        ("submit_per_request.py", "executor-per-call", "ThreadPoolExecutor(", "99 ThreadPoolExecutors live"),
        ("thread_pool.py", "executor-per-call", "ThreadPool(3)", "ThreadPools live at once"),
        ("to_thread.py", "to-thread-per-call", "asyncio.to_thread(", "99 workers of executors"),
        ("run_in_executor.py", "to-thread-per-call", "run_in_executor(", "99 workers of executors"),
        ("timer_chain.py", "timer-chain", "threading.Timer(", "99 timers live"),
        ("mixin_server.py", "thread-per-request", "class Server(", "answer one request each"),
        ("watchdog_like.py", "inotify-without-bound", "Observer()", "inotify descriptors with"),
        ("process_iter.py", "psutil-process-iter", "psutil.process_iter(", "inside psutil.process_iter"),
    ];
    for (source, name, code, evidence) in rows {
        let leak = Leak::of(source);
        let program = leak.leaked(THREADS);
        let answer = of(&program);
        let hint = hint(&answer, name);
        assert_eq!(
            (text(&hint["file"]), hint["line"].as_u64()),
            (leak.path(), Some(leak.line_with(code))),
            "{hint}"
        );
        assert!(texts(&hint["evidence"])[0].contains(evidence), "{hint}");
    }
}

#[test]
fn threads_are_grouped_by_name_and_frames() {
    needs!(Root);
    let program = Leak::of("subclass.py").leaked(THREADS);
    let answer = of(&program);
    assert_eq!(answer["runtime"], "python");
    assert_eq!(answer["now"]["threads"], THREADS);
    let names: u64 = answer["names"].as_array().unwrap().iter().map(|it| it["count"].as_u64().unwrap()).sum();
    assert_eq!(names, u64::from(THREADS));
    let largest = &answer["stacks"][0];
    assert_eq!(largest["count"], THREADS - 1);
    assert_eq!(largest["frames"][0]["function"], "Worker.run");
}

#[test]
fn the_first_line_for_people_names_the_line() {
    needs!(Root);
    let leak = Leak::of("decorator.py");
    let program = leak.leaked(THREADS);
    let run = refusal(&["diagnose", &program.pid().to_string()]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let first = run.stdout.lines().next().unwrap();
    let line = leak.line_with("EXPECT");
    let wanted =
        format!("{}:{line} in background.<locals>.wrapper: creates the 100 threads of python3", leak.path());
    assert!(first.starts_with(&wanted), "{first}");
}

#[test]
fn without_a_leak_no_cause_is_an_answer() {
    needs!(Root);
    let sleep = Started::new(Command::new("sleep").arg("600"));
    let (answer, run) = diagnose(sleep.pid());
    assert_eq!((run.code, &answer["cause"]), (Some(1), &Value::Null), "{run:?}");
    assert_eq!(answer["names"][0]["name"], "sleep");
}

#[test]
fn who_cannot_be_looked_at_is_told() {
    needs!(Root);
    let mut sleep = Started::new(Command::new("sleep").arg("600"));
    sleep.kill();
    let gone = refusal(&["diagnose", &sleep.pid().to_string()]);
    assert_eq!(gone.code, Some(2));
    assert!(gone.stderr.contains(&format!("there is no process {}", sleep.pid())), "{gone:?}");
    let kernel = refusal(&["diagnose", "2"]);
    assert_eq!(kernel.code, Some(2), "{kernel:?}");
}

#[test]
fn bad_creators_are_refused() {
    needs!(Root);
    // The harness gives an empty standard input.
    let run = refusal(&["diagnose", &std::process::id().to_string(), "--creators", "-"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.stderr.contains("--creators: standard input: EOF"), "{run:?}");
}

#[test]
fn hostile_text_is_escaped() {
    needs!(Root);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a\x1b[2J.py");
    let code = std::fs::read_to_string(script("../leaks/start_new_thread.py")).unwrap();
    std::fs::write(&file, code.replace("  # EXPECT", "  # \x1b[31m")).unwrap();
    let mut program = Started::new(Command::new("python3").arg(&file).arg("60"));
    assert_eq!(program.hear(), "full");
    let run = refusal(&["diagnose", &program.pid().to_string()]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("a\\x1b[2J.py:12 in subscribe"), "{run:?}");
    assert!(run.stdout.contains("# \\x1b[31m"), "{run:?}");
    assert!(!run.stdout.contains('\x1b'), "{run:?}");
}

#[test]
fn all_above_normal_are_listed() {
    needs!(Root, Bpf);
    let many = Leak::of("target_loop.py").leaked(THREADS);
    let few = Leak::of("start_new_thread.py").leaked(20);
    let run = refusal(&["diagnose", "--all", "--json"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    let lines: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (total, listed) = lines.split_last().unwrap();
    let of = |pid: u32| listed.iter().find(|it| it["pid"] == pid);
    let found = of(many.pid()).unwrap_or_else(|| panic!("{run:?}"));
    assert_eq!((&found["threads"], &found["user"]), (&Value::from(THREADS), &Value::from("root")));
    assert!(text(&found["command"]).contains("target_loop.py"), "{found}");
    assert_eq!(of(few.pid()), None);
    assert_eq!(total["above_normal"], listed.len());
    let threads: u64 = listed.iter().map(|it| it["threads"].as_u64().unwrap()).sum();
    assert!(total["threads"].as_u64().unwrap() >= threads + 20, "{total}");
    let counts: Vec<u64> = listed.iter().map(|it| it["threads"].as_u64().unwrap()).collect();
    assert!(counts.is_sorted_by(|a, b| a >= b), "{counts:?}");
}
