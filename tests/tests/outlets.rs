//! Who is told of alerts is told exactly once, and whoever cannot be told keeps nobody waiting.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use procwatch_tests::{
    Agent, Pool, Refusal, Started, needs, number, refusal, text, until,
    web::{Hook, Post, Reply, free_port},
};
use serde_json::Value;
use tempfile::TempDir;

/// Levels of 40, 50, 60 and 70, and nothing else that raises an alert.
const LEVELS: &str = "[[threads]]\nlevels = [40, 50, 60, 70]\nburst = false\nleak = false\n";

/// A file with an outlet named ops that is told of all alerts, with these lines in it.
fn config(lines: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("procwatch.toml");
    let outlet = format!("[[outlet]]\nname = \"ops\"\non = [\"alert\"]\nseverity = \"notice\"\n{lines}\n");
    fs::write(&path, format!("{LEVELS}{outlet}")).unwrap();
    (folder, path)
}

fn run(lines: &str) -> (Agent, TempDir) {
    let (folder, path) = config(lines);
    (Agent::run(&["--config".as_ref(), path.as_os_str()]), folder)
}

fn webhook(hook: &Hook, lines: &str) -> String {
    format!("kind = \"webhook\"\nurl = \"{}\"\n{lines}", hook.url("/secret"))
}

fn wait_for_alert(agent: &Agent, pid: u32, level: u32) -> Value {
    agent.wait_for("the alert", |record| {
        record["kind"] == "alert" && record["pid"] == pid && record["level"] == level
    })
}

fn wait_for_words(agent: &Agent, start: &str) -> Value {
    agent.wait_for(start, |record| record["kind"] == "health" && text(&record["message"]).starts_with(start))
}

/// `(pid, level)` of each post.
fn alerts(posts: &[Post]) -> Vec<(u64, u64)> {
    posts.iter().map(|post| (number(&post.body["pid"]), number(&post.body["level"]))).collect()
}

fn is_digest(post: &Post) -> bool {
    post.body["kind"] == "digest"
}

/// How many records were told, one by one and in digests.
fn told(posts: &[Post]) -> u64 {
    posts.iter().map(|post| if is_digest(post) { number(&post.body["records"]) } else { 1 }).sum()
}

#[test]
fn a_web_server_is_told_the_record_itself() {
    needs!(Root, Bpf);
    let hook = Hook::start(&[]);
    let secrets = tempfile::tempdir().unwrap();
    let token = secrets.path().join("token");
    fs::write(&token, "abc\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let lines = format!("token-file = \"{}\"\nheaders = {{ X-Team = \"ops\" }}", token.display());
    let (agent, _folder) = run(&webhook(&hook, &lines));
    let mut pool = Pool::pthreads();
    pool.threads(55);
    let posts = hook.wait_until("two alerts", |posts| posts.len() == 2);
    let pid = u64::from(pool.pid());
    assert_eq!(alerts(&posts), [(pid, 40), (pid, 50)]);
    for post in &posts {
        let mut own = wait_for_alert(&agent, pool.pid(), number(&post.body["level"]) as u32);
        own["host"] = post.body["host"].clone();
        assert_eq!(post.body, own);
        let head = post.head.to_lowercase();
        assert!(head.starts_with("post /secret http/1.1\r\n"), "{head}");
        for header in [
            "content-type: application/json",
            "authorization: bearer abc",
            "x-team: ops",
            "user-agent: procwatch/0.1.0",
        ] {
            assert!(head.contains(&format!("\r\n{header}\r\n")), "no {header} in {head}");
        }
    }
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(text(&posts[0].body["host"]), name.trim());
    let records = agent.finish().records;
    let complaints = records.iter().filter(|record| record["topic"] == "degraded").count();
    assert_eq!((complaints, hook.posts().len()), (0, 2), "{records:#?}");
}

#[test]
fn slack_is_told_in_words() {
    needs!(Root, Bpf);
    let hook = Hook::start(&[]);
    let (agent, _folder) = run(&webhook(&hook, "format = \"slack\""));
    let mut pool = Pool::pthreads();
    pool.threads(45);
    let posts = hook.wait_until("the alert", |posts| !posts.is_empty());
    let keys: Vec<&String> = posts[0].body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["text"]);
    let words = text(&posts[0].body["text"]);
    let expected =
        format!(" alert: pthreads({}) of root: NOTICE 40 threads (level 40, threads[1]) ", pool.pid());
    assert!(words.contains(&expected) && !words.contains('\n'), "{words}");
    agent.finish();
}

