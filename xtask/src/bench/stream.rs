//! Throughput and loss, against what the generators know they did.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    process::Child,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    Bench, cpu,
    report::{Figure, Section},
};
use crate::{
    agent::Agent,
    interrupt,
    load::{self, Operation},
};

/// What the reader of the stream found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    lines: u64,
    bytes: u64,
    /// Threads that the generators created.
    threads: u64,
    /// Forks, execs and exits of children, by kind and parent.
    children: HashMap<(String, u64), u64>,
    /// The last line.
    summary: String,
}

/// What the generators know that they did.
#[derive(Debug, Default)]
struct Done {
    threads: u64,
    /// Children of a process, and whether they ran a program.
    children: Vec<Children>,
}

#[derive(Debug)]
struct Children {
    parent: u64,
    count: u64,
    ran: bool,
}

/// Takes the figures.
pub(super) fn measure(bench: &Bench) -> Result<Section> {
    let seconds: u64 = bench.pick(4, 10);
    let generators = thread::available_parallelism()?.get();
    let (agent, output) = Agent::start_piped(&mut bench.procwatch(&["watch", "--json"])?)?;
    // Our generators have a name of their own; whatever other program creates threads is not counted as theirs.
    let reader: JoinHandle<Result<Heard>> =
        thread::spawn(move || listen(BufReader::with_capacity(1 << 18, output)));
    let cpu_before = cpu::spent_ns(&agent.proc())?;
    let begun = Instant::now();
    let mut done = Done { threads: storm(generators, seconds, None)?, ..Done::default() };
    let elapsed = begun.elapsed().as_secs_f64();
    interrupt::check()?;
    for (operation, count) in CHILDREN {
        done.children.push(children(operation, bench.pick(count / 5, count))?);
    }
    // What still waits in the ring is read within this time, and its cost counted.
    thread::sleep(Duration::from_millis(500));
    let cpu = cpu::spent_ns(&agent.proc())? - cpu_before;
    agent.stop(|_| {})?;
    let heard = reader.join().map_err(|_| anyhow::anyhow!("the reader of the stream failed"))??;
    let mut commands = vec![
        "procwatch watch --json | a reader that counts".to_owned(),
        format!("{} storm {seconds}   # {generators} at once", load::NAME),
    ];
    commands.extend(
        CHILDREN.map(|(operation, count)| format!("{} time {} {count}", load::NAME, operation.name())),
    );
    Ok(Section { title: "Stream", commands, figures: figures(&heard, &done, elapsed, cpu)? })
}

/// Children whose events are counted.
const CHILDREN: [(Operation, u32); 2] = [(Operation::Fork, 5_000), (Operation::Exec, 1_000)];

/// Generators of threads at once, for so long, each at that rate; how many they created.
pub(super) fn storm(generators: usize, seconds: u64, rate: Option<u32>) -> Result<u64> {
    let mut words = vec!["storm".to_owned(), seconds.to_string()];
    words.extend(rate.map(|rate| format!("--rate={rate}")));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let storms = (0..generators).map(|_| Ok(load::command(&words)?.spawn()?)).collect::<Result<Vec<_>>>()?;
    let mut created = 0;
    for storm in storms {
        created += told(storm)?.trim().parse::<u64>().context("a generator gave no figure")?;
    }
    Ok(created)
}

