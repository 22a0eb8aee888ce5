//! Throughput and loss, against what the generators know they did.

use std::{
    io::{BufRead, BufReader},
    process::Child,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    Bench, idle,
    report::{Figure, Section},
};
use crate::{agent::Agent, interrupt, load};

/// What the reader of the stream found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    lines: u64,
    bytes: u64,
    /// Threads that the generators created.
    threads: u64,
    /// The last line.
    summary: String,
}

/// Takes the figures.
pub(super) fn measure(bench: &Bench) -> Result<Section> {
    let seconds: u64 = bench.pick(4, 10);
    let generators = thread::available_parallelism()?.get();
    let (agent, output) = Agent::start_piped(&mut bench.procwatch(&["watch", "--json"])?)?;
    // Our generators have a name of their own; whatever other program creates threads is not counted as theirs.
    let reader: JoinHandle<Result<Heard>> =
        thread::spawn(move || listen(BufReader::with_capacity(1 << 18, output)));
    let cpu_before = idle::cpu_seconds(&agent.proc())?;
    let begun = Instant::now();
    let storms = (0..generators)
        .map(|_| Ok(load::command(&["storm", &seconds.to_string()])?.spawn()?))
        .collect::<Result<Vec<_>>>()?;
    let mut created = 0;
    for storm in storms {
        created += threads_of(storm)?;
    }
    let elapsed = begun.elapsed().as_secs_f64();
    interrupt::check()?;
    // What still waits in the ring is read within this time, and its cost counted.
    thread::sleep(Duration::from_millis(500));
    let cpu = idle::cpu_seconds(&agent.proc())? - cpu_before;
    agent.stop(|_| {})?;
    let heard = reader.join().map_err(|_| anyhow::anyhow!("the reader of the stream failed"))??;
    Ok(Section {
        title: "Stream",
        commands: vec![
            "procwatch watch --json | a reader that counts".to_owned(),
            format!("{} storm {seconds}   # {generators} at once", load::NAME),
        ],
        figures: figures(&heard, created, elapsed, cpu)?,
    })
}

fn threads_of(storm: Child) -> Result<u64> {
    let output = storm.wait_with_output()?;
    ensure!(output.status.success(), "a generator failed ({})", output.status);
    let text = String::from_utf8(output.stdout)?;
    text.trim().parse().context("a generator gave no figure")
}

fn figures(heard: &Heard, created: u64, elapsed: f64, cpu: f64) -> Result<Vec<Figure>> {
    let summary: Value =
        serde_json::from_str(&heard.summary).context("the stream ended without a summary")?;
    let number = |name| summary[name].as_f64().context("the summary is not complete");
    let (events, lost) = (number("events")?, number("lost")?);
    let missing = created as f64 - heard.threads as f64;
    Ok(vec![
        Figure::one("events", "/s", events / elapsed).note(format!("{events} in all")),
        Figure::one("lost, as told", "events", lost),
        Figure::one("threads created, by the generators", "", created as f64),
        Figure::one("threads created, in the stream", "", heard.threads as f64)
            .note(format!("{missing} not there")),
        Figure::one("missing without being told", "threads", (missing - lost).max(0.0)).at_most(0.0),
        Figure::one("CPU of the agent", "µs/event", cpu / events * 1e6)
            .note(format!("{:.0} % of one CPU", cpu / elapsed * 100.0)),
        Figure::one("size", "bytes/event", heard.bytes as f64 / heard.lines.max(1) as f64),
    ])
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
        }
        if line.len() < 300 && contains(&line, br#""kind":"summary""#) {
            heard.summary = String::from_utf8_lossy(&line).into_owned();
        }
        line.clear();
    }
    Ok(heard)
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
            r#"{"kind":"summary","events":3,"lost":0}"#,
            "\n",
        );
        let heard = listen(stream.as_bytes()).unwrap();
        assert_eq!((heard.lines, heard.threads), (4, 1));
        let figures = figures(&heard, 1, 1.0, 0.1).unwrap();
        assert_eq!(figures.len(), 7);
        assert!(super::figures(&Heard::default(), 1, 1.0, 0.1).is_err());
    }
}
