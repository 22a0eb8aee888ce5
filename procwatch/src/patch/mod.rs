//! A fix of the cause, proposed as a change of the Python source: only for what was proved, and only where the meaning
//! stays the same.
//!
//! The proof comes in two halves. The diagnosis saw the pattern on live stacks, at a line of a function. Here the syntax
//! tree of the source is asked whether this very line, in this very function, has the pattern in a form that can be
//! rewritten. What it cannot tell for certain is a [`NoPatch`].

mod access;
mod compile;
mod executor;
mod iterate;
mod locate;
mod source;
mod syntax;
mod tasks;
mod write;

#[cfg(test)]
mod scene;
#[cfg(test)]
mod tests;

use std::{io, path::PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use thiserror::Error;

use self::{locate::Identity, source::Source};
use crate::{
    event::ProcessKey,
    text::{Text, escape},
};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The process that the finding was made in. It must live.
    pub process: ProcessKey,
    /// What the diagnosis saw.
    pub finding: Finding,
}

/// A pattern that the diagnosis saw on live stacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of the heuristic: `psutil-process-iter` and `executor-per-call` can be patched.
    pub hint: String,
    /// The source file as the process names it; if relative, then to the folder that the process is in.
    pub file: PathBuf,
    /// Line of the frame, from 1.
    pub line: u32,
    /// Function of the frame, with or without the class before it.
    pub function: Text,
}

/// A change of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// What it answers.
    pub request: Request,
    /// The file, without symbolic links, as this process sees it.
    pub file: PathBuf,
    /// The whole file as it is.
    pub before: Vec<u8>,
    /// The whole file as it would be.
    pub after: Vec<u8>,
    /// What changes for who runs it, each a sentence.
    pub remarks: Vec<&'static str>,
    /// Which file was read.
    identity: Identity,
}

impl Proposal {
    /// The change as a unified diff, fit for `patch -p0`. Raw: not for a terminal.
    pub fn diff(&self) -> String {
        let name = escape(self.file.as_os_str().as_encoded_bytes());
        let (before, after) = (String::from_utf8_lossy(&self.before), String::from_utf8_lossy(&self.after));
        similar::TextDiff::from_lines(before.as_ref(), after.as_ref())
            .unified_diff()
            .context_radius(3)
            .header(&name, &name)
            .to_string()
    }

    /// The change as a unified diff, each line escaped.
    pub fn shown(&self) -> String {
        let diff = self.diff();
        // A carriage return before the line feed is the file's way of ending lines, and no news.
        let lines = diff.lines().map(|line| escape(line.as_bytes()).into_owned() + "\n");
        lines.collect()
    }
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The file that was written.
    pub file: PathBuf,
    /// The file as it was before, beside it.
    pub backup: PathBuf,
}

/// Why nothing is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoPatch {
    /// The heuristic has no rewriting that is known to keep the meaning.
    #[error("no change of the source is known that surely keeps its meaning for this pattern")]
    NoTransformation,
    /// The pattern fits, but no thread was seen in its function, and the kernel counted none.
    #[error("the pattern fits, but no thread was seen in it and the kernel counted no creation by it")]
    NotProved,
    /// The process has ended, or its pid is another's now.
    #[error("the process has ended")]
    Gone,
    /// The caller is neither root nor the process' user.
    #[error("only root and the process' own user may look at its files")]
    NotAllowed,
    /// The file cannot be opened or read with the rights of the process.
    #[error("the source file cannot be read with the rights of the process")]
    Unreadable,
    /// It is a device, a pipe, a folder, or larger than 1 MiB.
    #[error("the source is no regular file of at most 1 MiB")]
    NotAFile,
    /// It is on a file system that its owner may fake, or one shared with other machines.
    #[error("the source is not on a local file system")]
    ForeignFileSystem,
    /// It was changed after the process started, so what runs may be something else.
    #[error("the source is newer than the process: what runs may differ from it")]
    NewerThanProcess,
    /// The path means another file on the host than in the process' mount namespace.
    #[error("the path means another file outside of the process' mount namespace")]
    Elsewhere,
    /// It is not UTF-8, or says that it is not.
    #[error("the source is not UTF-8 text")]
    NotUtf8,
    /// It does not parse as Python 3.
    #[error("the source does not parse as Python 3")]
    Syntax,
    /// The line of the live frame has no such pattern in a function of that name.
    #[error("the line and function of the live frame do not have the pattern in this source")]
    NotThere,
    /// Two places on the line could be meant.
    #[error("the line has the pattern twice")]
    Ambiguous,
    /// It is written in a way that is not rewritten.
    #[error("the pattern is written in a form that is not rewritten")]
    UnknownForm,
    /// A name of the pattern may mean something else than the library's function.
    #[error("a name in the pattern is bound more than once in this source")]
    Rebound,
    /// The loop variable is used in a way that depends on the object being the same one in each round.
    #[error("the process object is used in a way that may depend on its past, or leaves the loop")]
    ObjectEscapes,
    /// Every process is looked at anyway.
    #[error("each process is looked at anyway: a walk over the pids would save nothing")]
    NothingSaved,
    /// Arguments of the executor that are not the same in each call.
    #[error("the executor's arguments are not the same constants in each call")]
    NotConstant,
    /// The executor is made once, not in a function.
    #[error("the executor is not made in a function")]
    NotPerCall,
    /// The executor is stored, returned, shut down or passed on.
    #[error("the executor is stored, returned, shut down, or handed to other code")]
    ExecutorEscapes,
    /// What is submitted is not known from this source.
    #[error("what is submitted is not a function of this source or of a module that it imports")]
    TaskUnknown,
    /// A task may call the function again, and then wait for workers that wait for it.
    #[error("a task may call this function again: with one shared executor it could wait for itself")]
    TaskReenters,
    /// A task waits for something that another task may have to give it, or never ends.
    #[error("a task waits or never ends: with one shared executor others might never run")]
    TaskWaits,
    /// Threads are told apart.
    #[error("the source tells threads apart: with shared ones it would behave otherwise")]
    ThreadsMatter,
    /// The rewritten source does not parse, or does not have what it should.
    #[error("the rewritten source could not be verified")]
    Unverified,
}