#[test]
fn a_server_that_is_down_is_told_when_it_comes_back() {
    needs!(Root, Bpf);
    let port = free_port();
    let (agent, _folder) = run(&format!("kind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/secret\""));
    let mut pool = Pool::pthreads();
    pool.threads(45);
    let complaint = wait_for_words(&agent, "outlet ops: ");
    let message = text(&complaint["message"]);
    assert!(message.starts_with(&format!("outlet ops: http://127.0.0.1:{port}: ")), "{message}");
    assert!(!message.contains("secret"), "{message}");
    let hook = Hook::start_at(port, &[]);
    let posts = hook.wait_until("the alert", |posts| !posts.is_empty());
    assert_eq!(alerts(&posts), [(u64::from(pool.pid()), 40)]);
    let well = wait_for_words(&agent, "outlet ops: well again after ");
    assert!(text(&well["message"]).ends_with("; 0 records had no message of their own"), "{well}");
    let records = agent.finish().records;
    let complaints = records.iter().filter(|record| record["topic"] == "degraded").count();
    assert_eq!((complaints, hook.posts().len()), (2, 1), "once ill, once well: {records:#?}");
}

#[test]
fn errors_of_a_server_are_tried_again_and_refusals_are_not() {
    needs!(Root, Bpf);
    let hook = Hook::start(&[Reply::Status(500), Reply::Status(503), Reply::Status(200), Reply::Status(404)]);
    let (agent, _folder) = run(&webhook(&hook, ""));
    let mut pool = Pool::pthreads();
    let pid = u64::from(pool.pid());
    pool.threads(45);
    let posts = hook.wait_until("the third try", |posts| posts.len() == 3);
    assert_eq!(alerts(&posts), [(pid, 40); 3]);
    // Half of a second and half of two at least.
    assert!(posts[1].at - posts[0].at >= Duration::from_millis(500), "{posts:?}");
    assert!(posts[2].at - posts[1].at >= Duration::from_secs(1), "{posts:?}");
    wait_for_words(&agent, "outlet ops: well again after ");
    pool.threads(55);
    agent.wait_for("the refusal", |record| {
        record["message"] == format!("outlet ops: http://{} answers 404: reply", hook.address)
    });
    // What was refused is told by the digest that the next one makes.
    pool.threads(65);
    let posts = hook.wait_until("the digest", |posts| posts.len() == 5);
    assert_eq!(alerts(&posts[3..4]), [(pid, 50)]);
    let digest = &posts[4].body;
    assert_eq!(
        (text(&digest["kind"]), number(&digest["records"]), number(&digest["undelivered"])),
        ("digest", 2, 1),
        "{digest}"
    );
    let entries = digest["entries"].as_array().unwrap();
    let severities: Vec<&str> = entries.iter().map(|entry| text(&entry["severity"])).collect();
    assert_eq!(severities, ["warning", "critical"], "{digest}");
    agent.finish();
}

#[test]
fn a_server_that_never_answers_delays_neither_alerts_nor_the_end() {
    needs!(Root, Bpf);
    let hook = Hook::start(&[Reply::Never; 100]);
    let (agent, _folder) = run(&webhook(&hook, "timeout = \"5m\""));
    let mut pool = Pool::pthreads();
    pool.threads(45);
    hook.wait_until("the first one", |posts| !posts.is_empty());
    for _ in 0..20 {
        pool.threads(20);
        pool.threads(75);
    }
    let told = agent.wait_for_many(81, "all alerts", |record| record["kind"] == "alert");
    for alert in &told {
        assert!(number(&alert["latency_ns"]) < 1_000_000_000, "{alert}");
    }
    let ended = agent.finish();
    assert!(ended.took < Duration::from_secs(3), "{:?}", ended.took);
    assert_eq!(hook.posts().len(), 1);
}

