//! From the event that shows a process of another user outside to the kernel's proof that it is inside: the exec of `su`'s shell,
//! or the change of credentials where the kernel lets programs attach there.

use std::{fs, io::Write as _, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{armed, quantiles};
use crate::{
    agent::Ending,
    bench::{Bench, report::Figure},
    interrupt, load,
    tree::{Tree, unused_uid},
};

/// How long one move is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What ran.
pub(super) fn commands() -> [String; 2] {
    [
        "procwatch run --json --config place.toml   # enforce; a uid belongs in one cgroup, and is taken from another".to_owned(),
        format!("{} become UID sleep 600   # in the other one, one after the other", load::NAME),
    ]
}

/// Sessions that are moved, one after the other.
pub(super) fn figures(bench: &Bench, load: &str) -> Result<[Figure; 3]> {
    let uid = unused_uid()?;
    let tree = Tree::plant()?;
    let folder = tempfile::tempdir().context("cannot make a folder for the configuration")?;
    let config = folder.path().join("place.toml");
    fs::write(&config, format!("mode = \"enforce\"\n{}", Tree::rule(uid)))
        .context("cannot write the configuration")?;
    let mut agent = armed(bench.procwatch(&["run", "--json", "--config"])?.arg(&config))?;
    let count = bench.pick(10, 100);
    let mut outside = Vec::new();
    for _ in 0..count {
        interrupt::check()?;
        let session = become_another(&tree, uid)?;
        let pid = session.0.id();
        agent.until(PATIENCE, |line| {
            let told = outside_ms(line, pid);
            outside.extend(told);
            told.is_some()
        })?;
    }
    agent.stop(|_| {})?;
    tree.fell()?;
    let [p50, p99, max] = quantiles(&format!("su's exec to inside, {load}"), &outside);
    Ok([p50.note(format!("{} moves of {count}", outside.len())), p99, max])
}

/// A process in the session that becomes the user and runs a program.
fn become_another(tree: &Tree, uid: u32) -> Result<Ending> {
    let mut process = Ending(load::command(&["become", &uid.to_string(), "sleep", "600"])?.spawn()?);
    tree.enter_session(process.0.id())?;
    process.0.stdin.as_mut().context("the load's pipe is gone")?.write_all(b"!")?;
    Ok(process)
}

/// How long it was outside, when a line says that this process was moved, ms.
fn outside_ms(line: &str, pid: u32) -> Option<f64> {
    let record: Value = serde_json::from_str(line).ok()?;
    let is_moved = record["kind"] == "outcome" && record["pid"] == pid && record["result"] == "verified";
    is_moved.then(|| record["outside_ns"].as_f64()).flatten().map(|ns| ns / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_move_of_that_process_counts() {
        let line = r#"{"kind":"outcome","pid":7,"result":"verified","outside_ns":1500000}"#;
        assert_eq!(outside_ms(line, 7), Some(1.5));
        assert_eq!(outside_ms(line, 8), None);
        assert_eq!(outside_ms(&line.replace("verified", "gone"), 7), None);
    }
}
