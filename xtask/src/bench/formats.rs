//! What an event costs the agent: read and thrown away, as a line for people, as JSON; and how fast it takes in a
//! recorded stream.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
    process::{self, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    Bench, cpu,
    report::{Figure, Section},
    stream::storm,
};
use crate::{agent::Agent, exec, interrupt, load, workspace::Workspace};

/// The most that an event may take the agent before it is formatted, and with JSON, µs of CPU.
const TARGETS_US: [f64; 2] = [1.0, 3.0];

/// Takes the figures.
pub(super) fn measure(bench: &Bench) -> Result<Section> {
    let me = process::id().to_string();
    // The kernel programs tell all of our children's events; the agent decodes them, and finds none of that name.
    let nothing = ["watch", "--json", "--pid", &me, "--children", "--comm", "nothing-has-it"];
    let ways: [(&str, &[&str], Option<f64>); 3] = [
        ("read and decoded, nothing written", &nothing, Some(TARGETS_US[0])),
        ("lines for people", &["watch"], None),
        ("JSON", &["watch", "--json"], Some(TARGETS_US[1])),
    ];
    let mut samples = [const { Vec::new() }; 3];
    for round in 0..bench.pick(1, 5) {
        for turn in 0..ways.len() {
            let way = (round + turn) % ways.len();
            samples[way].push(us_per_event(bench, ways[way].1)?);
        }
    }
    let mut figures = Vec::new();
    for ((name, _, target), sample) in ways.iter().zip(&samples) {
        let figure = Figure::median(format!("CPU of the agent, {name}"), "µs/event", sample);
        figures.push(match target {
            Some(target) => figure.at_most(*target),
            None => figure,
        });
    }
    figures.extend(drain(bench)?);
    Ok(Section {
        title: "Cost of an event",
        commands: vec![
            "procwatch watch --json --pid PARENT --children --comm nothing-has-it > /dev/null".to_owned(),
            "procwatch watch > /dev/null".to_owned(),
            "procwatch watch --json > /dev/null".to_owned(),
            format!(
                "{} storm {SECONDS}   # an event for each thread's begin and one for its end",
                load::NAME
            ),
            "procwatch watch --json > recorded.jsonl; procwatch replay recorded.jsonl > /dev/null".to_owned(),
        ],
        figures,
    })
}

/// How long the generator works.
const SECONDS: u64 = 2;
/// What still waits in the ring is read within this time.
const DRAIN: Duration = Duration::from_millis(300);

/// CPU time of the agent for each event of one generator, µs.
fn us_per_event(bench: &Bench, words: &[&str]) -> Result<f64> {
    interrupt::check()?;
    let agent = Agent::start_unheard(&mut bench.procwatch(words)?)?;
    let before = cpu::spent_ns(&agent.proc())?;
    let threads = storm(1, SECONDS, None)?;
    thread::sleep(DRAIN);
    let spent = cpu::spent_ns(&agent.proc())? - before;
    agent.stop(|_| {})?;
    Ok(spent / (2 * threads) as f64 / 1e3)
}

/// Records a stream and replays it.
fn drain(bench: &Bench) -> Result<[Figure; 2]> {
    let target = Workspace::locate()?.target;
    let folder = tempfile::Builder::new().prefix("bench-drain-").tempdir_in(target)?;
    let recorded = folder.path().join("recorded.jsonl");
    record(bench, &recorded)?;
    let lines = BufReader::new(File::open(&recorded)?).lines().count();
    let bytes = fs::metadata(&recorded)?.len();
    let mut seconds = Vec::new();
    for _ in 0..bench.pick(1, 5) {
        let begun = Instant::now();
        exec::read(bench.procwatch(&["replay"])?.arg(&recorded))?;
        seconds.push(begun.elapsed().as_secs_f64());
    }
    let rates = |amount: f64| seconds.iter().map(|seconds| amount / seconds).collect::<Vec<_>>();
    Ok([
        Figure::median("recorded stream, replayed", "events/s", &rates(lines as f64))
            .note(format!("{lines} events; parsed, and judged by the rules")),
        Figure::median("the same", "MB/s", &rates(bytes as f64 / 1e6)),
    ])
}

fn record(bench: &Bench, file: &Path) -> Result<()> {
    let output = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = bench.procwatch(&["watch", "--json"])?;
    let agent = Agent::start_into(&mut command, Stdio::from(output))?;
    storm(thread::available_parallelism()?.get(), bench.pick(1, 4), None)?;
    thread::sleep(DRAIN);
    agent.stop(|_| {})
}