#[test]
fn a_burst_is_told_in_a_digest_that_counts_all() {
    needs!(Root, Bpf);
    let hook = Hook::start(&[]);
    let (agent, _folder) = run(&webhook(&hook, "at-most = \"3/2s\""));
    let begun = Instant::now();
    let mut pools: Vec<Pool> = (0..8).map(|_| Pool::pthreads()).collect();
    for pool in &mut pools {
        pool.threads(75);
    }
    let told_in = begun.elapsed();
    agent.wait_for_many(32, "all alerts", |record| record["kind"] == "alert");
    let posts = hook.wait_until("all are told", |posts| told(posts) >= 32);
    assert_eq!(told(&posts), 32, "{posts:#?}");
    assert!(posts.iter().any(is_digest) && posts[..3].iter().all(|post| !is_digest(post)), "{posts:#?}");
    // Never more than three within two seconds, by the clock of who sends them; here they arrive.
    for four in posts.windows(4) {
        assert!(four[3].at - four[0].at >= Duration::from_millis(1500), "{posts:#?}");
    }
    if told_in < Duration::from_secs(2) {
        // All came within one span, so one digest has what had no room, and names each process with each severity.
        assert_eq!(posts.len(), 4, "{posts:#?}");
        let entries = posts[3].body["entries"].as_array().unwrap();
        let mut seen: Vec<(u64, u64)> = alerts(&posts[..3]);
        let level = |entry: &Value| match text(&entry["severity"]) {
            "notice" => 40,
            "warning" => 50,
            "critical" => 60,
            _ => 70,
        };
        seen.extend(entries.iter().map(|entry| (number(&entry["pid"]), level(entry))));
        seen.sort_unstable();
        let mut all: Vec<(u64, u64)> = pools
            .iter()
            .flat_map(|pool| [40, 50, 60, 70].map(|level| (u64::from(pool.pid()), level)))
            .collect();
        all.sort_unstable();
        assert_eq!(seen, all);
    }
    agent.finish();
}

/// A folder that everybody may enter, with a script in it, and a folder below that everybody may write.
fn script(lines: &str) -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(folder.path(), 0o755);
    let (program, out) = (folder.path().join("told"), folder.path().join("out"));
    fs::create_dir(&out).unwrap();
    mode(&out, 0o777);
    fs::write(&program, format!("#!/bin/sh\n{}\n", lines.replace("OUT/", &format!("{}/", out.display()))))
        .unwrap();
    mode(&program, 0o755);
    (folder, program, out)
}

#[test]
fn a_program_is_told_by_its_standard_input_as_nobody() {
    needs!(Root, Bpf, Nobody);
    let (_folder, program, out) = script(
        "cat > OUT/json.$PROCWATCH_PID\nid -u > OUT/id\nid -G > OUT/groups\necho \"$1 $PROCWATCH_KIND \
         $PROCWATCH_SEVERITY $PROCWATCH_OUTLET\" > OUT/words\necho > OUT/done",
    );
    let (agent, _config) =
        run(&format!("kind = \"command\"\ncommand = [\"{}\", \"a; b\"]", program.display()));
    let mut pool = Pool::pthreads();
    pool.threads(45);
    until("the program has run", || out.join("done").exists().then_some(()));
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let json: Value = serde_json::from_str(&read(&format!("json.{}", pool.pid()))).unwrap();
    let mut own = wait_for_alert(&agent, pool.pid(), 40);
    own["host"] = json["host"].clone();
    assert_eq!(json, own);
    assert_eq!(read("words"), "a; b alert notice ops\n");
    let id = Command::new("id").args(["-u", "nobody"]).output().unwrap();
    assert_eq!(read("id").into_bytes(), id.stdout);
    let groups = Command::new("id").args(["-g", "nobody"]).output().unwrap();
    assert_eq!(read("groups").into_bytes(), groups.stdout, "no group of root's is left");
    agent.finish();
}

#[test]
fn a_program_that_hangs_is_killed_and_tried_again() {
    needs!(Root, Bpf, Nobody);
    let (_folder, program, out) =
        script("if mkdir OUT/first; then echo $$ > OUT/pid; sleep 600; fi\ncat > OUT/json");
    let (agent, _config) =
        run(&format!("kind = \"command\"\ncommand = [\"{}\"]\ntimeout = \"1s\"", program.display()));
    let mut pool = Pool::pthreads();
    pool.threads(45);
    let complaint = wait_for_words(&agent, "outlet ops: ");
    let expected = format!("outlet ops: {} took longer than 1s and was killed", program.display());
    assert_eq!(text(&complaint["message"]), expected);
    let pid = fs::read_to_string(out.join("pid")).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
    wait_for_words(&agent, "outlet ops: well again after ");
    assert!(fs::read_to_string(out.join("json")).unwrap().contains("\"level\":40"));
    agent.finish();
}

