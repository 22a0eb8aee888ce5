//! The event log and the history of a running agent: the same as what it told, whatever happens to the disk and to it.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::signal::Signal;
use procwatch_tests::{Agent, Pool, Refusal, SCENE_UID, Scene, needs, number, refusal, text, until};
use serde_json::Value;
use tempfile::TempDir;

/// A folder for both, and the lines of a configuration that lead there.
struct Store {
    folder: TempDir,
}

impl Store {
    fn new() -> Self {
        // Not on a disk, which may be busy for longer than the agent's end waits for it.
        Self { folder: tempfile::tempdir_in("/dev/shm").unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn db(&self) -> PathBuf {
        self.path("history.db")
    }

    fn lines(&self) -> String {
        format!(
            "[log]\npath = '{}'\n[history]\npath = '{}'\n",
            self.path("log.jsonl").display(),
            self.db().display()
        )
    }

    fn config(&self, more: &str) -> PathBuf {
        let path = self.path("procwatch.toml");
        fs::write(&path, format!("{}{more}", self.lines())).unwrap();
        path
    }

    fn agent(&self) -> Agent {
        run(&self.config(""))
    }

    /// What the log holds.
    fn log(&self) -> Vec<Value> {
        parse(&fs::read_to_string(self.path("log.jsonl")).unwrap())
    }

    /// What `procwatch history --json ARGS` tells.
    fn history(&self, args: &[&str]) -> Vec<Value> {
        history(&self.db(), args)
    }
}

fn run(config: &Path) -> Agent {
    Agent::run(&["--config".as_ref(), config.as_os_str()])
}

fn parse(lines: &str) -> Vec<Value> {
    assert!(lines.is_empty() || lines.ends_with('\n'), "the last line is whole");
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The same, when the agent may still be making its history.
fn history_so_far(db: &Path, args: &[&str]) -> Vec<Value> {
    let told = ask(db, args);
    if told.stderr.contains("there is no history yet") { Vec::new() } else { records(&told) }
}

fn history(db: &Path, args: &[&str]) -> Vec<Value> {
    records(&ask(db, args))
}

fn ask(db: &Path, args: &[&str]) -> Refusal {
    refusal(&[&["history", "--json", "--db", db.to_str().unwrap()], args].concat())
}

fn records(told: &Refusal) -> Vec<Value> {
    assert_eq!((told.code, &*told.stderr), (Some(0), ""));
    parse(&told.stdout)
}

/// The same records, each once. The history puts them in the order of the kernel's clock; the log as they were told.
fn assert_same(kept: &[Value], told: &[Value]) {
    let mut kept: Vec<String> = kept.iter().map(Value::to_string).collect();
    let mut told: Vec<String> = told.iter().map(Value::to_string).collect();
    kept.sort();
    told.sort();
    assert_eq!(kept.len(), told.len());
    for (kept, told) in kept.iter().zip(&told) {
        assert_eq!(kept, told);
    }
}

fn assert_in_order(records: &[Value]) {
    assert!(records.is_sorted_by_key(|record| number(&record["boot_ns"])));
}

fn explode() -> u32 {
    let mut pool = Pool::raw_clone();
    pool.threads(110);
    pool.end();
    pool.pid()
}

/// An explosion whose two alerts are over.
fn explode_and_wait(agent: &Agent) -> u32 {
    let pid = explode();
    agent.wait_for("80 is cleared", |record| {
        record["kind"] == "cleared" && record["pid"] == pid && record["level"] == 80
    });
    pid
}

#[test]
fn both_hold_what_was_told() {
    needs!(Root, Bpf);
    let store = Store::new();
    let scene = Scene::new("enforce", SCENE_UID);
    let mut config = fs::OpenOptions::new().append(true).open(&scene.config).unwrap();
    config.write_all(store.lines().as_bytes()).unwrap();
    let agent = scene.agent();
    let pid = explode_and_wait(&agent);
    let stray = scene.start("from/session", &["cat"]);
    agent.wait_for("its outcome", |it| it["kind"] == "outcome" && it["pid"] == stray.pid());
    let mut ended = stray;
    ended.end();
    let told = agent.finish().records;

    let log = store.log();
    assert_eq!(log, told, "in the same order");
    let kept = store.history(&[]);
    assert_same(&kept, &told);
    assert_in_order(&kept);
    assert_in_order(&store.history(&["--since", "1h"]));
    assert_same(&store.history(&["--since", "1h"]), &told);
    // What is asked for, and no more.
    let of = |args: &[&str]| store.history(args);
    let alerts = of(&["--kind", "alert,cleared", "--pid", &pid.to_string()]);
    assert_eq!(alerts.iter().filter(|it| it["bound"] == "level").count(), 4, "{alerts:?}");
    assert!(alerts.iter().all(|it| it["pid"] == pid));
    let strays = of(&["--uid", &SCENE_UID.to_string()]);
    assert!(strays.iter().all(|it| it["uid"] == SCENE_UID), "{strays:?}");
    assert!(strays.iter().any(|it| it["kind"] == "outcome" && it["result"] == "verified"));
    assert_eq!(of(&["--limit", "1"]), [kept.last().unwrap().clone()]);
    assert_eq!(of(&["--until", "1d"]), [] as [Value; 0]);
    assert_eq!(of(&["--since", "2020-01-01", "--comm", "no-such-name"]), [] as [Value; 0]);

    for path in [store.path("log.jsonl"), store.db()] {
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap());
        assert_eq!(mode & 0o777, 0o640, "{}", path.display());
    }
    tells_people(&store, pid);
}

fn tells_people(store: &Store, pid: u32) {
    let db = store.db();
    let told = |args: &[&str]| {
        let told = refusal(&[args, &["--db", db.to_str().unwrap()]].concat());
        assert_eq!((told.code, &*told.stderr), (Some(0), ""));
        told.stdout
    };
    let lines = told(&["history", "--kind", "alert", "--pid", &pid.to_string()]);
    let lines: Vec<&str> = lines.lines().collect();
    assert!(lines.len() >= 4, "a date, the names of columns, two alerts: {lines:#?}");
    assert!(lines[1].starts_with("TIME "), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("WARNING 100 threads")), "{lines:#?}");
    let report = told(&["report"]);
    for part in ["agent     1 start; ", "  rawclone ", "placed    1 moved, 0 failed"] {
        assert!(report.contains(part), "{part}: {report}");
    }
    let page = store.path("report.html");
    assert_eq!(told(&["report", "--html", page.to_str().unwrap()]), "");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<svg") && page.ends_with("</html>\n"));
}

#[test]
fn the_tables_of_health_tell_the_same() {
    needs!(Root, Bpf);
    let store = Store::new();
    let agent = store.agent();
    let pid = explode_and_wait(&agent);
    let mut lasting = Pool::raw_clone();
    lasting.threads(85);
    agent.wait_for("its alert", |it| it["kind"] == "alert" && it["pid"] == lasting.pid());
    agent.finish();
    let Some(sqlite) = sqlite(&store.db()) else { return };
    let pids = format!("pid IN ({pid}, {})", lasting.pid());
    let rows = sqlite(&format!(
        "SELECT severity, resolved, resolution FROM health_alerts WHERE {pids} AND bound = 'level' ORDER BY id"
    ));
    assert_eq!(rows, ["INFO|1|ended", "WARNING|1|ended", "INFO|0|"]);
    let rows = sqlite(&format!(
        "SELECT component, threads FROM health_alerts JOIN high_water USING (pid) WHERE pid = {pid}"
    ));
    assert!(rows.iter().all(|row| row.starts_with("process rawclone[")), "{rows:?}");
    assert!(
        sqlite("SELECT count(*) FROM health_metrics WHERE metric = 'threads'")[0].parse::<u32>().unwrap()
            >= 3
    );
    assert_eq!(sqlite("SELECT how FROM runs"), ["stopped"]);
    assert_eq!(sqlite("PRAGMA integrity_check"), ["ok"]);
}

/// Asks an SQL shell, where there is one.
fn sqlite(db: &Path) -> Option<impl Fn(&str) -> Vec<String> + use<>> {
    Command::new("sqlite3").arg("-version").output().ok()?;
    let db = db.to_owned();
    Some(move |sql: &str| {
        let output = Command::new("sqlite3").arg("-readonly").arg(&db).arg(sql).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    })
}

#[test]
fn an_agent_that_is_killed_leaves_a_good_history_behind() {
    needs!(Root, Bpf);
    let store = Store::new();
    let mut agent = store.agent();
    let pid = explode_and_wait(&agent);
    // Both have it: from here on it cannot be lost.
    let last = |records: &[Value]| {
        let cleared = records.iter().filter(|it| it["kind"] == "cleared" && it["bound"] == "level");
        cleared.filter(|it| it["pid"] == pid).count() == 2
    };
    until("they are written", || {
        (last(&store.log()) && last(&history_so_far(&store.db(), &[]))).then_some(())
    });
    let sure = agent.records();
    // It dies while it writes.
    let mut pools: Vec<Pool> = (0..20).map(|_| Pool::raw_clone()).collect();
    for pool in &mut pools {
        pool.order(110);
    }
    agent.wait_for_many(10, "alerts", |it| it["kind"] == "alert" && it["pid"] != pid);
    agent.signal(Signal::SIGKILL);
    let told = agent.wait().records;
    let kept = store.history(&[]);
    let has = |record: &Value| kept.contains(record);
    assert!(sure.iter().filter(|record| !is_young(record, &told)).all(has), "what was written stays");
    let whole = fs::read_to_string(store.path("log.jsonl")).unwrap();
    assert!(whole.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count() >= sure.len());

    // The next one says that it died, and goes on in the same files.
    let next = store.agent();
    next.finish();
    let records = store.history(&["--kind", "health"]);
    let armed = records.iter().filter(|it| it["topic"] == "armed").count();
    assert_eq!(armed, 2);
    assert!(store.log().len() > sure.len());
    let report = refusal(&["report", "--db", store.db().to_str().unwrap()]);
    assert!(report.stdout.contains("2 starts; ended without a word 1 time"), "{}", report.stdout);
}

/// Whether it was told within the last moments of an agent: the last batch may be lost.
fn is_young(record: &Value, told: &[Value]) -> bool {
    const MOMENT: u64 = 1_000_000_000;
    let last = told.iter().map(|it| number(&it["boot_ns"])).max().unwrap();
    number(&record["boot_ns"]) + MOMENT > last
}

/// A file system of a megabyte.
struct Small {
    folder: TempDir,
}

impl Small {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=1m", "procwatch-test"];
        let status = Command::new("mount").args(mount).arg(folder.path()).status().unwrap();
        assert!(status.success(), "mount: {status}");
        Self { folder }
    }

