//! The kernel's own account of each BPF program, by the file descriptors of the process that holds it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Switch of the account, for the whole machine.
const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// What the kernel says of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Program {
    /// The tracepoint that it is attached to; empty for none.
    pub(crate) hook: String,
    /// Time in it, ns, while the account was on.
    pub(crate) run_time_ns: u64,
    /// Times that it ran.
    pub(crate) run_cnt: u64,
    /// Instructions that the verifier had to look at.
    pub(crate) verified_insns: u64,
}

/// The account is kept while this lives.
pub(crate) struct Account {
    before: String,
}

impl Account {
    /// Switches it on.
    pub(crate) fn open() -> Result<Self> {
        let before = fs::read_to_string(SWITCH).with_context(|| format!("cannot read {SWITCH}"))?;
        fs::write(SWITCH, "1").with_context(|| format!("cannot write {SWITCH}"))?;
        Ok(Self { before })
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        drop(fs::write(SWITCH, &self.before));
    }
}

/// How many programs of the process in `proc` are attached.
pub(crate) fn attached(proc: &Path) -> Result<usize> {
    Ok(programs(proc)?.values().filter(|program| !program.hook.is_empty()).count())
}

/// The programs of the process in `proc`, by their id.
pub(crate) fn programs(proc: &Path) -> Result<BTreeMap<u64, Program>> {
    let folder = proc.join("fdinfo");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    // A descriptor may be closed between the two.
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    let mut programs = BTreeMap::new();
    texts.for_each(|text| note(&text, &mut programs));
    Ok(programs)
}

/// Notes what one descriptor tells: that of a program has its figures, that of a link names its hook.
fn note(text: &str, programs: &mut BTreeMap<u64, Program>) {
    let fields: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    let number = |name| fields.get(name).and_then(|value| value.parse::<u64>().ok());
    let Some(id) = number("prog_id") else { return };
    let program = programs.entry(id).or_default();
    if let Some(hook) = fields.get("tp_name") {
        (*hook).clone_into(&mut program.hook);
    }
    if let Some(run_time_ns) = number("run_time_ns") {
        program.run_time_ns = run_time_ns;
        program.run_cnt = number("run_cnt").unwrap_or_default();
        program.verified_insns = number("verified_insns").unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_and_program_make_one_entry() {
        let mut programs = BTreeMap::new();
        note("pos:\t0\nflags:\t02000002\n", &mut programs);
        assert!(programs.is_empty());
        note("link_type:\traw_tracepoint\nprog_id:\t254\ntp_name:\ttask_newtask\n", &mut programs);
        note("prog_id:\t254\nrun_time_ns:\t700\nrun_cnt:\t3\nverified_insns:\t3132\n", &mut programs);
        let expected =
            Program { hook: "task_newtask".to_owned(), run_time_ns: 700, run_cnt: 3, verified_insns: 3132 };
        assert_eq!(programs.into_iter().collect::<Vec<_>>(), [(254, expected)]);
    }
}
