//! Reads a recorded stream back, line by line.

use std::{
    io::{self, BufRead, Read as _},
    num::NonZeroU32,
    path::PathBuf,
};

use jiff::Timestamp;
use procwatch_common::wire::Trigger;
use serde::Deserialize;
use thiserror::Error;

use crate::{
    config::Location,
    event::{Argv, Attach, Body, BootTime, Creator, Event, Exec, Exit, ExitStatus, Subject, UidChange},
    record::{self, Process, SeenAt},
    text::{Text, escape},
};

/// Longest line, bytes. A record has at most a few kilobytes of foreign text, and six times that when it is escaped.
const MAX_LINE: u64 = 1 << 20;
/// More threads than any kernel allows (`PID_MAX_LIMIT`).
const MAX_THREADS: u32 = 4_194_304;
/// Most of a line that a message quotes, characters.
const MAX_QUOTE: usize = 60;

/// Kinds that say nothing about how threads grow.
const OTHERS: [&str; 11] = [
    "action",
    "alert",
    "cleared",
    "refused",
    "decision",
    "diagnosis",
    "outcome",
    "hold",
    "placement",
    "health",
    "summary",
];

/// Why a recorded stream cannot be read. Shown as one line, `FILE:LINE: what is wrong; what would be right`.
#[derive(Debug, Error)]
#[error("{at}: {what}")]
pub struct ReadError {
    /// Where.
    pub at: Location,
    /// What is wrong and what would be right, escaped.
    pub what: String,
}

/// One event of the stream, with what the stream knows of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The event.
    pub event: Event,
    /// The time of day that the record tells.
    pub time: Timestamp,
    /// Name of the subject's real uid, where the stream was recorded.
    pub user: Option<Text>,
    /// Path of the subject's cgroup, where it had one.
    pub cgroup: Option<Text>,
}

/// What a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An event of the kernel.
    Event(Box<Recorded>),
    /// Events that the kernel could not deliver.
    Lost(u64),
    /// A record that says nothing about how threads grow.
    Other,
    /// A kind that this version does not know.
    Unknown,
}

/// The lines of a stream.
pub struct Reader<R> {
    input: R,
    file: PathBuf,
    line: usize,
    buffer: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// Reads from `input`, which is called `file` in messages.
    pub const fn new(input: R, file: PathBuf) -> Self {
        Self { input, file, line: 0, buffer: Vec::new() }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// When the input fails, or the line is no record.
    pub fn next_line(&mut self) -> Result<Option<Line>, ReadError> {
        self.line += 1;
        self.buffer.clear();
        let read = self.input.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut self.buffer);
        match read {
            Ok(0) => Ok(None),
            Ok(_) if self.buffer.len() as u64 > MAX_LINE => {
                Err(self.bad("a line of more than 1 MiB; right are the lines of `procwatch watch --json`"))
            }
            Ok(_) => parse(&self.buffer).map(Some).map_err(|what| self.bad(what)),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                Err(self.bad("is a directory; name a file of lines as `procwatch watch --json` writes them"))
            }
            Err(error) => Err(self.bad(format!("cannot be read: {error}"))),
        }
    }

    fn bad(&self, what: impl Into<String>) -> ReadError {
        let at = Location { file: self.file.clone(), line: Some(self.line) };
        ReadError { at, what: what.into() }
    }
}

/// What each line has.
#[derive(Deserialize)]
struct Head {
    kind: Text,
}

/// What the record of an event has.
#[derive(Deserialize)]
struct Stamped<T> {
    time: Timestamp,
    boot_ns: u64,
    #[serde(flatten)]
    body: T,
}

/// A loss, of which the rest does not matter.
#[derive(Deserialize)]
struct Loss {
    lost: u64,
}