/// What a generator says at its end.
fn told(generator: Child) -> Result<String> {
    let output = generator.wait_with_output()?;
    ensure!(output.status.success(), "a generator failed ({})", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Makes children, one after the other.
fn children(operation: Operation, count: u32) -> Result<Children> {
    let generator = load::command(&["time", operation.name(), &count.to_string()])?.spawn()?;
    let parent = u64::from(generator.id());
    told(generator)?;
    // It does a tenth more, before it looks at the clock.
    Ok(Children { parent, count: u64::from(count + count / 10), ran: operation == Operation::Exec })
}

fn figures(heard: &Heard, done: &Done, elapsed: f64, cpu_ns: f64) -> Result<Vec<Figure>> {
    let summary: Value =
        serde_json::from_str(&heard.summary).context("the stream ended without a summary")?;
    let number = |name| summary[name].as_f64().context("the summary is not complete");
    let (events, lost) = (number("events")?, number("lost")?);
    let missing = done.threads as f64 - heard.threads as f64;
    let mut figures = vec![
        Figure::one("events while the generators created threads", "/s", 2.0 * done.threads as f64 / elapsed)
            .note(format!("{events} events in all")),
        Figure::one("lost, as told", "events", lost).at_most(0.0),
        Figure::one("threads created, by the generators", "", done.threads as f64),
        Figure::one("threads created, in the stream", "", heard.threads as f64)
            .note(format!("{missing} not there")),
    ];
    let mut unaccounted = missing;
    for (kind, truth) in [("fork", true), ("exec", false), ("exit", true)] {
        let of_kind = done.children.iter().filter(|children| truth || children.ran);
        let (mut made, mut there) = (0, 0);
        for children in of_kind {
            made += children.count;
            there += heard.children.get(&(kind.to_owned(), children.parent)).unwrap_or(&0);
        }
        unaccounted += (made as f64 - there as f64).abs();
        let name = format!("{kind} events of the generators' children, in the stream");
        figures.push(Figure::one(name, "", there as f64).note(format!("the generators made {made}")));
    }
    figures.extend([
        Figure::one("missing without being told", "events", (unaccounted - lost).max(0.0)).at_most(0.0),
        Figure::one("CPU of the agent", "µs/event", cpu_ns / events / 1e3).note("JSON, read and formatted"),
        Figure::one("size", "bytes/event", heard.bytes as f64 / heard.lines.max(1) as f64),
    ]);
    Ok(figures)
}

/// Reads until the stream ends.
fn listen(mut stream: impl BufRead) -> Result<Heard> {
    let mut heard = Heard::default();
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line)? > 0 {
        heard.lines += 1;
        heard.bytes += line.len() as u64;
        if is_ours(&line) {
            heard.threads += 1;
        } else if let Some(child) = child_of(&line) {
            *heard.children.entry(child).or_default() += 1;
        }
        if line.len() < 300 && contains(&line, br#""kind":"summary""#) {
            heard.summary = String::from_utf8_lossy(&line).into_owned();
        }
        line.clear();
    }
    Ok(heard)
}

/// Kind and parent of what a line tells of a process; none for threads, of which there are many more.
fn child_of(line: &[u8]) -> Option<(String, u64)> {
    let head = &line[..line.len().min(120)];
    let kinds: [&[u8]; 3] = [br#""kind":"fork""#, br#""kind":"exec""#, br#""kind":"exit""#];
    if !kinds.iter().any(|kind| contains(head, kind)) {
        return None;
    }
    let record: Value = serde_json::from_slice(line).ok()?;
    Some((record["kind"].as_str()?.to_owned(), record["ppid"].as_u64()?))
}

/// Whether a line tells of a thread that a generator created. Their name is in the first part of the line.
fn is_ours(line: &[u8]) -> bool {
    let head = &line[..line.len().min(260)];
    contains(head, br#""kind":"thread","#) && contains(head, br#""comm":"procwatch-demo""#)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_counted_and_its_summary_kept() {
        let stream = concat!(
            r#"{"time":"t","boot_ns":1,"kind":"thread","pid":7,"comm":"procwatch-demo"}"#,
            "\n",
            r#"{"time":"t","boot_ns":1,"kind":"thread","pid":7,"comm":"other"}"#,
            "\n",
            r#"{"time":"t","boot_ns":1,"kind":"thread-exit","pid":7,"comm":"procwatch-demo"}"#,
            "\n",
            r#"{"time":"t","boot_ns":1,"kind":"exec","pid":9,"ppid":8,"comm":"true"}"#,
            "\n",
            r#"{"kind":"summary","events":4,"lost":0}"#,
            "\n",
        );
        let heard = listen(stream.as_bytes()).unwrap();
        assert_eq!((heard.lines, heard.threads), (5, 1));
        assert_eq!(heard.children, HashMap::from([(("exec".to_owned(), 8), 1)]));
        let done = Done { threads: 1, children: vec![Children { parent: 8, count: 1, ran: true }] };
        let figures = figures(&heard, &done, 1.0, 0.1).unwrap();
        let text = Section { title: "", commands: Vec::new(), figures }.markdown();
        // The fork and the exit of that child are not there, and no loss was told.
        assert!(
            text.contains("| missing without being told | 2.00 events |  | ≤ 0 events: MISSED |"),
            "{text}"
        );
        assert!(super::figures(&Heard::default(), &done, 1.0, 0.1).is_err());
    }
}
