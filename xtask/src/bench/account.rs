//! The kernel's own account of each BPF program, found by the file descriptors of the process that holds it or its link.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;
use serde::Serialize;

/// Switch of the account, for the whole machine.
const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// What the kernel says of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Program {
    /// The tracepoint that it is attached to; empty for none.
    pub(crate) hook: String,
    /// Its name, which the kernel cuts at 15 bytes.
    pub(crate) name: String,
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
    // Of a program that is pinned its process has the link alone. One of somebody else's may go while all are listed.
    for info in loaded_programs().filter_map(Result::ok) {
        if let Some(program) = programs.get_mut(&u64::from(info.id())) {
            info.name_as_str().unwrap_or_default().clone_into(&mut program.name);
            program.run_time_ns = info.run_time().as_nanos() as u64;
            program.run_cnt = info.run_count();
            program.verified_insns = info.verified_instruction_count().unwrap_or_default().into();
        }
    }
    Ok(programs)
}

/// Notes what one descriptor tells: that of a program or of a link names the program, that of a link its hook as well.
fn note(text: &str, programs: &mut BTreeMap<u64, Program>) {
    let fields: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    let id = fields.get("prog_id").and_then(|value| value.parse::<u64>().ok());
    let Some(id) = id else { return };
    let program = programs.entry(id).or_default();
    if let Some(hook) = fields.get("tp_name") {
        (*hook).clone_into(&mut program.hook);
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
        note("prog_id:\t254\nrun_time_ns:\t700\nrun_cnt:\t3\n", &mut programs);
        let expected = Program { hook: "task_newtask".to_owned(), ..Program::default() };
        assert_eq!(programs.into_iter().collect::<Vec<_>>(), [(254, expected)]);
    }
}