fn parse(line: &[u8]) -> Result<Line, String> {
    let head: Head = from_json(line).map_err(|what| {
        let end = if line.ends_with(b"\n") {
            ""
        } else {
            ", or the recording was cut off here: take the line away"
        };
        let shown: String = String::from_utf8_lossy(line).chars().take(MAX_QUOTE).collect();
        let shown = escape(shown.trim_end().as_bytes()).into_owned();
        format!("\"{shown}\" is no record ({what}); right are the lines of `procwatch watch --json`{end}")
    })?;
    let kind = head.kind.to_string();
    match head.kind.as_bytes() {
        b"fork" => event(line, &kind, |fork: record::Fork| {
            let (pid, tid) = (fork.creator_pid, fork.creator_tid);
            Ok((fork.process, Body::Fork(Creator { pid, tid, clone_flags: 0 })))
        }),
        b"thread" => event(line, &kind, |thread: record::Thread| {
            let (pid, tid) = (thread.process.pid, thread.creator_tid);
            Ok((thread.process, Body::Thread(Creator { pid, tid, clone_flags: 0 })))
        }),
        b"exec" => event(line, &kind, |exec: record::Exec| {
            Ok((exec.process, Body::Exec(program(exec.file, exec.command))))
        }),
        b"exit" => event(line, &kind, |exit: record::Exit| {
            let ended = ended(&exit)?;
            Ok((exit.process, Body::Exit(ended)))
        }),
        b"thread-exit" => event(line, &kind, |exit: record::Exit| {
            let ended = ended(&exit)?;
            Ok((exit.process, Body::ThreadExit(ended)))
        }),
        b"uid" => event(line, &kind, |uid: record::Uid| {
            let change =
                UidChange { old_uid: uid.old_uid, old_euid: uid.old_euid, trigger: trigger(uid.seen_at) };
            Ok((uid.process, Body::Uid(change)))
        }),
        b"cgroup" => event(line, &kind, |moved: record::Cgroup| {
            let (mover_pid, mover_comm) = (moved.mover_pid, moved.mover_comm);
            let path = moved.process.cgroup.clone().unwrap_or_default();
            Ok((moved.process, Body::Cgroup(Attach { mover_pid, mover_comm, path })))
        }),
        b"loss" => {
            from_json(line).map(|loss: Loss| Line::Lost(loss.lost)).map_err(|what| of_kind(&kind, &what))
        }
        _ if OTHERS.contains(&kind.as_str()) => Ok(Line::Other),
        _ => Ok(Line::Unknown),
    }
}

fn from_json<'l, T: Deserialize<'l>>(line: &'l [u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| {
        // What it says of the line is true of the one line that it saw.
        let text = error.to_string();
        let what = text.split_once(" at line ").map_or(text.as_str(), |(what, _)| what);
        escape(what.as_bytes()).into_owned()
    })
}

fn of_kind(kind: &str, what: &str) -> String {
    format!("a record of kind {kind}: {what}; `procwatch schema` tells what is right")
}

fn event<'l, T: Deserialize<'l>>(
    line: &'l [u8],
    kind: &str,
    understand: impl FnOnce(T) -> Result<(Process, Body), String>,
) -> Result<Line, String> {
    let bad = |what: String| of_kind(kind, &what);
    let Stamped { time, boot_ns, body } = from_json(line).map_err(bad)?;
    let (process, body) = understand(body).map_err(bad)?;
    if process.threads > MAX_THREADS {
        return Err(of_kind(
            kind,
            &format!("threads: {} is out of range; right is 0 to {MAX_THREADS}", process.threads),
        ));
    }
    let event = Event { time: BootTime(boot_ns), cpu: 0, seq: 0, subject: subject(&process), body };
    Ok(Line::Event(Box::new(Recorded { event, time, user: process.user, cgroup: process.cgroup })))
}

const fn subject(process: &Process) -> Subject {
    Subject {
        pid: process.pid,
        tid: process.tid,
        ppid: process.ppid,
        uid: process.uid,
        euid: process.euid,
        threads: process.threads,
        start: BootTime(process.start_ns),
        cgroup_id: process.cgroup_id,
        comm: process.comm,
    }
}

fn program(file: Text, command: record::Command) -> Exec {
    let cut_bytes = command.argv_cut_bytes;
    Exec { file, argv: command.argv.map(|args| Argv { args, cut_bytes }), old_tid: 0 }
}

fn ended(exit: &record::Exit) -> Result<Exit, String> {
    let status = match (exit.code, exit.signal.and_then(NonZeroU32::new)) {
        (Some(code), None) => ExitStatus::Code(code),
        (None, Some(number)) => ExitStatus::Signal { number, core: exit.core },
        _ => return Err("code, signal: right is one of both, and null for the other".to_owned()),
    };
    Ok(Exit { status, lived_ns: exit.lived_ns, process_ends: exit.process_ends })
}

