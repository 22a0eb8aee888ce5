//! Who creates the threads of a process, found out while it lives and without stopping it.
//!
//! What is read here is the process' own: its memory, its files, its source. None of it is believed or run. The agent
//! lets a child process do this work, so that nothing of it is read where the kernel programs are held.

mod causes;
pub mod creators_json;
mod error;
mod files;
pub mod hints;
pub mod human;
mod maps;
mod names;
mod native;
pub mod python;
pub mod report;
mod runtime;
pub mod source;
mod target;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

pub use self::{error::DiagnoseError, files::Files};
use self::{
    hints::Scene,
    maps::Mapping,
    native::Native,
    python::{Looks, Site},
    report::{Counted, Diagnosis, Now, Runtime, Work},
    target::Target,
};
use crate::{creators::Creators, text::escape};

/// How long the whole look may take.
const LIMIT: Duration = Duration::from_secs(5);
/// What of that is for reading names and unwinding.
const READING_LIMIT: Duration = Duration::from_secs(2);
/// Most groups of threads that are told.
const MAX_GROUPS: usize = 50;

/// Looks at a process, with what the kernel saw of its creations, if it was asked.
///
/// # Errors
/// When there is no such process, it ends meanwhile, or it may not be looked at.
pub fn diagnose(pid: u32, creators: Option<&Creators>) -> Result<Diagnosis, DiagnoseError> {
    let begun = Instant::now();
    let target = Target::open(pid)?;
    let unreadable = |source| DiagnoseError::Unreadable { pid, source };
    let names = names::read(pid, begun + READING_LIMIT).map_err(unreadable)?;
    let mappings = maps::mappings(pid).map_err(unreadable)?;
    let runtime = runtime_of(&target, &mappings);
    let mut work = Work::default();
    if names.is_cut {
        work.cut
            .push(format!("the names of {} threads of {} were read", names.looked_at, target.told.threads));
    }

    let native = creators.map(|creators| native::answer(pid, &mappings, creators, begun + READING_LIMIT));
    let looks = looks(pid, runtime, LIMIT.saturating_sub(begun.elapsed()), &mut work);
    let files = Files::of(pid, target.euid, target.egid);
    let creating = creators.map(creating_threads).unwrap_or_default();
    let sites = python::sites(&looks, &python::Known { files: &files, creators: &creating });
    let found = Found { target: &target, files: &files, looks: &looks, sites: &sites, creating: &creating };
    let (cause, others) = causes::causes(&found, native.as_ref());
    let hints = hints::find(&Scene { pid, looks: &looks.looks, sites: &sites });
    let stacks = looks.looks.last().map(|threads| python::groups(threads)).unwrap_or_default();

    let now = Now { threads: target.threads_now()? };
    let Native { groups, cut, .. } = native.unwrap_or_default();
    work.cut.extend(cut);
    work.took_ms = begun.elapsed().as_millis() as u64;
    let mut diagnosis = Diagnosis {
        process: target.told,
        runtime,
        runtime_note: runtime::note(runtime).map(str::to_owned),
        cause,
        others,
        hints,
        names: names.groups,
        stacks,
        creators: groups,
        counted: creators.map(counted),
        now,
        work,
    };
    diagnosis.cut();
    Ok(diagnosis)
}

/// What was found, before it is weighed.
struct Found<'a> {
    target: &'a Target,
    files: &'a Files,
    looks: &'a Looks,
    sites: &'a [Site],
    creating: &'a [u32],
}

fn runtime_of(target: &Target, mappings: &[Mapping]) -> Runtime {
    let exe = target.told.exe.as_ref().map(|exe| String::from_utf8_lossy(exe.as_bytes()).into_owned());
    let exe = exe.unwrap_or_default();
    runtime::runtime(mappings, &exe, || native::is_go(target.told.pid, mappings, &exe))
}

fn looks(pid: u32, runtime: Runtime, limit: Duration, work: &mut Work) -> Looks {
    if runtime != Runtime::Python {
        return Looks::default();
    }
    let looks = python::look(pid, limit.min(python::LOOK_LIMIT));
    work.looks = looks.looks.len() as u32;
    if let Some(error) = looks.error.as_ref().filter(|_| looks.looks.is_empty()) {
        work.cut.push(format!("no Python frames: {}", escape(error.as_bytes())));
    }
    looks
}

/// Threads that created threads, most active first.
fn creating_threads(creators: &Creators) -> Vec<u32> {
    let mut counts: HashMap<u32, u32> = HashMap::new();
    for sample in &creators.samples {
        *counts.entry(sample.tid).or_default() += 1;
    }
    let mut threads: Vec<(u32, u32)> = counts.into_iter().collect();
    threads.sort_by_key(|(tid, count)| (std::cmp::Reverse(*count), *tid));
    threads.into_iter().map(|(tid, _)| tid).collect()
}

fn counted(creators: &Creators) -> Counted {
    Counted { creations: creators.creations, unkept: creators.unkept, samples: creators.samples.len() as u64 }
}

impl Diagnosis {
    /// Leaves small groups out where there are many.
    fn cut(&mut self) {
        let lists =
            [("names", self.names.len()), ("stacks", self.stacks.len()), ("creators", self.creators.len())];
        for (what, len) in lists.into_iter().filter(|(_, len)| *len > MAX_GROUPS) {
            self.work.cut.push(format!("{what}: the largest {MAX_GROUPS} groups of {len}"));
        }
        self.names.truncate(MAX_GROUPS);
        self.stacks.truncate(MAX_GROUPS);
        self.creators.truncate(MAX_GROUPS);
    }
}