    /// Takes all the room that there is.
    fn fill(&self) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(self.ballast()).unwrap();
        for size in [65_536, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

/// So many records were dropped, as `works again` says.
fn dropped(record: &Value) -> usize {
    let message = text(&record["message"]);
    let number = message.split("; ").nth(1).and_then(|rest| rest.split(' ').next());
    number.unwrap_or_else(|| panic!("{message}")).parse().unwrap()
}

fn is_complaint(record: &Value, of: &str, what: &str) -> bool {
    record["topic"] == "degraded"
        && text(&record["message"]).starts_with(of)
        && text(&record["message"]).contains(what)
}

#[test]
fn a_full_disk_costs_records_and_not_the_agent() {
    needs!(Root, Bpf);
    for what in ["log", "history"] {
        let small = Small::new();
        let store = Store::new();
        let path = small.folder.path().join("it");
        let others = if what == "log" { "history = false\n" } else { "" };
        let config = store.path("procwatch.toml");
        fs::write(&config, format!("{others}[{what}]\npath = '{}'\n", path.display())).unwrap();
        let agent = run(&config);
        explode_and_wait(&agent);
        let kept = || if what == "log" { lines(&path) } else { history_so_far(&path, &[]) };
        until("the first explosion is kept", || {
            kept().iter().any(|it| it["kind"] == "cleared" && it["level"] == 80).then_some(())
        });
        small.fill();
        // The write-ahead log may have room of its own yet.
        let mut explosions = 0;
        until("it complains", || {
            explode_and_wait(&agent);
            explosions += 1;
            agent.records().iter().any(|it| is_complaint(it, what, "records are dropped")).then_some(())
        });
        for _ in 0..5 {
            explode_and_wait(&agent);
        }
        let complaints =
            |agent: &Agent, text| agent.records().iter().filter(|it| is_complaint(it, what, text)).count();
        assert_eq!(complaints(&agent, "records are dropped"), 1, "{what}: once");
        fs::remove_file(small.ballast()).unwrap();
        until("it works again", || {
            explode_and_wait(&agent);
            (complaints(&agent, ": works again") > 0).then_some(())
        });
        let again = agent.wait_for("it says so", |it| is_complaint(it, what, ": works again"));
        let told = agent.finish().records;
        let kept = kept();
        assert_eq!(kept.len() + dropped(&again), told.len(), "{what}: each is kept or counted");
        assert!(kept.iter().all(|record| told.contains(record)), "{what}: and none is half there");
        assert_eq!(kept.last().unwrap()["topic"], "stopped");
    }
}

fn lines(path: &Path) -> Vec<Value> {
    parse(&fs::read_to_string(path).unwrap_or_default())
}

#[test]
fn a_history_that_is_none_is_set_aside_and_a_new_one_begun() {
    needs!(Root, Bpf);
    let store = Store::new();
    fs::write(store.db(), "this is no database".repeat(100)).unwrap();
    let agent = store.agent();
    let note = agent.wait_for("it is told", |it| is_complaint(it, "history", "a new one was begun"));
    let pid = explode_and_wait(&agent);
    let told = agent.finish().records;
    assert_same(&store.history(&[]), &told);
    assert!(told.iter().any(|it| it["kind"] == "alert" && it["pid"] == pid));
    let message = text(&note["message"]);
    let aside = message.split("the file is ").nth(1).and_then(|rest| rest.split(" now").next()).unwrap();
    assert_eq!(fs::read_to_string(aside).unwrap(), "this is no database".repeat(100));
}

#[test]
fn a_log_that_cannot_be_opened_stops_the_start_and_its_path_is_named() {
    needs!(Root, Bpf);
    let store = Store::new();
    let target = store.path("target");
    fs::write(&target, "keep").unwrap();
    std::os::unix::fs::symlink(&target, store.path("log.jsonl")).unwrap();
    let config = store.config("");
    let refused = until("no other agent on this machine", || {
        let refused = refusal(&["run", "--config", config.to_str().unwrap()]);
        (!refused.stderr.contains("another procwatch agent")).then_some(refused)
    });
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("log.jsonl: "), "{refused:?}");
    assert_eq!(fs::read_to_string(target).unwrap(), "keep");
}

#[test]
fn bad_input_is_told_with_what_would_be_right() {
    let none = refusal(&["history", "--db", "/no/such.db"]);
    assert_eq!((none.code, none.stderr.contains("there is no history yet")), (Some(2), true), "{none:?}");
    let when = refusal(&["report", "--since", "soon"]);
    assert_eq!((when.code, when.stderr.contains("right is e.g. 2h")), (Some(2), true), "{when:?}");
    let kind = refusal(&["history", "--kind", "spoon"]);
    assert_eq!((kind.code, kind.stderr.contains("alert")), (Some(2), true), "{kind:?}");
}

#[test]
fn clients_are_told_the_past_and_then_what_happens() {
    needs!(Root, Bpf);
    let store = Store::new();
    let agent = run(&store.config("[[threads]]\nlevels = [80]\nburst = false\nleak = false\n"));
    let (mut before, mut after) = (Pool::pthreads(), Pool::pthreads());
    before.threads(85);
    agent.wait_for_event("alert", before.pid());
    let client = Agent::events(&["--kind", "alert", "--since", "1h", "--db", store.db().to_str().unwrap()]);
    after.threads(90);
    client.wait_for_event("alert", after.pid());
    let told = client.finish().records;
    let alerts: Vec<_> = told.iter().filter(|record| record["kind"] == "alert").collect();
    let pids: Vec<_> = alerts.iter().map(|alert| number(&alert["pid"])).collect();
    assert_eq!(
        pids,
        [u64::from(before.pid()), u64::from(after.pid())],
        "the past, then the present, each once"
    );
    let own: Vec<_> = agent.finish().records.into_iter().filter(|record| record["kind"] == "alert").collect();
    assert_eq!(alerts, own.iter().collect::<Vec<_>>(), "line by line what the agent told");

    let refused = refusal(&["events", "--since", "1h", "--pid", "1", "--children"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("--since"), "{refused:?}");
}
