//! Clients that mean no good: they neither hold up the agent nor make it grow.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    thread,
};

use procwatch_tests::{Agent, Pool, SOCKET, Talk, compiled, needs, number, start, text, until};
use serde_json::{Value, json};

/// Clients of each kind.
const EACH: usize = 40;

/// More than the agent may ever hold: some seventy clients find room, and what waits for one is at most 1 MiB.
const MOST_MEMORY: u64 = 96 << 20;

fn run() -> Agent {
    Agent::run(&[] as &[&str])
}

/// The most resident memory that a process ever had, bytes.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// A connection that is tried, and may be refused.
fn connect() -> Option<UnixStream> {
    UnixStream::connect(SOCKET).ok()
}

/// Asks for all there is and never reads.
fn deaf() -> Option<UnixStream> {
    let mut stream = connect()?;
    let all = json!({"ask": "events", "kinds": ["fork", "exec", "exit", "thread", "thread-exit"]});
    let asked = writeln!(stream, "{all}");
    asked.ok().map(|()| stream)
}

/// Begins a line and leaves it at that.
fn half() -> Option<UnixStream> {
    let mut stream = connect()?;
    stream.write_all(b"{\"ask\":\"sta").ok().map(|()| stream)
}

/// A line that would be a gigabyte, if the agent took it.
fn endless() -> u64 {
    let mut sent = 0;
    let Some(mut stream) = connect() else { return sent };
    let chunk = vec![b'x'; 1 << 20];
    while sent < 1 << 30 {
        match stream.write(&chunk) {
            Ok(written) => sent += written as u64,
            Err(_) => break,
        }
    }
    sent
}

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn two_hundred_clients_that_mean_no_good_change_nothing() {
    needs!(Root, Bpf);
    let agent = run();
    let crowd = thread::spawn(|| {
        let mut held: Vec<UnixStream> = Vec::new();
        let endless: Vec<_> = (0..EACH).map(|_| thread::spawn(endless)).collect();
        for _ in 0..EACH {
            held.extend(deaf());
            held.extend(half());
            // Who comes and goes at once, and who talks nonsense.
            drop(connect());
            if let Some(mut stream) = connect() {
                // The agent may have closed already.
                let _ = stream.write_all(&random(512));
                held.push(stream);
            }
        }
        let sent: u64 = endless.into_iter().map(|thread| thread.join().unwrap()).sum();
        (held, sent)
    });
    // Meanwhile much happens, and the agent does its work.
    let mut pools: Vec<Pool> = (0..10).map(|_| Pool::raw_clone()).collect();
    for _ in 0..5 {
        let mut forks = start(compiled("forks"), &["2000"]);
        forks.say("go");
        forks.hear();
        forks.end();
    }
    for pool in &mut pools {
        pool.threads(110);
    }
    let (held, sent) = crowd.join().unwrap();
    assert!(sent < EACH as u64 * (4 << 20), "the agent read {sent} bytes of lines without end");
    for pool in &pools {
        let of_pool = |it: &Value| it["kind"] == "alert" && it["pid"] == pool.pid() && it["bound"] == "level";
        let alerts = agent.wait_for_many(2, "both levels of a pool", of_pool);
        let levels: Vec<u64> = alerts.iter().map(|it| number(&it["level"])).collect();
        assert_eq!(levels, [80, 100]);
        let latencies = alerts.iter().map(|it| number(&it["latency_ns"]));
        assert!(latencies.max().unwrap() < 1_000_000_000, "a second is not realtime");
    }
    assert!(peak(agent.pid()) < MOST_MEMORY, "{}", peak(agent.pid()));
    drop(held);
    let mut talk = until("there is room again", || {
        let mut talk = Talk::connect().ok()?;
        (talk.hear()?["answer"] == "hello").then_some(talk)
    });
    until("all of them are gone", || (talk.status()["clients"] == 1).then_some(()));
    let status = talk.status();
    let socket = status["outputs"].as_array().unwrap().iter().find(|it| it["name"] == "socket").unwrap();
    assert!(number(&socket["failed"]) > 0 && socket["error"].is_null(), "{socket}");
    let urgent = status["rings"].as_array().unwrap().iter().find(|it| it["ring"] == "urgent").unwrap();
    assert_eq!(urgent["lost"], 0, "{urgent}");
    let complaints: Vec<Value> =
        agent.finish().records.into_iter().filter(|it| it["topic"] == "degraded").collect();
    assert!(!complaints.is_empty() && complaints.len() < 10, "{complaints:?}");
    assert!(complaints.iter().all(|it| text(&it["message"]).contains("uid 0")), "{complaints:?}");
}

#[test]
fn random_bytes_are_refused_each_time() {
    needs!(Root, Bpf);
    let agent = run();
    for round in 0..300_usize {
        let mut talk = until("the agent takes one more", || Talk::connect().ok());
        let hello = talk.hear().unwrap();
        assert_eq!(hello["answer"], "hello", "{hello}");
        let mut bytes = random(1 + round * 7 % 2000);
        bytes.push(b'\n');
        if talk.send(&bytes).is_ok() {
            let refused = talk.hear();
            assert!(refused.is_some_and(|it| it["answer"] == "refused"));
        }
        assert_eq!(talk.hear(), None, "and then it closes");
    }
    assert_eq!(Talk::greeted().status()["pid"], agent.pid());
    assert!(peak(agent.pid()) < MOST_MEMORY);
}

#[test]
fn places_are_few_and_root_finds_room_all_the_same() {
    needs!(Root, Bpf);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("procwatch.toml");
    fs::write(&config, "[socket]\nmax-clients = 2\n").unwrap();
    let agent = Agent::run(&["--config", config.to_str().unwrap()]);
    let inside: Vec<Talk> = (0..10).map(|_| Talk::greeted()).collect();
    let mut outside = Talk::connect().unwrap();
    let refused = outside.hear().unwrap();
    assert!(text(&refused["why"]).contains("10 clients are connected"), "{refused}");
    assert_eq!(outside.hear(), None);
    let complaint = agent.wait_for("a complaint", |it| it["topic"] == "degraded");
    let me = std::process::id();
    assert!(
        text(&complaint["message"]).contains(&format!("pid {me} (uid 0) was turned away")),
        "{complaint}"
    );
    drop(inside);
    until("room", || Talk::connect().ok()?.hear().filter(|it| it["answer"] == "hello"));
}

#[test]
fn whoever_asks_without_end_gets_answers_at_a_measured_pace() {
    needs!(Root, Bpf);
    let agent = run();
    let mut greedy = Talk::greeted();
    let requests = "{\"ask\":\"processes\"}\n".repeat(200);
    greedy.send(requests.as_bytes()).unwrap();
    let mut pool = Pool::raw_clone();
    pool.threads(90);
    agent.wait_for_event("alert", pool.pid());
    for _ in 0..5 {
        assert_eq!(greedy.hear().unwrap()["answer"], "processes");
    }
    // Another one is served meanwhile.
    assert_eq!(Talk::greeted().status()["pid"], agent.pid());
}
