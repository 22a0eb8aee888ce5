//! Figures for Prometheus: what they say is what happened, and nobody who asks holds anything up.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use procwatch_tests::{
    Agent, Pool, compiled, needs, number, start, until,
    web::{ask, free_port, get, get_as, get_unix},
};
use serde_json::Value;
use tempfile::TempDir;

/// An agent with its figures at a port of this machine.
struct Scene {
    agent: Agent,
    port: u16,
    _folder: TempDir,
}

impl Scene {
    fn new(lines: &str) -> Self {
        let port = free_port();
        let (agent, folder) = run(&format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n{lines}\n"));
        Self { agent, port, _folder: folder }
    }

    /// All samples, `name{labels} value` each.
    fn samples(&self) -> Vec<String> {
        samples(&get(self.port, "/metrics").body)
    }

    /// The value of one.
    fn value(&self, series: &str) -> Option<f64> {
        value(&self.samples(), series)
    }

    /// Waits until it has that value.
    fn wait_for(&self, series: &str, wanted: f64) {
        until(&format!("{series} {wanted}"), || (self.value(series) == Some(wanted)).then_some(()));
    }
}

fn run(config: &str) -> (Agent, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("procwatch.toml");
    // That of the machine may be large, and take its time.
    fs::write(&path, format!("history = false\n{config}")).unwrap();
    (Agent::run(&["--config".as_ref(), path.as_os_str()]), folder)
}

fn samples(page: &str) -> Vec<String> {
    page.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn value(samples: &[String], series: &str) -> Option<f64> {
    samples.iter().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// The series of a pool of root's.
fn of_pool(name: &str, pid: u32) -> String {
    format!("{name}{{pid=\"{pid}\",comm=\"pthreads\",user=\"root\"}}")
}

fn alerts(severity: &str, bound: &str) -> String {
    format!("procwatch_alerts_total{{severity=\"{severity}\",bound=\"{bound}\"}}")
}

#[test]
fn figures_are_what_happened() {
    needs!(Root, Bpf);
    // A rule that looks for leaks has growth counted from the floor on, and not from its first level.
    let scene = Scene::new("[[threads]]\nlevels = [80, 100]\nburst = false\n");
    let mut pool = Pool::pthreads();
    let threads = of_pool("procwatch_process_threads", pool.pid());
    pool.threads(90);
    scene.wait_for(&alerts("notice", "level"), 1.0);
    scene.wait_for(&threads, 90.0);
    // The kernel counts from the floor on, of which the thread that reaches it is the first.
    let creations = of_pool("procwatch_process_thread_creations_total", pool.pid());
    let first = scene.value(&creations).expect("it is above the floor");
    pool.threads(60);
    pool.threads(120);
    scene.wait_for(&threads, 120.0);
    scene.wait_for(&creations, first + 60.0);
    // It fell below four fifths of the first level and crossed both.
    scene.wait_for(&alerts("notice", "level"), 2.0);
    scene.wait_for(&alerts("warning", "level"), 1.0);
    scene.wait_for("procwatch_alerts_cleared_total{severity=\"notice\",bound=\"level\"}", 1.0);
    scene.wait_for("procwatch_alerting_processes{severity=\"warning\"}", 1.0);
    pool.end();
    scene.wait_for("procwatch_alerting_processes{severity=\"warning\"}", 0.0);
    until("the end of its series", || scene.value(&threads).is_none().then_some(()));
    for (series, wanted) in [
        ("procwatch_alerts_total{severity=\"emergency\",bound=\"level\"}", 0.0),
        ("procwatch_ring_records_lost_total{ring=\"urgent\"}", 0.0),
        ("procwatch_answering", 1.0),
        ("procwatch_enforcing", 0.0),
        ("procwatch_config_reload_success", 1.0),
        ("procwatch_build_info{version=\"0.1.0\"}", 1.0),
        ("procwatch_output_dropped_total{output=\"metrics\"}", 0.0),
    ] {
        assert_eq!(scene.value(series), Some(wanted), "{series}");
    }
    let resident = scene.value("process_resident_memory_bytes").unwrap();
    assert!((1e6..100e6).contains(&resident), "{resident}");
    assert!(scene.value("process_cpu_seconds_total").unwrap() > 0.0);
    assert!(scene.value("procwatch_machine_threads") >= scene.value("procwatch_machine_processes"));
    let records = scene.agent.finish().records;
    let told = records.iter().filter(|record| record["kind"] == "alert").count();
    assert_eq!(told, 3, "{records:#?}");
}

#[test]
fn a_hundred_processes_are_shown_and_all_are_counted() {
    needs!(Root, Bpf);
    let scene = Scene::new("processes = 100\n[[threads]]\nlevels = false\nburst = false\nleak = false\n");
    let program = compiled("pthreads");
    let mut pools: Vec<_> = (0..150).map(|_| start(&program, &[] as &[&str])).collect();
    let mut largest: Vec<u32> = Vec::new();
    for (number, pool) in pools.iter_mut().enumerate() {
        let threads = 33 + number as u32 % 2;
        pool.say(&format!("have {threads}"));
        assert_eq!(pool.hear(), threads.to_string());
        if threads == 34 {
            largest.push(pool.pid());
        }
    }
    let samples = until("all are counted", || {
        let samples = scene.samples();
        (value(&samples, "procwatch_processes_above_floor")? >= 150.0).then_some(samples)
    });
    let shown: Vec<&String> =
        samples.iter().filter(|line| line.starts_with("procwatch_process_threads{")).collect();
    assert_eq!(shown.len(), 100);
    for pid in largest {
        assert!(shown.iter().any(|line| line.contains(&format!("{{pid=\"{pid}\","))), "{pid} is not shown");
    }
    scene.agent.finish();
}

#[test]
fn pages_and_formats() {
    needs!(Root, Bpf);
    let scene = Scene::new("");
    let page = get(scene.port, "/metrics");
    assert_eq!(page.status, 200);
    assert!(page.head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{}", page.head);
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let page = get_as(scene.port, "/metrics?x=y", accept);
    assert!(page.head.to_lowercase().contains("content-type: application/openmetrics-text"), "{}", page.head);
    assert!(page.body.ends_with("# EOF\n") && page.body.contains("# TYPE procwatch_alerts counter\n"));
    let health = get(scene.port, "/healthz");
    assert_eq!(health.status, 200, "{health:?}");
    assert!(["ok\n", "degraded\n"].contains(&health.body.as_str()), "{health:?}");
    assert_eq!(get(scene.port, "/").status, 404);
    let refused = TcpStream::connect(("127.0.0.1", scene.port)).unwrap();
    let refused = ask(refused, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(refused.status, 405);
    scene.agent.finish();
}

#[test]
fn at_a_socket_for_root_and_the_group() {
    needs!(Root, Bpf);
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("m.sock");
    let (agent, _folder) = run(&format!("[metrics]\nlisten = \"{}\"\n", socket.display()));
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let page = get_unix(&socket, "/metrics");
    assert_eq!((page.status, value(&samples(&page.body), "procwatch_answering")), (200, Some(1.0)));
    agent.finish();
    assert!(UnixStream::connect(&socket).is_err() && !socket.exists());
}

#[test]
fn a_taken_address_stops_the_start_with_its_name() {
    needs!(Root, Bpf);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("procwatch.toml");
    let address = taken.local_addr().unwrap();
    fs::write(&path, format!("[metrics]\nlisten = \"{address}\"\n")).unwrap();
    let refusal = until("no other agent on this machine", || {
        let refusal = procwatch_tests::refusal(&["run", "--config", path.to_str().unwrap()]);
        (!refusal.stderr.contains("another procwatch agent")).then_some(refusal)
    });
    assert_eq!(refusal.code, Some(2), "{refusal:?}");
    let start = format!("procwatch: metrics.listen: {address}: Address already in use");
    assert!(refusal.stderr.starts_with(&start), "{refusal:?}");
}

/// Clients that mean no good, all at once: silent, slow, endless, too large, nonsense.
fn besiege(port: u16) -> Vec<TcpStream> {
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        stream
    };
    let mut clients: Vec<TcpStream> = (0..150).map(|_| connect()).collect();
    let header = format!("X: {}\r\n", "y".repeat(1000));
    let texts = [
        b"GET /metrics HT".to_vec(),
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        format!("GET /metrics HTTP/1.1\r\n{}", header.repeat(1000)).into_bytes(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\xff\xff\xff\x00\r\n\r\n".to_vec(),
        b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n".to_vec(),
    ];
    for text in texts.iter().cycle().take(50) {
        let mut client = connect();
        // Whoever is thrown out has what he came for.
        let _ = client.write_all(text);
        clients.push(client);
    }
    clients
}

#[test]
fn bad_clients_hold_nothing_up() {
    needs!(Root, Bpf);
    let scene = Scene::new("[[threads]]\nlevels = [80]\nburst = false\nleak = false\n");
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", scene.agent.pid())).unwrap().count();
    scene.samples();
    let before = descriptors();
    let clients = besiege(scene.port);
    // One that reads its answer byte by byte.
    let mut slow = TcpStream::connect(("127.0.0.1", scene.port)).unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    slow.read_exact(&mut [0; 10]).unwrap();
    let mut pool = Pool::pthreads();
    pool.threads(90);
    let alert =
        scene.agent.wait_for("the alert", |record| record["kind"] == "alert" && record["pid"] == pool.pid());
    assert!(number(&alert["latency_ns"]) < 1_000_000_000, "{alert}");
    let begun = Instant::now();
    scene.wait_for(&alerts("notice", "level"), 1.0);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(descriptors() <= before + 40, "{} and {before} before", descriptors());
    // While they are still there the agent ends as if nobody was.
    let ended = scene.agent.finish();
    assert!(ended.took < Duration::from_secs(2), "{:?}: {}", ended.took, ended.stderr);
    drop((clients, slow));
}

/// A Prometheus that asks an agent, killed when it is dropped.
struct Prometheus {
    child: Child,
    port: u16,
    _folder: TempDir,
}

fn packaged(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/prometheus").join(file).canonicalize().unwrap()
}

impl Prometheus {
    fn asking(target: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        let rules = packaged("procwatch.rules.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [\"{}\"]\nscrape_configs:\n  - \
             job_name: procwatch\n    static_configs: [{{targets: [\"127.0.0.1:{target}\"]}}]\n",
            rules.display()
        );
        fs::write(&config, text).unwrap();
        let port = free_port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port, _folder: folder }
    }

    /// What its API answers; `None` when it does not yet.
    fn api(&self, path: &str) -> Option<Value> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let request = format!("GET /api/v1/{path} HTTP/1.0\r\n\r\n");
        let answer = ask(stream, &request);
        let answer: Value = serde_json::from_str(&answer.body).ok()?;
        (answer["status"] == "success").then(|| answer["data"].clone())
    }

    /// The value of a query that has one.
    fn query(&self, query: &str) -> Option<f64> {
        let data = self.api(&format!("query?query={query}"))?;
        data["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // What has ended cannot be killed, and that is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn prometheus_itself_reads_them_and_raises_our_alert() {
    needs!(Root, Bpf, Prometheus);
    let scene = Scene::new("[[threads]]\nlevels = [40, 50, 60, 70]\nburst = false\nleak = false\n");
    let prometheus = Prometheus::asking(scene.port);
    let emergencies = "procwatch_alerts_total%7Bseverity%3D%22emergency%22%7D";
    until("the first scrape", || (prometheus.query(emergencies) == Some(0.0)).then_some(()));
    let mut pool = Pool::pthreads();
    pool.threads(90);
    until("the emergency", || (prometheus.query(emergencies) == Some(1.0)).then_some(()));
    let threads = format!("procwatch_process_threads%7Bpid%3D%22{}%22%7D", pool.pid());
    until("its threads", || (prometheus.query(&threads) == Some(90.0)).then_some(()));
    let target = &prometheus.api("targets").unwrap()["activeTargets"][0];
    assert_eq!((&target["health"], &target["lastError"]), (&"up".into(), &"".into()), "{target}");
    let firing = "ALERTS%7Balertname%3D%22ProcwatchThreadEmergency%22%2Calertstate%3D%22firing%22%7D";
    until("the rule's alert", || (prometheus.query(firing) == Some(1.0)).then_some(()));
    let names = prometheus.api("label/__name__/values").unwrap();
    let names: Vec<&str> = names.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for name in ["procwatch_hold_seconds_bucket", "procwatch_ring_size_bytes", "process_cpu_seconds_total"] {
        assert!(names.contains(&name), "{names:?}");
    }
    drop(prometheus);
    scene.agent.finish();
}

/// Runs promtool; it must be content and say nothing against us.
fn promtool(args: &[&str], folder: &Path, input: &str) {
    let mut child = Command::new("promtool")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{args:?}: {said:?}");
    if args[1] == "metrics" {
        assert_eq!(said, (String::new(), String::new()));
    }
}

#[test]
fn promtool_is_content_with_figures_and_rules() {
    needs!(Root, Bpf, Prometheus);
    let scene = Scene::new("");
    let mut pool = Pool::pthreads();
    pool.threads(120);
    let page = until("a page with a process", || {
        let page = get(scene.port, "/metrics").body;
        page.contains(&of_pool("procwatch_process_threads", pool.pid())).then_some(page)
    });
    let rules = packaged("procwatch.rules.yml");
    let folder = rules.parent().unwrap();
    promtool(&["check", "metrics"], folder, &page);
    promtool(&["check", "rules", "procwatch.rules.yml"], folder, "");
    promtool(&["test", "rules", "procwatch.rules_test.yml"], folder, "");
    scene.agent.finish();
}