#[test]
fn mail_goes_through_the_mail_program() {
    needs!(Root, Bpf);
    let (_folder, program, out) = script("echo \"$*\" > OUT/words\ncat > OUT/mail\necho > OUT/done");
    let lines = "kind = \"mail\"\nto = [\"ops@example.org\", \"root\"]\nfrom = \"procwatch@example.org\"";
    let (agent, _config) = run(&format!("{lines}\nsendmail = \"{}\"", program.display()));
    // A name that would be a header, if one let it.
    let folder = tempfile::tempdir().unwrap();
    let nasty = folder.path().join("a\nBcc: x@y.z");
    fs::copy(procwatch_tests::compiled("pthreads"), &nasty).unwrap();
    let mut pool = Started::new(&mut Command::new(&nasty));
    pool.say("have 45");
    assert_eq!(pool.hear(), "45");
    until("the mail", || out.join("done").exists().then_some(()));
    let words = fs::read_to_string(out.join("words")).unwrap();
    assert_eq!(words, "-i -f procwatch@example.org ops@example.org root\n");
    let mail = fs::read_to_string(out.join("mail")).unwrap();
    let (head, body) = mail.split_once("\n\n").unwrap();
    assert!(head.starts_with("From: procwatch@example.org\nTo: ops@example.org, root\nSubject: "), "{head}");
    assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
    let pid = pool.pid();
    assert!(body.contains(&format!(" alert: a\\nBcc: x@y.z({pid}) of root: NOTICE 40 threads")), "{body}");
    agent.finish();
}

/// `procwatch outlet test ops`
fn try_ops(config: &Path) -> Refusal {
    refusal(&["outlet", "test", "ops", "--config", config.to_str().unwrap()])
}

#[test]
fn an_outlet_can_be_tried() {
    needs!(Root);
    let hook = Hook::start(&[Reply::Status(200), Reply::Status(403)]);
    let (_folder, path) = config(&webhook(&hook, ""));
    let good = try_ops(&path);
    assert_eq!(good.code, Some(0), "{good:?}");
    assert!(good.stdout.starts_with("webhook ops: delivered in "), "{good:?}");
    let post = hook.posts().remove(0).body;
    assert_eq!((text(&post["kind"]), text(&post["severity"])), ("alert", "notice"));
    assert_eq!(text(&post["rule"]), "this is a trial, nothing has happened");
    let bad = try_ops(&path);
    assert_eq!(bad.code, Some(1), "{bad:?}");
    let end = format!(": http://{} answers 403: reply\n", hook.address);
    assert!(
        bad.stdout.starts_with("webhook ops: not delivered after ") && bad.stdout.ends_with(&end),
        "{bad:?}"
    );
    let unknown = refusal(&["outlet", "test", "opps", "--config", path.to_str().unwrap()]);
    assert_eq!(unknown.code, Some(2));
    assert_eq!(unknown.stderr, "procwatch: the configuration has no outlet \"opps\" (known: ops)\n");
}

#[test]
fn what_stands_in_an_outlets_way_is_told_before() {
    needs!(Root);
    let (_folder, program, _out) = script("true");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o777)).unwrap();
    let (_config, path) = config(&format!("kind = \"command\"\ncommand = [\"{}\"]", program.display()));
    let why = format!("{}: others may write it; right is chmod go-w", program.display());
    let check = refusal(&["check", "--config", path.to_str().unwrap()]);
    assert!(
        check.stdout.contains(&format!("outlet[1] ops: command\n{}:5: {why}\n", path.display())),
        "{check:?}"
    );
    let tried = try_ops(&path);
    assert_eq!(tried.code, Some(1));
    assert!(tried.stdout.ends_with(&format!(": {why}\n")) && tried.stdout.lines().count() == 1, "{tried:?}");
    let (_config, path) = config("kind = \"webhook\"\nurl = \"htps://x/secret\"");
    let check = refusal(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(check.code, Some(2));
    let problem = "outlet[1].url: is of htps, and https or http is possible";
    assert!(check.stdout.contains(problem) && !check.stdout.contains("secret"), "{check:?}");
}

/// A web server with a certificate for 127.0.0.1 that answers 200 to each POST and says what it was sent.
const HTTPS: &str = "import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        self.send_response(200)
        self.end_headers()
        print(body.decode(), flush=True)
    def log_message(self, *args): pass
server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

#[test]
fn https_wants_a_certificate_that_is_trusted() {
    needs!(Root);
    let folder = tempfile::tempdir().unwrap();
    let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("cert.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=procwatch test", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("there is openssl");
    assert!(made.status.success(), "{made:?}");
    let mut server = Started::new(Command::new("python3").args(["-c", HTTPS]).args([&certificate, &key]));
    let port = server.hear();
    let url = format!("kind = \"webhook\"\nurl = \"https://127.0.0.1:{port}/\"");
    let (_config, path) = config(&url);
    let refused = try_ops(&path);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stdout.contains("certificate"), "{refused:?}");
    let (_config, path) = config(&format!("{url}\nca-file = \"{}\"", certificate.display()));
    let trusted = try_ops(&path);
    assert_eq!(trusted.code, Some(0), "{trusted:?}");
    let sent: Value = serde_json::from_str(&server.hear()).unwrap();
    assert_eq!(text(&sent["rule"]), "this is a trial, nothing has happened");
}
