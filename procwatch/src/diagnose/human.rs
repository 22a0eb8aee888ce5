//! A diagnosis for people.

use std::{fmt, io};

use super::report::{Cause, Diagnosis, Hint, StackFrame};
use crate::sink::duration::Span;

/// Groups that are shown.
const SHOWN: usize = 5;
/// Columns of the first word of a line.
const LABEL: usize = 8;
/// Longest command line that is shown, characters.
const COMMAND: usize = 100;

/// Writes it. The first line names the cause.
///
/// # Errors
/// When writing fails.
pub fn write(out: &mut impl io::Write, diagnosis: &Diagnosis) -> io::Result<()> {
    let process = &diagnosis.process;
    let (comm, pid, threads) = (&process.comm, process.pid, diagnosis.now.threads);
    match &diagnosis.cause {
        Some(cause) => writeln!(
            out,
            "{}: creates the {threads} threads of {comm} ({pid}), {}",
            Place(cause),
            Way(cause)
        )?,
        None => writeln!(out, "no cause found for the {threads} threads of {comm} ({pid})")?,
    }
    line(out, "process", &about(diagnosis))?;
    if let Some(note) = &diagnosis.runtime_note {
        line(out, "runtime", note)?;
    }
    if let Some(cause) = &diagnosis.cause {
        details(out, "cause", cause)?;
    }
    for other in diagnosis.others.iter().take(SHOWN) {
        line(out, "also", &format!("{}, {}", Place(other), Way(other)))?;
    }
    rest(out, diagnosis.others.len(), "places")?;
    for hint in &diagnosis.hints {
        line(out, "hint", &shown_hint(hint))?;
    }
    let names: Vec<String> =
        diagnosis.names.iter().take(SHOWN).map(|group| format!("{} ×{}", group.name, group.count)).collect();
    line(out, "threads", &names.join(", "))?;
    rest(out, diagnosis.names.len(), "names")?;
    for stack in diagnosis.stacks.iter().take(SHOWN) {
        line(out, "frames", &format!("×{} {}", stack.count, Frames(&stack.frames)))?;
    }
    rest(out, diagnosis.stacks.len(), "stacks")?;
    for group in diagnosis.creators.iter().take(SHOWN) {
        let about = if group.estimated { "≈" } else { "" };
        line(out, "created", &format!("{about}×{} {}", group.count, Frames(&group.frames)))?;
    }
    rest(out, diagnosis.creators.len(), "stacks")?;
    state(out, diagnosis)
}

fn state(out: &mut impl io::Write, diagnosis: &Diagnosis) -> io::Result<()> {
    let work = &diagnosis.work;
    for cut in &work.cut {
        line(out, "note", cut)?;
    }
    let counted = diagnosis.counted.map_or_else(String::new, |it| {
        let unkept = if it.unkept > 0 { format!(" ({} not kept)", it.unkept) } else { String::new() };
        format!("; the kernel counted {} creations{unkept}, {} sampled whole", it.creations, it.samples)
    });
    let (before, after) = (diagnosis.process.threads, diagnosis.now.threads);
    let now = format!(
        "{after} threads, {before} before the look of {} ms (stopped {} ms){counted}",
        work.took_ms, work.stopped_ms
    );
    line(out, "now", &now)
}

fn about(diagnosis: &Diagnosis) -> String {
    let process = &diagnosis.process;
    let user = process.user.as_ref().map_or_else(|| process.uid.to_string(), ToString::to_string);
    let mut command: String = process.argv.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = command.char_indices().nth(COMMAND) {
        command.truncate(end);
        command.push('…');
    }
    let rule = process.rule.as_ref().map_or_else(String::new, |rule| format!(", rule {rule}"));
    format!("{command} of {user}, {}, age {}{rule}", diagnosis.runtime.name(), Span(process.age_ns))
}

fn details(out: &mut impl io::Write, label: &str, cause: &Cause) -> io::Result<()> {
    if let Some(code) = &cause.code {
        line(out, label, &code.to_string())?;
    }
    if let (Some(module), Some(offset)) = (&cause.module, cause.offset) {
        let build_id = cause.build_id.as_ref().map_or_else(String::new, |id| format!(", build id {id}"));
        line(out, label, &format!("{module}+{offset:#x}{build_id}"))?;
    }
    cause.evidence.iter().try_for_each(|evidence| line(out, "because", evidence))
}

fn shown_hint(hint: &Hint) -> String {
    let place = match (&hint.file, hint.line) {
        (Some(file), Some(line)) => format!(" {file}:{line}"),
        _ => String::new(),
    };
    let function = hint.function.as_ref().map_or_else(String::new, |it| format!(" in {it}"));
    format!("{}{place}{function}: {}", hint.name, hint.evidence.join("; "))
}

fn line(out: &mut impl io::Write, label: &str, text: &str) -> io::Result<()> {
    writeln!(out, "{label:LABEL$} {text}")
}

fn rest(out: &mut impl io::Write, all: usize, what: &str) -> io::Result<()> {
    match all.checked_sub(SHOWN) {
        Some(more) if more > 0 => line(out, "", &format!("and {more} more {what}")),
        _ => Ok(()),
    }
}

/// `/srv/a.py:12 in spawn`, or `spawn_worker in /usr/bin/a`.
struct Place<'a>(&'a Cause);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = self.0;
        let function = cause.function.as_ref();
        match (&cause.file, cause.line, function) {
            (Some(file), Some(line), Some(function)) => write!(f, "{file}:{line} in {function}"),
            (Some(file), Some(line), None) => write!(f, "{file}:{line}"),
            (_, _, Some(function)) => {
                write!(f, "{function}")?;
                cause.module.as_ref().map_or(Ok(()), |module| write!(f, " in {module}"))
            }
            _ => f.write_str("unknown code"),
        }
    }
}

/// How it was found, and how many.
struct Way<'a>(&'a Cause);

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = self.0;
        f.write_str(cause.how.name())?;
        if let (Some(count), Some(share)) = (cause.count, cause.share) {
            let about = if cause.estimated { "about " } else { "" };
            write!(f, ": {about}{count} created, {:.0} %", share * 100.0)?;
        }
        Ok(())
    }
}

/// Frames in one line, innermost first.
struct Frames<'a>(&'a [StackFrame]);

impl fmt::Display for Frames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FRAMES: usize = 8;
        for (index, frame) in self.0.iter().take(FRAMES).enumerate() {
            if index > 0 {
                f.write_str(" ← ")?;
            }
            if frame.function.as_bytes().is_empty() {
                f.write_str("?")?;
            }
            write!(f, "{}", frame.function)?;
            if let (Some(file), Some(line)) = (&frame.file, frame.line) {
                let path = file.to_string();
                write!(f, " ({}:{line})", path.rsplit('/').next().unwrap_or(&path))?;
            }
        }
        if self.0.len() > FRAMES {
            f.write_str(" ← …")?;
        }
        if self.0.is_empty() {
            f.write_str("no frames")?;
        }
        Ok(())
    }
}
