//! Rules about threads: which process has which, and the bounds that are no levels.

use std::{fs, io::Write as _, process::Command, thread, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use procwatch_tests::{
    Agent, KernelObjects, Pool, Started, Talk, compiled, needs, number, status_of, text, until,
};
use serde_json::Value;
use tempfile::NamedTempFile;

/// An agent with that configuration.
fn run(config: &str) -> (Agent, NamedTempFile) {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(config.as_bytes()).unwrap();
    let agent = Agent::run(&["--config".as_ref(), file.path().as_os_str()]);
    (agent, file)
}

fn is_alert(record: &Value, pid: u32, bound: &str) -> bool {
    record["kind"] == "alert" && record["pid"] == pid && record["bound"] == bound
}

/// `(bound, level)` of all alerts about a process.
fn alerts(records: &[Value], pid: u32) -> Vec<(&str, u64)> {
    let of_process = records.iter().filter(|record| record["kind"] == "alert" && record["pid"] == pid);
    of_process.map(|record| (text(&record["bound"]), number(&record["level"]))).collect()
}

/// `(state, threads)` by /proc.
fn state(pid: u32) -> (char, u32) {
    (status_of(pid, "State").chars().next().unwrap(), status_of(pid, "Threads").parse().unwrap())
}

/// The pool of glibc threads under another name.
fn pool_named(name: &str, folder: &tempfile::TempDir) -> Started {
    let program = folder.path().join(name);
    if !program.exists() {
        fs::copy(compiled("pthreads"), &program).unwrap();
    }
    Started::new(&mut Command::new(program))
}

fn have(pool: &mut Started, threads: u32) {
    pool.say(&format!("have {threads}"));
    assert_eq!(pool.hear(), threads.to_string());
}

#[test]
fn a_full_map_costs_a_process_its_rule_and_nobody_the_agent() {
    needs!(Root, Bpf);
    let program = Pool::pthreads().exe;
    let name = program.file_name().unwrap().to_str().unwrap();
    let name = &name[..name.len().min(15)];
    let rule = |levels: &str| format!("levels = {levels}\nburst = false\nleak = false\n");
    let (agent, _file) =
        run(&format!("[[threads]]\ncomm = \"{name}\"\n{}[[threads]]\n{}", rule("[60]"), rule("[70]")));
    assert!(KernelObjects::of_process(agent.pid()).fill("THREAD_CELLS") > 30_000);
    let mut pool = Pool::pthreads();
    let told = agent.wait_for("what a full map costs", |record| record["topic"] == "degraded");
    assert!(text(&told["message"]).starts_with("map THREAD_CELLS: "), "{told}");
    // It has the rule for all others.
    pool.threads(75);
    assert_eq!(agent.wait_for_event("alert", pool.pid())["level"], 70);
    let ended = agent.finish();
    assert!(ended.status.success(), "{ended:?}");
}

#[test]
fn a_burst_is_told_once_with_its_growth() {
    needs!(Root, Bpf);
    let (agent, _config) =
        run("[[threads]]\nlevels = false\nleak = false\nburst = { threads = 60, within = \"1s\" }\n");
    let mut pool = Pool::raw_clone();
    let pid = pool.pid();
    pool.threads(300);
    pool.threads(1);
    agent.wait_for("it is cleared", |record| record["kind"] == "cleared" && record["pid"] == pid);
    // It breathes.
    pool.threads(200);
    pool.threads(1);
    let mut second = Pool::raw_clone();
    second.threads(91);
    agent.wait_for("the second one", |record| is_alert(record, second.pid(), "burst"));
    let records = agent.finish().records;
    assert_eq!(alerts(&records, pid), [("burst", 60)]);
    let alert = records.iter().find(|record| is_alert(record, pid, "burst")).unwrap();
    assert_eq!((number(&alert["threads"]), number(&alert["growth"]["from"])), (91, 31), "{alert}");
    assert!(number(&alert["growth"]["took_ns"]) < 1_000_000_000, "{alert}");
    assert_eq!(alert["severity"], "warning");
}

#[test]
fn a_thread_for_each_request_is_no_burst() {
    needs!(Root, Bpf);
    let (agent, _config) =
        run("[[threads]]\nlevels = [400]\nleak = false\nburst = { threads = 50, within = \"10s\" }\n");
    let mut server = Pool::pthreads();
    server.threads(60);
    for _ in 0..100 {
        server.threads(75);
        server.threads(45);
    }
    let mut witness = Pool::pthreads();
    witness.threads(100);
    agent.wait_for("a real burst", |record| is_alert(record, witness.pid(), "burst"));
    let records = agent.finish().records;
    assert_eq!(alerts(&records, server.pid()), []);
}

#[test]
fn successive_heights_are_a_leak() {
    needs!(Root, Bpf);
    let (agent, _config) =
        run("[[threads]]\nlevels = [80, 1000]\nburst = false\nleak = { marks = 4, over = \"1s\" }\n");
    let gap = Duration::from_millis(340);
    let mut pool = Pool::raw_clone();
    // The heights of a start are one: this one is not 40, 50, 63 and 79.
    for threads in [40, 50, 63, 79, 99, 124, 155] {
        pool.threads(threads);
        // Heights are told apart by the time between them.
        thread::sleep(gap);
    }
    let alert = agent.wait_for("the leak", |record| is_alert(record, pool.pid(), "leak"));
    let growth = &alert["growth"];
    assert_eq!((number(&alert["level"]), number(&alert["threads"])), (4, 79), "{alert}");
    // The first height is where the floor was crossed, or a later one of the same growth.
    assert_eq!(number(&growth["from"]), 40, "{alert}");
    assert!(number(&growth["took_ns"]) >= 1_000_000_000, "{alert}");
    assert_eq!(number(&growth["next_level"]), 80, "{alert}");
    assert!(growth["per_hour"].as_f64().unwrap() > 1000.0, "{alert}");
    pool.threads(100);
    agent.wait_for("it is cleared", |record| record["kind"] == "cleared" && record["bound"] == "leak");
    let records = agent.finish().records;
    assert_eq!(alerts(&records, pool.pid()), [("leak", 4), ("level", 80)]);
}

#[test]
fn a_process_is_stopped_at_exactly_that_thread() {
    needs!(Root, Bpf);
    let folder = tempfile::tempdir().unwrap();
    let (agent, _config) = run("mode = \"enforce\"\n[[threads]]\ncomm = \"pw-stopped\"\nstop-at = 150\n");
    let mut stopped = Vec::new();
    for _ in 0..100 {
        let mut pool = pool_named("pw-stopped", &folder);
        let pid = pool.pid();
        Talk::greeted().wait_for_rule(pid, "threads[1] comm=pw-stopped");
        pool.say("have 400");
        agent.wait_for("it is stopped", |record| is_alert(record, pid, "stop"));
        until("it stands still", || (state(pid).0 == 'T').then_some(()));
        stopped.push(state(pid).1);
        // What was stopped can go on, and is not stopped again.
        kill(Pid::from_raw(pid as i32), Signal::SIGCONT).unwrap();
        assert_eq!(pool.hear(), "400");
    }
    assert_eq!(stopped, vec![150; 100]);
    let records = agent.finish().records;
    let stops = records.iter().filter(|record| record["bound"] == "stop").collect::<Vec<_>>();
    assert_eq!(stops.len(), 100);
    for stop in stops {
        assert_eq!((number(&stop["threads"]), &stop["stopped"]), (150, &Value::Bool(true)), "{stop}");
        assert_eq!(text(&stop["rule"]), "threads[1] comm=pw-stopped", "{stop}");
    }
}

#[test]
fn in_observe_mode_it_is_only_told() {
    needs!(Root, Bpf);
    let folder = tempfile::tempdir().unwrap();
    let (agent, _config) = run("[[threads]]\ncomm = \"pw-stopped\"\nstop-at = 150\n");
    let mut pool = pool_named("pw-stopped", &folder);
    Talk::greeted().wait_for_rule(pool.pid(), "threads[1] comm=pw-stopped");
    have(&mut pool, 300);
    let stop = agent.wait_for("the stop", |record| is_alert(record, pool.pid(), "stop"));
    assert_eq!((number(&stop["threads"]), &stop["stopped"]), (150, &Value::Bool(false)), "{stop}");
    agent.finish();
}

#[test]
fn the_first_rule_that_fits_holds() {
    needs!(Root, Bpf);
    let folder = tempfile::tempdir().unwrap();
    let mut there = pool_named("pw-there", &folder);
    have(&mut there, 90);
    let mut ignored_there = pool_named("pw-ignored", &folder);
    have(&mut ignored_there, 90);
    let quiet = "burst = false\nleak = false\n";
    let (agent, _config) = run(&format!(
        "[[threads]]\ncomm = \"pw-ignored\"\nignore = true\n\
         [[threads]]\nexe = \"*/pw-there\"\nlevels = [85, 300]\n{quiet}\
         [[threads]]\nuid = 0\nargv = \"*/pw-low*\"\nlevels = [40]\n{quiet}\
         [[threads]]\nlevels = [200]\n{quiet}"
    ));
    let mut ignored = pool_named("pw-ignored", &folder);
    let mut low = pool_named("pw-low", &folder);
    let mut other = pool_named("pw-other", &folder);
    Talk::greeted().wait_for_rule(ignored.pid(), "threads[1] comm=pw-ignored");
    Talk::greeted().wait_for_rule(low.pid(), "threads[3] uid=0 argv=*/pw-low*");
    for pool in [&mut ignored, &mut low, &mut other, &mut there, &mut ignored_there] {
        have(pool, 320);
    }
    agent.wait_for("the last alert", |record| {
        is_alert(record, there.pid(), "level") && record["level"] == 300
    });
    let records = agent.finish().records;
    assert_eq!(alerts(&records, ignored.pid()), []);
    assert_eq!(alerts(&records, ignored_there.pid()), []);
    assert_eq!(alerts(&records, low.pid()), [("level", 40)]);
    assert_eq!(alerts(&records, other.pid()), [("level", 200)]);
    assert_eq!(alerts(&records, there.pid()), [("level", 85), ("level", 300)]);
    let rule =
        |pid: u32| text(&records.iter().find(|it| is_alert(it, pid, "level")).unwrap()["rule"]).to_owned();
    assert_eq!(rule(low.pid()), "threads[3] uid=0 argv=*/pw-low*");
    assert_eq!(rule(other.pid()), "threads[4]");
}

#[test]
fn rules_may_be_many_and_name_many() {
    needs!(Root, Bpf);
    // Together as many names as the kernel is told of; then more than that.
    for others in [4, 5] {
        let rule = |number: u32| {
            let names: Vec<String> = (0..others).map(|name| format!("\"n{number}-{name}\"")).collect();
            format!("[[threads]]\ncomm = [{}]\nlevels = [40]\n", names.join(", "))
        };
        let rules: String = (0..1022).map(rule).collect();
        let last = "[[threads]]\ncomm = \"the-last-one\"\nlevels = [60]\n";
        let (agent, _config) = run(&format!("{rules}{last}"));
        let folder = tempfile::tempdir().unwrap();
        let mut pool = pool_named("the-last-one", &folder);
        let pid = pool.pid();
        Talk::greeted().wait_for_rule(pid, "threads[1023] comm=the-last-one");
        have(&mut pool, 70);
        let alert = agent.wait_for("its alert", |record| is_alert(record, pid, "level"));
        assert_eq!((number(&alert["level"]), text(&alert["rule"])), (60, "threads[1023] comm=the-last-one"));
        agent.finish();
    }
}

#[test]
fn a_child_has_its_parents_rule_until_it_runs_a_program() {
    needs!(Root, Bpf);
    let script = "import os,sys,threading,time
def grow(n):
    e = threading.Event()
    for _ in range(n - 1): threading.Thread(target=e.wait, daemon=True).start()
sys.stdin.readline()
if os.fork() == 0:
    grow(100)
    print(os.getpid(), flush=True)
    sys.stdin.readline()
    os._exit(0)
# Only when the child is gone, which reads ahead, is what comes next the sibling's.
os.wait()
sibling = os.fork()
if sibling == 0:
    os.execv(sys.argv[1], [sys.argv[1]])
print(sibling, flush=True)
os.wait()
";
    let folder = tempfile::tempdir().unwrap();
    let other = pool_named("pw-heir", &folder);
    drop(other);
    let quiet = "burst = false\nleak = false\n";
    let (agent, _config) = run(&format!(
        "[[threads]]\nargv = \"*pw-parent\"\nlevels = [70]\n{quiet}[[threads]]\nlevels = [90]\n{quiet}"
    ));
    let heir = folder.path().join("pw-heir");
    let mut parent = Started::new(Command::new("python3").args(["-c", script]).arg(&heir).arg("pw-parent"));
    Talk::greeted().wait_for_rule(parent.pid(), "threads[1] argv=*pw-parent");
    parent.say("go");
    let child: u32 = parent.hear().parse().unwrap();
    let alert = agent.wait_for("the child's alert", |record| is_alert(record, child, "level"));
    assert_eq!((number(&alert["level"]), text(&alert["rule"])), (70, "threads[1] argv=*pw-parent"));
    // Its sibling runs a program of its own, which the rule does not fit.
    parent.say("");
    let sibling: u32 = parent.hear().parse().unwrap();
    Talk::greeted().wait_for_rule(sibling, "threads[2]");
    parent.say("have 95");
    let alert = agent.wait_for("the sibling's alert", |record| is_alert(record, sibling, "level"));
    assert_eq!(alert["comm"], "pw-heir");
    assert_eq!((number(&alert["level"]), text(&alert["rule"])), (90, "threads[2]"));
    parent.say("end");
    agent.finish();
}