const fn trigger(seen_at: SeenAt) -> Trigger {
    match seen_at {
        SeenAt::CredentialChange => Trigger::Uid,
        // A picture is none of the kernel's events, and is not in a stream.
        SeenAt::Exec | SeenAt::Picture => Trigger::Exec,
        SeenAt::Fork => Trigger::Fork,
        SeenAt::Exit => Trigger::Exit,
        SeenAt::Hold => Trigger::Hold,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        clock::Clock,
        convert::{CgroupPaths, Converter, Extra},
        samples,
        sink::json,
        users::UserNames,
    };

    fn lines(text: &str) -> Result<Vec<Line>, ReadError> {
        let mut reader = Reader::new(text.as_bytes(), "s.jsonl".into());
        let mut lines = Vec::new();
        while let Some(line) = reader.next_line()? {
            lines.push(line);
        }
        Ok(lines)
    }

    struct Named(Option<Text>);

    impl CgroupPaths for Named {
        fn path(&mut self, _id: u64) -> Option<Text> {
            self.0.clone()
        }
    }

    /// The event shown as it was recorded.
    fn shown(recorded: &Recorded) -> String {
        let offset = recorded.time.as_nanosecond() - i128::from(recorded.event.time.0);
        let users = UserNames::with_look_up(|uid| match uid {
            1000 => Some("alice".into()),
            1003 => Some("aimgr".into()),
            _ => None,
        });
        let cgroups = Named(recorded.cgroup.clone());
        let mut converter = Converter { clock: Clock::with_offset(offset), users, cgroups };
        let record = converter.record(recorded.event.clone(), Extra::default()).unwrap();
        let mut line = Vec::new();
        json::encode(&record, &mut line).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn what_was_written_is_read() {
        let mut events = 0;
        for record in samples::all() {
            let mut line = Vec::new();
            json::encode(&record, &mut line).unwrap();
            let line = String::from_utf8(line).unwrap();
            match &lines(&line).unwrap()[..] {
                [Line::Event(recorded)] => {
                    assert_eq!(shown(recorded), line);
                    events += 1;
                }
                [Line::Lost(lost)] => assert_eq!(*lost, 120),
                other => assert_eq!(other, [Line::Other], "{line}"),
            }
        }
        assert_eq!(events, 7);
    }

    #[test]
    fn later_versions_and_empty_streams_are_read() {
        assert_eq!(lines("").unwrap(), []);
        assert_eq!(
            lines("{\"kind\":\"spoon\",\"size\":[1]}\n{\"kind\":\"health\"}").unwrap(),
            [Line::Unknown, Line::Other]
        );
        let thread = thread("");
        let later = thread.replace("\"pid\"", "\"colour\":\"green\",\"pid\"");
        assert_eq!(lines(&later).unwrap(), lines(&thread).unwrap());
    }

    /// A record of a thread, changed.
    fn thread(with: &str) -> String {
        let mut line = Vec::new();
        json::encode(&samples::all()[1], &mut line).unwrap();
        String::from_utf8(line)
            .unwrap()
            .replace("\"threads\":81", if with.is_empty() { "\"threads\":81" } else { with })
    }

    #[test]
    fn bad_lines_are_told_with_their_place() {
        let good = thread("");
        for (bad, message) in [
            (
                "nonsense\n".to_owned(),
                "s.jsonl:2: \"nonsense\" is no record (expected ident); right are the lines of",
            ),
            ("{\"kind\":\"exec\"".to_owned(), "or the recording was cut off here: take the line away"),
            ("\n".to_owned(), "s.jsonl:2: \"\" is no record (EOF while parsing a value)"),
            ("[]\n".to_owned(), "is no record (invalid length 0"),
            ("{\"kind\":7}\n".to_owned(), "is no record (invalid type: integer `7`"),
            (
                "{\"kind\":\"thread\"}\n".to_owned(),
                "s.jsonl:2: a record of kind thread: missing field `time`; `procwatch schema`",
            ),
            (
                thread("\"threads\":\"81\""),
                "a record of kind thread: invalid type: string \"81\", expected u32",
            ),
            (thread("\"threads\":4194305"), "threads: 4194305 is out of range; right is 0 to 4194304"),
            (thread("\"threads\":-1"), "invalid value: integer `-1`, expected u32"),
            (good.replace("python3", "a\\\\q"), "unknown escape \\\\q; right are"),
            ("{\"kind\":\"loss\"}\n".to_owned(), "a record of kind loss: missing field `lost`"),
            ("x".repeat(1 << 21), "s.jsonl:2: a line of more than 1 MiB"),
        ] {
            let error = lines(&format!("{good}{bad}")).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
            assert!(error.starts_with("s.jsonl:2: ") && !error.contains('\n'), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_a_danger(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes[..], "x".into());
            while let Ok(Some(_)) = reader.next_line() {}
        }

        #[test]
        fn no_value_is_a_danger(at in 0_usize..400, with in "[0-9a-z\\\\\"{}:,-]{1,3}") {
            let mut line = thread("");
            if line.is_char_boundary(at) && at < line.len() {
                line.insert_str(at, &with);
            }
            let _ = lines(&line);
        }
    }
}
