//! Who creates threads in machine code: the kernel's stacks, unwound, named, and counted.

mod elf;
mod merge;
mod own;
mod symbols;
mod unwind;

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use self::{elf::Elf, merge::Merged, symbols::Names, unwind::Unwinder};
use super::{
    maps::Mapping,
    report::{Cause, CreatorGroup, How, StackFrame},
};
use crate::creators::Creators;

/// Most stacks that are named.
const MAX_STACKS: usize = 256;
/// Most frames of a stack that are told.
const MAX_FRAMES: usize = 32;
/// How long names are looked for.
const NAMES_LIMIT: Duration = Duration::from_secs(2);

/// The answer.
#[derive(Debug, Default)]
pub(super) struct Native {
    /// Stacks of creations, most first.
    pub groups: Vec<CreatorGroup>,
    /// The program's own code among them, put together, most first.
    pub causes: Vec<Cause>,
    /// Creations that the Python interpreter made.
    pub by_python: u64,
    /// What was left out.
    pub cut: Vec<String>,
}

/// Whether the program is Go's.
pub(super) fn is_go(pid: u32, mappings: &[Mapping], exe: &str) -> bool {
    let program = mappings.iter().find(|mapping| mapping.is_executable && mapping.path == exe);
    program.and_then(|mapping| Elf::of(pid, mapping).ok()).is_some_and(|elf| elf.is_go)
}

/// Unwinds, names and counts. `deadline` is for the unwinding alone.
pub(super) fn answer(pid: u32, mappings: &[Mapping], creators: &Creators, deadline: Instant) -> Native {
    let mut unwinder = Unwinder::new(pid, mappings);
    let mut unwound: HashMap<u64, Vec<Vec<u64>>> = HashMap::new();
    let mut native = Native::default();
    // The newest tell most of what happens now.
    for (index, sample) in creators.samples.iter().rev().enumerate() {
        if Instant::now() >= deadline {
            native.cut.push(format!("{} of {} samples were unwound", index, creators.samples.len()));
            break;
        }
        if !sample.stack.is_empty() {
            unwound.entry(sample.stack_hash).or_default().push(unwinder.unwind(sample, deadline));
        }
    }
    let mut merged = merge::merge(&creators.stacks, &unwound, |address| is_code(mappings, address));
    if merged.len() > MAX_STACKS {
        native.cut.push(format!("{MAX_STACKS} of {} stacks were named", merged.len()));
        merged.truncate(MAX_STACKS);
    }
    let addresses: HashSet<u64> = merged.iter().flat_map(|stack| stack.frames.iter().copied()).collect();
    let mut names = symbols::names(pid, addresses, mappings, NAMES_LIMIT);
    for (address, frames) in &mut names {
        let build_id = unwinder.build_id(*address);
        for frame in frames {
            frame.build_id.clone_from(&build_id);
        }
    }
    let total = creators.stacks.iter().map(|stack| stack.count).sum();
    native.tell(merged, &names, total);
    native
}

impl Native {
    fn tell(&mut self, merged: Vec<Merged>, names: &Names, total: u64) {
        for stack in merged {
            let frames: Vec<StackFrame> = stack
                .frames
                .iter()
                .flat_map(|address| names.get(address).cloned().unwrap_or_default())
                .collect();
            let group = CreatorGroup {
                count: stack.count,
                share: share(stack.count, total),
                refused: stack.refused,
                estimated: stack.estimated,
                frames,
            };
            match own::creator(&group.frames) {
                Some(index) if own::is_python(&group.frames[index]) => self.by_python += group.count,
                Some(index) => self.add_cause(&group, index, total),
                None => {}
            }
            self.groups.push(group);
        }
        // Same stack to the eye: two calls of one line, or of a file without lines.
        self.groups = put_together(std::mem::take(&mut self.groups), total);
        self.causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
    }

    fn add_cause(&mut self, group: &CreatorGroup, index: usize, total: u64) {
        let frame = &group.frames[index];
        let function = symbols::name(frame);
        let is_same = |cause: &&mut Cause| {
            cause.function.as_ref() == Some(&function)
                && cause.module == frame.module
                && (cause.line, &cause.file) == (frame.line, &frame.file)
        };
        if let Some(cause) = self.causes.iter_mut().find(is_same) {
            let count = cause.count.unwrap_or(0) + group.count;
            (cause.count, cause.share) = (Some(count), Some(share(count, total)));
            cause.estimated |= group.estimated;
            return;
        }
        let callers = group.frames[index + 1..]
            .iter()
            .take(3)
            .map(|it| symbols::name(it).to_string())
            .collect::<Vec<_>>();
        let called =
            if callers.is_empty() { String::new() } else { format!(", called by {}", callers.join(" ← ")) };
        let calls = index.checked_sub(1).map(|inner| symbols::name(&group.frames[inner]).to_string());
        self.causes.push(Cause {
            how: How::Counted,
            file: frame.file.clone(),
            line: frame.line,
            code: None,
            function: Some(function),
            module: frame.module.clone(),
            offset: frame.offset,
            build_id: frame.build_id.clone(),
            count: Some(group.count),
            share: Some(share(group.count, total)),
            estimated: group.estimated,
            evidence: vec![format!("calls {}{called}", calls.unwrap_or_else(|| "clone".to_owned()))],
        });
    }
}

fn is_code(mappings: &[Mapping], address: u64) -> bool {
    mappings.iter().any(|it| it.is_executable && (it.start..it.end).contains(&address))
}

fn put_together(groups: Vec<CreatorGroup>, total: u64) -> Vec<CreatorGroup> {
    let mut all: Vec<CreatorGroup> = Vec::new();
    let same_to_the_eye = |a: &[StackFrame], b: &[StackFrame]| {
        let shown = |frame: &StackFrame| (symbols::name(frame), frame.line, frame.module.clone());
        a.iter().map(shown).eq(b.iter().map(shown))
    };
    for mut group in groups {
        group.frames.truncate(MAX_FRAMES);
        match all.iter_mut().find(|it| same_to_the_eye(&it.frames, &group.frames)) {
            Some(same) => {
                same.count += group.count;
                same.refused += group.refused;
                same.estimated |= group.estimated;
                same.share = share(same.count, total);
            }
            None => all.push(group),
        }
    }
    all.sort_by_key(|group| std::cmp::Reverse(group.count));
    all
}

fn share(count: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { count as f64 / total as f64 }
}
