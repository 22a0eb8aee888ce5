//! `procwatch diagnose --patch`: a change of the source for each pattern that was proved, and `--apply`.

use std::{
    io::{self, Write},
    os::unix::ffi::OsStrExt as _,
};

use serde::Serialize;

use crate::{
    diagnose::report::{Diagnosis, Hint, How},
    event::{BootTime, ProcessKey},
    patch::{self, Applied, Finding, NoPatch, Proposal, Request},
    text::{Text, escape},
};

/// What came of one pattern.
#[derive(Serialize)]
pub(super) struct Patch {
    /// The name of the pattern.
    hint: String,
    /// The file that would be changed, escaped.
    file: Option<Text>,
    /// The change as a unified diff, escaped.
    diff: Option<String>,
    /// What changes for who runs it.
    remarks: Vec<&'static str>,
    /// Why there is none.
    reason: Option<NoPatch>,
    /// The file as it was, escaped; when the change was made.
    backup: Option<Text>,
    /// Why it was not made, escaped; when it was asked for.
    not_applied: Option<String>,
}

/// Proposes a change for each hint of a diagnosis, and makes it if `apply` says so.
pub(super) fn patches(diagnosis: &Diagnosis, apply: bool) -> Vec<Patch> {
    diagnosis.hints.iter().map(|hint| patch(diagnosis, hint, apply)).collect()
}

/// Whether all that was asked for was done.
pub(super) fn is_done(patches: &[Patch], apply: bool) -> bool {
    patches.iter().any(|patch| if apply { patch.backup.is_some() } else { patch.diff.is_some() })
}

fn patch(diagnosis: &Diagnosis, hint: &Hint, apply: bool) -> Patch {
    let mut patch = Patch {
        hint: hint.name.clone(),
        file: hint.file.clone(),
        diff: None,
        remarks: Vec::new(),
        reason: None,
        backup: None,
        not_applied: None,
    };
    let proposal = match proposal(diagnosis, hint) {
        Ok(proposal) => proposal,
        Err(reason) => {
            patch.reason = Some(reason);
            return patch;
        }
    };
    patch.file = Some(Text::new(proposal.file.as_os_str().as_encoded_bytes()));
    patch.diff = Some(proposal.shown());
    patch.remarks.clone_from(&proposal.remarks);
    if apply {
        match patch::apply(&proposal) {
            Ok(Applied { backup, .. }) => {
                patch.backup = Some(Text::new(backup.as_os_str().as_encoded_bytes()));
            }
            Err(error) => patch.not_applied = Some(error.to_string()),
        }
    }
    patch
}

fn proposal(diagnosis: &Diagnosis, hint: &Hint) -> Result<Proposal, NoPatch> {
    let (Some(file), Some(line), Some(function)) = (&hint.file, hint.line, &hint.function) else {
        return Err(NoPatch::NotProved);
    };
    if !is_proved(diagnosis, hint) {
        return Err(NoPatch::NotProved);
    }
    let path = std::ffi::OsStr::from_bytes(file.as_bytes()).into();
    let process = ProcessKey { pid: diagnosis.process.pid, start: BootTime(diagnosis.process.start_ns) };
    let finding = Finding { hint: hint.name.clone(), file: path, line, function: function.clone() };
    patch::propose(&Request { process, finding })
}

/// Whether a thread was seen in the pattern's function, or the kernel counted creations by it. What only fits the names
/// of threads and the source is no proof.
fn is_proved(diagnosis: &Diagnosis, hint: &Hint) -> bool {
    // This one is made of live frames alone.
    if hint.name == "psutil-process-iter" {
        return true;
    }
    let causes = diagnosis.cause.iter().chain(&diagnosis.others);
    causes.into_iter().any(|cause| {
        let same = cause.file == hint.file && cause.function == hint.function;
        same && (cause.how != How::Inferred || cause.count.is_some())
    })
}

/// Shows what came of it: the reason, or the diff and what was done.
pub(super) fn write(out: &mut impl Write, patches: &[Patch]) -> io::Result<()> {
    if patches.is_empty() {
        writeln!(out, "patch    none: no known pattern was found")?;
    }
    for patch in patches {
        let Patch { hint, diff, remarks, reason, backup, not_applied, .. } = patch;
        if let Some(reason) = reason {
            writeln!(out, "patch    none for {hint}: {reason}")?;
        }
        if let Some(diff) = diff {
            writeln!(out, "patch    for {hint}: {}", remarks.join("; "))?;
            out.write_all(diff.as_bytes())?;
        }
        if let (Some(backup), Some(file)) = (backup, &patch.file) {
            writeln!(
                out,
                "applied  {file} is changed, {backup} is as it was; it holds when the process is restarted"
            )?;
        }
        if let Some(why) = not_applied {
            writeln!(out, "applied  no, nothing was changed: {}", escape(why.as_bytes()))?;
        }
    }
    Ok(())
}
