//! What grows with the machine: with live threads, with processes, with the threads of one process, with rules. What
//! should be flat is drawn as a bar next to its figure.

mod crowd;
mod limit;
mod population;
mod rules;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Bench,
    account::{self, Program},
    report::{Figure, Section},
    statistics::Spread,
};
use crate::{agent::Agent, interrupt};

/// A part: what it is about, and what takes its figures.
type Part = (&'static str, fn(&Bench) -> Result<Vec<Figure>>);

/// Takes the figures. A machine that cannot hold so many says so, and the rest is measured all the same.
pub(super) fn measure(bench: &Bench) -> Result<Section> {
    let parts: [Part; 3] = [
        ("live threads and processes", population::figures),
        ("threads of one process", crowd::figures),
        ("rules", rules::figures),
    ];
    let mut figures = Vec::new();
    for (name, part) in parts {
        let measured = part(bench);
        interrupt::check()?;
        figures.extend(measured.unwrap_or_else(|error| vec![Figure::missing(name, format!("{error:#}"))]));
    }
    let mut commands = vec!["procwatch run --json".to_owned()];
    commands.extend(population::commands());
    commands.push(crowd::command());
    commands.extend(rules::commands());
    commands.push("sysctl kernel.bpf_stats_enabled=1; bpftool prog show".to_owned());
    Ok(Section { title: "Scale", commands, figures })
}

/// ns that the programs of `agent` took since `before`.
fn ns_since(agent: &Agent, before: &BTreeMap<u64, Program>) -> Result<f64> {
    let now = account::programs(&agent.proc())?;
    let since = now.iter().map(|(id, program)| {
        let before = before.get(id).map_or(0, |program| program.run_time_ns);
        program.run_time_ns.saturating_sub(before)
    });
    Ok(since.sum::<u64>() as f64)
}

/// The figures of a series, each with a bar as long as its value among the others.
fn drawn(series: Vec<(String, &'static str, Vec<f64>)>) -> Vec<Figure> {
    let medians: Vec<f64> = series.iter().map(|(_, _, sample)| median(sample)).collect();
    let largest = medians.iter().copied().fold(0.0, f64::max);
    let drawn = series.into_iter().zip(medians);
    drawn
        .map(|((name, unit, sample), median)| Figure::median(name, unit, &sample).note(bar(median, largest)))
        .collect()
}

fn median(sample: &[f64]) -> f64 {
    Spread::of(sample).map_or(0.0, |spread| spread.median)
}

/// A bar of at most 20 blocks.
fn bar(value: f64, largest: f64) -> String {
    const LENGTH: f64 = 20.0;
    let blocks = if largest > 0.0 { (value / largest * LENGTH).round() } else { 0.0 };
    "█".repeat((blocks as usize).max(1))
}

/// A first line that a load says, when it is ready.
fn wait_until_ready(child: &mut Child) -> Result<BufReader<ChildStdout>> {
    let mut output = BufReader::new(child.stdout.take().context("the load's pipe is gone")?);
    let line = line(&mut output)?;
    ensure!(!line.is_empty(), "the load ended before it was ready: the machine has no room for it");
    Ok(output)
}

/// The next line.
fn line(output: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values() {
        let series =
            vec![("10".to_owned(), "ns", vec![50.0]), ("1000".to_owned(), "ns", vec![100.0, 90.0, 110.0])];
        let text = Section { title: "", commands: Vec::new(), figures: drawn(series) }.markdown();
        assert!(
            text.contains(&format!("| 10 | 50.0 ns | 50.0–50.0, n=1 |  | {} |", "█".repeat(10))),
            "{text}"
        );
        assert!(
            text.contains(&format!("| 1000 | 100 ns | 90.0–110, n=3 |  | {} |", "█".repeat(20))),
            "{text}"
        );
    }
}