/// Why a proposal was not applied. Nothing was changed then.
#[derive(Debug, Error)]
pub enum PatchError {
    /// As for a proposal.
    #[error("{0}")]
    Refused(#[from] NoPatch),
    /// The file is not the one that was read, or has other content now.
    #[error("the source was changed meanwhile; diagnose again")]
    Changed,
    /// The file's owner is not the process' user: a process can name any file as its source.
    #[error("the source belongs to uid {owner}, the process is of uid {process}; apply the diff by hand")]
    OwnedByAnother {
        /// Owner of the file.
        owner: u32,
        /// User of the process.
        process: u32,
    },
    /// Somebody else may write the file or its folder.
    #[error("{0} may be written by others than its owner; apply the diff by hand")]
    WritableByOthers(&'static str),
    /// It is on a mount that takes no writes.
    #[error("the source is on a read-only mount")]
    ReadOnly,
    /// The process' executable is no Python, or not the file that its path means on the host.
    #[error("the program of the process is not a python that can be run here: {0}")]
    NotPython(&'static str),
    /// The interpreter says no.
    #[error("the changed source does not compile: {0}")]
    DoesNotCompile(Text),
    /// The interpreter could not be asked, or did not answer in time.
    #[error("the interpreter could not be asked whether the changed source compiles: {0}")]
    NoAnswer(String),
    /// There is a backup of this second already.
    #[error("a backup of this very second is there already")]
    BackupExists,
    /// Something else of the system's.
    #[error("{what}: {source}")]
    Io {
        /// What failed.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl PatchError {
    /// For `map_err`: names what failed.
    fn io<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { what, source: source.into() }
    }
}

/// Proposes a change for what the diagnosis found. Only reads, with the rights of the process' user.
///
/// # Errors
/// Why there is nothing to propose.
pub fn propose(request: &Request) -> Result<Proposal, NoPatch> {
    let rewrite = rewriting(&request.finding.hint).ok_or(NoPatch::NoTransformation)?;
    let process = access::Process::find(request.process)?;
    let (found, before) = process.with_its_rights(|process| {
        let found = locate::find(process, &request.finding.file)?;
        let before = found.read()?;
        Ok::<_, NoPatch>((found, before))
    })??;
    let (after, remarks) = rewritten(&before, &request.finding, rewrite)?;
    let locate::Found { path, identity, .. } = found;
    Ok(Proposal { request: request.clone(), file: path, before, after, remarks, identity })
}

/// Writes what was proposed: after a backup beside it, in one step, with the file's owner and mode.
///
/// # Errors
/// Why not. Everything is as it was then.
pub fn apply(proposal: &Proposal) -> Result<Applied, PatchError> {
    apply_at(proposal, Timestamp::now())
}

fn apply_at(proposal: &Proposal, now: Timestamp) -> Result<Applied, PatchError> {
    let process = access::Process::find(proposal.request.process)?;
    compile::check(&process, &proposal.after)?;
    process.with_its_rights(|process| {
        let found = locate::find(process, &proposal.file)?;
        if found.identity != proposal.identity || found.read()? != proposal.before {
            return Err(PatchError::Changed);
        }
        write::replace(process, &found, proposal, now)
    })?
}

/// Rewrites a source in the syntax tree of which the pattern was found.
type Rewrite = fn(&syntax::Syntax<'_>, &Finding) -> Result<source::Change, NoPatch>;

fn rewriting(hint: &str) -> Option<Rewrite> {
    match hint {
        "psutil-process-iter" => Some(iterate::rewrite),
        "executor-per-call" => Some(executor::rewrite),
        _ => None,
    }
}

/// The source after a rewriting, and what it changes. Pure.
fn rewritten(
    bytes: &[u8],
    finding: &Finding,
    rewrite: Rewrite,
) -> Result<(Vec<u8>, Vec<&'static str>), NoPatch> {
    let source = Source::new(bytes)?;
    let tree = source.parse()?;
    let change = rewrite(&syntax::Syntax::new(&tree, source.text()), finding)?;
    let after = change.applied_to(source.text())?;
    Source::new(after.as_bytes()).and_then(Source::parse).map_err(|_| NoPatch::Unverified)?;
    Ok((after.into_bytes(), change.remarks))
}
