//! Weighs what was found: which code is named first.

use super::{
    Found,
    native::Native,
    python::{Origin, Site, dominant},
    report::{Cause, How},
};
use crate::{
    clock::Clock,
    text::{Text, escape},
};

/// Most causes that are told besides the first.
const MAX_OTHERS: usize = 9;

/// The cause and other places, in the order of weight.
pub(super) fn causes(found: &Found<'_>, native: Option<&Native>) -> (Option<Cause>, Vec<Cause>) {
    let mut python: Vec<Cause> = found.sites.iter().map(|site| of_site(found, site)).collect();
    if python.is_empty() {
        python.extend(of_creating_thread(found));
    }
    let machine = native.map(|native| native.causes.clone()).unwrap_or_default();
    let counted = machine.iter().filter_map(|cause| cause.count).sum::<u64>();
    let by_python = native.map_or(0, |native| native.by_python);
    if by_python > 0
        && let [only] = python.as_mut_slice()
    {
        let total = by_python + counted;
        (only.count, only.share) = (Some(by_python), Some(by_python as f64 / total as f64));
    }
    let mut all = if is_pythons(found, by_python, counted) {
        [python, machine].concat()
    } else {
        [machine, python].concat()
    };
    all.truncate(MAX_OTHERS + 1);
    let mut all = all.into_iter();
    (all.next(), all.collect())
}

/// Whether Python's own frames tell more than the machine's. Where the kernel has not counted, Python's threads are.
fn is_pythons(found: &Found<'_>, by_python: u64, counted: u64) -> bool {
    if by_python + counted > 0 {
        return by_python >= counted;
    }
    !found.looks.looks.is_empty()
}

fn of_site(found: &Found<'_>, site: &Site) -> Cause {
    let file = found.files.get(&site.file);
    let code = file.as_ref().and_then(|file| file.module.line(site.line).map(Text::from));
    let mut evidence: Vec<String> =
        site.evidence.iter().map(|it| escape(it.as_bytes()).into_owned()).collect();
    if file.is_some_and(|file| is_newer(found, file.written)) {
        evidence.push("the file was written after the process started: lines may have moved".to_owned());
    }
    Cause {
        how: if site.seen > 0 { How::Seen } else { How::Inferred },
        file: Some(Text::from(site.file.as_str())),
        line: Some(site.line),
        code,
        function: Some(Text::from(site.function.as_str())),
        module: None,
        offset: None,
        build_id: None,
        count: None,
        share: None,
        estimated: false,
        evidence,
    }
}

/// Where the thread is now that the kernel saw create most, when nothing in its source tells.
fn of_creating_thread(found: &Found<'_>) -> Option<Cause> {
    let threads = found.looks.looks.last()?;
    let thread = found.creating.iter().find_map(|tid| threads.iter().find(|it| it.tid == Some(*tid)))?;
    // Threads that start each other all look the same, and where one waits says nothing.
    if dominant(threads).is_some_and(|(role, _)| role == thread.role()) {
        return None;
    }
    let frame = thread.frames.iter().find(|frame| frame.origin == Origin::Own)?;
    let site = Site {
        file: frame.file.clone(),
        line: frame.line,
        function: frame.function.clone(),
        seen: 0,
        evidence: vec![
            "the kernel saw this thread create threads; it is here now, and its source has no creation"
                .to_owned(),
        ],
        creation: None,
        weight: 0,
    };
    Some(of_site(found, &site))
}

fn is_newer(found: &Found<'_>, written: i64) -> bool {
    let process = &found.target.told;
    let Ok(clock) = Clock::new() else {
        return false;
    };
    let started = clock.timestamp(crate::event::BootTime(process.start_ns));
    written > started.as_second() + 1
}
