//! `cargo xtask demo`: shows on the user's own machine, and harmlessly, what procwatch catches.

mod explosion;
mod stray;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    agent::Agent,
    build::{self, Profile},
    caller, exec, interrupt,
    tree::{self, Tree},
    workspace::Workspace,
};

/// How long procwatch may take to stand.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the demo is told; nothing by people.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The agent, built already: this is the part that runs as root
    #[arg(long, hide = true)]
    agent: Option<PathBuf>,
}

/// Builds, becomes root, and shows.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if let Some(agent) = &options.agent {
        return show(agent);
    }
    let agent = build::run(workspace, Profile::Release)?;
    if caller::is_root() {
        return show(&agent);
    }
    let this = std::env::current_exe().context("cannot find this program")?;
    Err(exec::replace(caller::as_root(&this)?.args(["demo", "--agent"]).arg(agent)))
}

/// One short line of narration.
fn tell(words: &str) -> Result<()> {
    writeln!(io::stdout(), "demo: {words}").context("nobody reads the narration")
}

/// A line of procwatch, as it is.
fn pass_on(line: &str) {
    // Whoever closed the terminal does not miss it.
    drop(writeln!(io::stdout(), "{line}"));
}

/// The whole of it. Everything that it made is gone when it returns.
fn show(agent: &Path) -> Result<()> {
    interrupt::catch()?;
    let uid = tree::unused_uid()?;
    let tree = Tree::plant()?;
    let folder = tempfile::tempdir().context("cannot make a folder for the configuration")?;
    let config = folder.path().join("procwatch.toml");
    fs::write(&config, configuration(uid)).with_context(|| format!("cannot write {}", config.display()))?;
    tell("procwatch starts, with a rule for this demo only")?;
    let mut command = Command::new(agent);
    let mut agent = Agent::start(command.arg("run").arg("--config").arg(&config))?;
    let armed = agent.until(PATIENCE, |line| {
        pass_on(line);
        line.contains(" armed: ")
    });
    ensure!(armed?, "procwatch was not armed within {PATIENCE:?}");

    let exploded = explosion::show(&mut agent)?;
    let placed = stray::show(&mut agent, &tree, uid)?;
    agent.stop(|_| {})?;
    tree.fell()?;
    tell("procwatch has ended; the demo's processes and cgroups are gone.")?;
    if !(exploded && placed) {
        bail!("the demo did not show what it promises");
    }
    Ok(())
}

fn configuration(uid: u32) -> String {
    format!("mode = \"enforce\"\n[[threads]]\nlevels = {:?}\n{}", explosion::LEVELS, Tree::rule(uid))
}

/// What one line of procwatch is about: its kind and its process.
fn kind_and_pid(line: &str) -> Option<(&str, u32)> {
    let mut words = line.split_whitespace();
    let kind = words.nth(1)?;
    Some((kind, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_and_process_are_read_from_a_line() {
        let line = "16:14:35.839018 alert   812     900    1 root     procwatch-demo  notice 80 threads";
        assert_eq!(kind_and_pid(line), Some(("alert", 812)));
        assert_eq!(kind_and_pid("16:14:35.839018 health      armed: armed in 4 ms"), None);
        assert_eq!(kind_and_pid(""), None);
    }
}
