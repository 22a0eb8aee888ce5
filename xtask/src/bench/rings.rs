//! How many events a second each size of the ring takes before the first one is lost.

use std::{
    io::{BufRead, BufReader},
    process::ChildStdout,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::Value;

use super::{
    Bench,
    report::{Figure, Section, number},
    stream::storm,
};
use crate::{agent::Agent, interrupt, load};

/// Sizes of the ring, KiB.
const SIZES_KIB: [u32; 9] = [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384];
/// The same for a quick run.
const QUICK_SIZES_KIB: [u32; 2] = [64, 8192];
/// Threads a second that each generator creates, rising; at last as many as it can.
const RATES: [Option<u32>; 7] =
    [Some(500), Some(1000), Some(2000), Some(4000), Some(8000), Some(16_000), None];
/// Generators for each CPU when nothing limits them.
const CROWD: usize = 4;
/// What still waits in the ring is read within this time.
const DRAIN: Duration = Duration::from_millis(300);

/// Takes the figures.
pub(super) fn measure(bench: &Bench) -> Result<Section> {
    let generators = thread::available_parallelism()?.get();
    let sizes = bench.pick(&QUICK_SIZES_KIB[..], &SIZES_KIB[..]);
    let figures = sizes.iter().map(|size| until_loss(bench, *size, generators)).collect::<Result<_>>()?;
    Ok(Section {
        title: "Rings",
        commands: vec![
            "procwatch watch --json --ring-kib N | a reader that counts".to_owned(),
            format!(
                "{} storm 1 --rate R   # {generators} at once; R from 500 to 16000, then {CROWD} times as many without",
                load::NAME
            ),
        ],
        figures,
    })
}

/// What the reader has counted so far.
#[derive(Debug, Default)]
struct Count {
    events: AtomicU64,
    lost: AtomicU64,
}

impl Count {
    fn now(&self) -> (u64, u64) {
        (self.events.load(Ordering::Acquire), self.lost.load(Ordering::Acquire))
    }
}

/// Raises the rate until something is lost.
fn until_loss(bench: &Bench, size_kib: u32, generators: usize) -> Result<Figure> {
    let size = size_kib.to_string();
    let (agent, output) =
        Agent::start_piped(&mut bench.procwatch(&["watch", "--json", "--ring-kib", &size])?)?;
    let count = Arc::new(Count::default());
    let reader = thread::spawn({
        let count = Arc::clone(&count);
        move || listen(output, &count)
    });
    let rates = bench.pick(&RATES[4..], &RATES[..]);
    let (mut best, mut note) = (0.0, String::from("nothing lost, as fast as the generators can"));
    for rate in rates {
        interrupt::check()?;
        let (begun, before) = (Instant::now(), count.now());
        // At last the agent has to fight for its CPU.
        let generators = if rate.is_some() { generators } else { generators * CROWD };
        storm(generators, 1, *rate)?;
        let elapsed = begun.elapsed().as_secs_f64();
        thread::sleep(DRAIN);
        let after = count.now();
        let lost = after.1 - before.1;
        let per_second = (after.0 - before.0 + lost) as f64 / elapsed;
        if lost > 0 {
            note = format!("{lost} lost at {} /s", number(per_second));
            break;
        }
        best = per_second;
    }
    agent.stop(|_| {})?;
    reader.join().map_err(|_| anyhow::anyhow!("the reader of the stream failed"))?;
    Ok(Figure::one(format!("{size_kib} KiB, nothing lost up to"), "events/s", best).note(note))
}

/// Counts until the stream ends.
fn listen(output: ChildStdout, count: &Count) {
    let mut stream = BufReader::with_capacity(1 << 18, output);
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        match lost(&line) {
            None => count.events.fetch_add(1, Ordering::Release),
            Some(lost) => count.lost.fetch_add(lost, Ordering::Release),
        };
        line.clear();
    }
}

/// How many events a line says are lost; none for a line that is an event itself.
fn lost(line: &[u8]) -> Option<u64> {
    const KIND: &[u8] = br#""kind":"loss""#;
    let head = &line[..line.len().min(120)];
    if !head.windows(KIND.len()).any(|window| window == KIND) {
        return None;
    }
    serde_json::from_slice::<Value>(line).ok()?["lost"].as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_from_events() {
        let loss = br#"{"time":"t","boot_ns":1,"kind":"loss","ring":"stream","cpu":0,"lost":42}"#;
        assert_eq!(lost(loss), Some(42));
        assert_eq!(lost(br#"{"time":"t","kind":"thread","pid":1}"#), None);
    }
}
