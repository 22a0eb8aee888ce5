//! What one more thread costs in a process that has many.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::{drawn, limit::Room, line, ns_since, wait_until_ready};
use crate::{
    agent::Ending,
    bench::{
        Bench,
        account::{self, Account},
        latency::armed,
        report::Figure,
    },
    interrupt, load,
};

/// Threads that the process has already.
const CROWDS: [usize; 4] = [10, 60, 1_000, 10_000];
/// Threads created and ended.
const COUNT: u32 = 20_000;

pub(super) fn command() -> String {
    format!(
        "{} time crowded {COUNT} --crowd N --told   # the account of the time after it was told",
        load::NAME
    )
}

pub(super) fn figures(bench: &Bench) -> Result<Vec<Figure>> {
    let crowds = bench.pick(&CROWDS[..3], &CROWDS[..]);
    let _room = Room::make(*crowds.last().context("there are crowds")? as u64)?;
    let agent = armed(&mut bench.procwatch(&["run", "--json"])?)?;
    let _account = Account::open()?;
    let mut samples = vec![Vec::new(); crowds.len()];
    for _ in 0..bench.pick(1, 5) {
        for (crowd, sample) in crowds.iter().zip(&mut samples) {
            interrupt::check()?;
            let count = bench.pick(COUNT / 5, COUNT);
            let mut command = load::command(&[
                "time",
                "crowded",
                &count.to_string(),
                "--crowd",
                &crowd.to_string(),
                "--told",
            ])?;
            sample.push(once(&mut command, &agent)? / f64::from(count));
        }
    }
    agent.stop(|_| {})?;
    let name =
        |crowd: &usize| format!("in a process of {crowd} threads: one created and ended, in the programs");
    Ok(drawn(crowds.iter().zip(samples).map(|(crowd, sample)| (name(crowd), "ns", sample)).collect()))
}

/// ns in the programs while the load does what is timed, and nothing of what comes before and after.
fn once(command: &mut Command, agent: &crate::agent::Agent) -> Result<f64> {
    let mut child = Ending(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    let mut output = wait_until_ready(&mut child.0)?;
    let before = account::programs(&agent.proc())?;
    child.0.stdin.as_mut().context("the load's pipe is gone")?.write_all(&[0])?;
    line(&mut output)?;
    ns_since(agent, &before)
}
