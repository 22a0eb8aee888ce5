//! Real work while somebody watches: messages between many processes, storms of threads and programs, a build.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

use super::{
    Bench,
    report::{Figure, Section},
    statistics::by_pairs,
    watchers::{NOBODY, NOBODY_AGAIN, RUN, WATCH, Watcher},
};
use crate::{caller, exec, interrupt, tools, workspace::Workspace};

/// Who watches.
const WATCHERS: [Watcher; 4] = [NOBODY, NOBODY_AGAIN, RUN, WATCH];

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// `perf bench sched messaging`, also known as hackbench: 400 processes.
    Messages,
    /// The same with threads.
    ThreadMessages,
    /// stress-ng: processes forked, threads created, programs run, as fast as it can.
    Storm,
    /// This workspace's own task program with all that it needs, compiled from nothing.
    Build,
}

const ALL: [Work; 4] = [Work::Messages, Work::ThreadMessages, Work::Storm, Work::Build];

const MESSAGES: [&str; 6] = ["bench", "sched", "messaging", "--group", "10", "--nr_loops"];
const STORM: [&str; 13] = [
    "--quiet",
    "--fork",
    "1",
    "--fork-ops",
    "2000",
    "--pthread",
    "1",
    "--pthread-ops",
    "10000",
    "--vfork",
    "1",
    "--vfork-ops",
    "2000",
];

impl Work {
    const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages between 400 processes",
            Self::ThreadMessages => "messages between 400 threads",
            Self::Storm => "stress-ng fork, pthread, vfork",
            Self::Build => "a build from nothing",
        }
    }

    /// Finds or installs what it takes.
    fn prepare(self, bench: &Bench) -> Result<()> {
        let (program, package) = match self {
            Self::Messages | Self::ThreadMessages => ("perf", "linux-perf"),
            Self::Storm => ("stress-ng", "stress-ng"),
            Self::Build => return Ok(()),
        };
        if bench.quick && !tools::is_on_path(program) {
            bail!("not installed (package {package}; the full benchmark installs it)");
        }
        tools::package(program, package, "the benchmark has it work while somebody watches")
    }

    /// The command, which works in or writes to an empty `folder`.
    fn command(self, bench: &Bench, folder: &Path) -> Result<Command> {
        let loops = bench.pick("100", "500");
        Ok(match self {
            Self::Messages => {
                let mut perf = Command::new("perf");
                perf.args(MESSAGES).arg(loops);
                perf
            }
            Self::ThreadMessages => {
                let mut perf = Command::new("perf");
                perf.args(MESSAGES).arg(loops).arg("--thread");
                perf
            }
            Self::Storm => {
                let mut stress = Command::new("stress-ng");
                stress.args(STORM).current_dir(folder);
                stress
            }
            Self::Build => {
                let mut cargo = caller::cargo(&Workspace::locate()?)?;
                cargo
                    .args(["build", "--quiet", "--offline", "--package", "xtask", "--target-dir"])
                    .arg(folder);
                cargo
            }
        })
    }
}

/// Takes the figures; a quick run only those of the first.
pub(super) fn measure(bench: &Bench) -> Result<Section> {
    let target = Workspace::locate()?.target;
    let (mut figures, mut commands) = (Vec::new(), Vec::new());
    commands.extend(WATCHERS.iter().filter_map(Watcher::command));
    for &work in bench.pick(&ALL[..1], &ALL[..]) {
        let measured = work.prepare(bench).and_then(|()| {
            commands.push(exec::show(&work.command(bench, Path::new("FOLDER"))?).replace('`', ""));
            by_turns(bench, work, &target)
        });
        interrupt::check()?;
        match measured {
            Ok(times) => figures.extend(compare(work, &times)),
            Err(error) => figures.push(Figure::missing(work.name(), format!("{error:#}"))),
        }
    }
    Ok(Section { title: "Real work", commands, figures })
}

/// s that it takes, a value a round, by the index of who watches.
type Times = BTreeMap<usize, Vec<f64>>;

/// The work with every watcher, by turns, and each round begins with another one.
fn by_turns(bench: &Bench, work: Work, target: &Path) -> Result<Times> {
    let mut times = Times::new();
    let rounds = if work == Work::Build { 3 } else { bench.pick(1, 5) };
    for round in 0..rounds {
        for turn in 0..WATCHERS.len() {
            let index = (round + turn) % WATCHERS.len();
            let watching = WATCHERS[index].start(bench)?;
            times.entry(index).or_default().push(once(bench, work, target)?);
            watching.stop()?;
        }
    }
    Ok(times)
}

/// s that it takes once.
fn once(bench: &Bench, work: Work, target: &Path) -> Result<f64> {
    interrupt::check()?;
    let folder = tempfile::Builder::new().prefix("bench-work-").tempdir_in(target)?;
    caller::hand_over(folder.path())?;
    let mut command = work.command(bench, folder.path())?;
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).output().context("the work cannot be started")?;
    let seconds = begun.elapsed().as_secs_f64();
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{} failed ({}): {}", exec::show(&command), output.status, exec::gist(&text));
    }
    fs::remove_dir_all(folder.path()).context("cannot remove what was built")?;
    Ok(seconds)
}

fn compare(work: Work, times: &Times) -> Vec<Figure> {
    let of = |index| times.get(&index).map_or(&[][..], Vec::as_slice);
    let figure = |(index, watcher): (usize, &Watcher)| {
        let name = format!("{}, {}", work.name(), watcher.name());
        let note = if index > 0 { by_pairs(of(index), of(0)) } else { String::new() };
        Figure::median(name, "s", of(index)).note(note)
    };
    WATCHERS.iter().enumerate().map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_what_the_others_are_compared_with() {
        let times = Times::from([(0, vec![2.0]), (1, vec![2.0]), (2, vec![2.02]), (3, vec![2.1])]);
        let section = Section { title: "", commands: Vec::new(), figures: compare(Work::Storm, &times) };
        let text = section.markdown();
        assert!(text.contains("pthread, vfork, nobody watches | 2.00 s | 2.00–2.00, n=1 |  |  |"), "{text}");
        assert!(
            text.contains("pthread, vfork, watch --json | 2.10 s | 2.10–2.10, n=1 |  | +5.0 %"),
            "{text}"
        );
    }
}
