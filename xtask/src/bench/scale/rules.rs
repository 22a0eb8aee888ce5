//! What rules cost: in the programs, and the agent for each exec, which is when a rule is chosen.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};

use super::{drawn, ns_since};
use crate::{
    bench::{
        Bench,
        account::{self, Account},
        cpu,
        latency::armed,
        report::Figure,
    },
    exec, interrupt,
    load::{self, Operation},
};

/// Numbers of rules.
const COUNTS: [usize; 3] = [1, 10, 1_000];
/// What is done under each, and how often.
const OPERATIONS: [(Operation, u32); 3] =
    [(Operation::Thread, 20_000), (Operation::Crowded, 20_000), (Operation::Exec, 600)];

pub(super) fn commands() -> Vec<String> {
    let mut commands = vec![
        "procwatch run --json --config N-rules.toml   # each but the last with an argv pattern".to_owned(),
    ];
    commands.extend(
        OPERATIONS.map(|(operation, count)| format!("{} time {} {count}", load::NAME, operation.name())),
    );
    commands
}

fn rules(count: usize) -> String {
    format!("{count} {}", if count == 1 { "rule" } else { "rules" })
}

/// Rules that are all looked at for every exec, because none but the last fits.
fn config(rules: usize) -> String {
    let mut text = String::new();
    for number in 1..rules {
        let _ = writeln!(text, "[[threads]]\nargv = \"*nothing-has-it-{number}*\"\nlevels = [90, 200]");
    }
    text + "[[threads]]\nlevels = [80, 100, 500, 1000]\n"
}

pub(super) fn figures(bench: &Bench) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir().context("cannot make a folder for configurations")?;
    let file = folder.path().join("rules.toml");
    let mut account = vec![Vec::new(); OPERATIONS.len()];
    let mut agent_us = Vec::new();
    for count in COUNTS {
        fs::write(&file, config(count)).context("cannot write the configuration")?;
        let (ns, us) = under(bench, &file)?;
        for (series, ((operation, _), sample)) in account.iter_mut().zip(OPERATIONS.iter().zip(ns)) {
            let name = format!("{}: {}, in the programs", rules(count), operation.name());
            series.push((name, "ns", sample));
        }
        agent_us.push((format!("{}: CPU of the agent for an exec", rules(count)), "µs", us));
    }
    let mut figures: Vec<Figure> = account.into_iter().flat_map(drawn).collect();
    figures.extend(drawn(agent_us));
    Ok(figures)
}

/// ns in the programs for each operation, and µs of the agent for an exec, a value a round.
fn under(bench: &Bench, config: &Path) -> Result<(Vec<Vec<f64>>, Vec<f64>)> {
    let agent = armed(bench.procwatch(&["run", "--json", "--config"])?.arg(config))?;
    let _account = Account::open()?;
    let mut ns = vec![Vec::new(); OPERATIONS.len()];
    let mut us = Vec::new();
    for _ in 0..bench.pick(1, 5) {
        for ((operation, count), sample) in OPERATIONS.iter().zip(&mut ns) {
            interrupt::check()?;
            let count = bench.pick(count / 5, *count);
            let (programs, spent) = (account::programs(&agent.proc())?, cpu::spent_ns(&agent.proc())?);
            exec::read(&mut load::command(&["time", operation.name(), &count.to_string()])?)?;
            // The load does a tenth more, before it looks at the clock.
            let done = f64::from(count + count / 10);
            sample.push(ns_since(&agent, &programs)? / done);
            if *operation == Operation::Exec {
                us.push((cpu::spent_ns(&agent.proc())? - spent) / done / 1e3);
            }
        }
    }
    agent.stop(|_| {})?;
    Ok((ns, us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_is_for_all_others() {
        assert_eq!(config(1).matches("[[threads]]").count(), 1);
        let ten = config(10);
        assert_eq!((ten.matches("[[threads]]").count(), ten.matches("argv").count()), (10, 9));
    }
}
