//! From the bytes of a ring to an [`Event`]: here the integers of the wire get their meaning.
//!
//! Nothing in a record is trusted but its length: the fields that count bytes are held against what is there, and
//! texts are whatever the process they come from has put into its memory.

use std::num::NonZeroU32;

use bytemuck::{AnyBitPattern, Zeroable};
use procwatch_common::{
    growth,
    place::HoldEnd,
    wire::{self, Header, Kind, Trigger},
};
use thiserror::Error;

use crate::{
    event::{
        Argv, Attach, Body, BootTime, Creator, Event, Exec, Exit, ExitStatus, Forebear, Grown, Held,
        LevelChange, ProcessKey, Provenance, Refusal, Stray, Subject, UidChange, Way,
    },
    text::{Comm, Text, until_zero},
};

/// Bytes of an exec record before its argv.
const EXEC_FIXED: usize = size_of::<wire::Exec>() - wire::ARGV_MAX;

/// Bytes that are no record: the kernel programs and the agent disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Too short for a header.
    #[error("a record of {len} bytes is shorter than its header of {} bytes", size_of::<Header>())]
    NoHeader {
        /// Bytes there.
        len: usize,
    },
    /// A kind that this agent does not know.
    #[error("a record of {len} bytes has the unknown kind {number}")]
    UnknownKind {
        /// What stands in the header.
        number: u32,
        /// Bytes there.
        len: usize,
    },
    /// Not the length that its kind has.
    #[error("a record of kind {kind:?} has {len} bytes instead of {expected}")]
    Length {
        /// Its kind.
        kind: Kind,
        /// Bytes there.
        len: usize,
        /// Bytes that there should be.
        expected: usize,
    },
    /// It claims more bytes of argv than it can hold.
    #[error("a record of kind {kind:?} claims {argv_len} bytes of argv, more than the {max} it can hold")]
    Argv {
        /// Its kind.
        kind: Kind,
        /// Bytes that it claims.
        argv_len: u32,
        /// Bytes that fit.
        max: usize,
    },
    /// A trigger that this agent does not know.
    #[error("a record of kind {kind:?} has the unknown trigger {number}")]
    UnknownTrigger {
        /// Its kind.
        kind: Kind,
        /// What stands in the record.
        number: u32,
    },
    /// A bound that this agent does not know.
    #[error("a crossing has the unknown bound {number}")]
    UnknownWay {
        /// What stands in the record.
        number: u32,
    },
    /// An end of a hold that this agent does not know.
    #[error("a held exec has the unknown end {number}")]
    UnknownEnd {
        /// What stands in the record.
        number: u32,
    },
}

/// Decodes one record, whole as the ring holds it. Allocates for texts only, so not for forks, threads and exits.
///
/// # Errors
/// When the bytes are no record of a known kind; whatever they are, it does not panic.
pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
    let len = bytes.len();
    let header: Header = bytes
        .get(..size_of::<Header>())
        .and_then(|head| bytemuck::try_pod_read_unaligned(head).ok())
        .ok_or(DecodeError::NoHeader { len })?;
    let kind = Kind::from_number(header.kind).ok_or(DecodeError::UnknownKind { number: header.kind, len })?;
    Ok(Event {
        time: BootTime(header.time_ns),
        cpu: header.cpu,
        seq: header.seq,
        subject: subject(&header),
        body: body(kind, bytes)?,
    })
}

const fn subject(header: &Header) -> Subject {
    Subject {
        pid: header.tgid,
        tid: header.tid,
        ppid: header.ppid,
        uid: header.uid,
        euid: header.euid,
        threads: header.threads,
        start: BootTime(header.start_ns),
        cgroup_id: header.cgroup_id,
        comm: Comm::new(header.comm),
    }
}

fn body(kind: Kind, bytes: &[u8]) -> Result<Body, DecodeError> {
    Ok(match kind {
        Kind::Fork => Body::Fork(creator(&fixed(kind, bytes)?)),
        Kind::Thread => Body::Thread(creator(&fixed(kind, bytes)?)),
        Kind::Exec => Body::Exec(exec(kind, bytes)?),
        Kind::Exit => {
            let exit: wire::Exit = fixed(kind, bytes)?;
            Body::Exit(ended(&exit, exit.header.start_ns))
        }
        Kind::ThreadExit => {
            let exit: wire::Exit = fixed(kind, bytes)?;
            Body::ThreadExit(ended(&exit, exit.thread_start_ns))
        }
        Kind::Uid => Body::Uid(uid_change(&fixed(kind, bytes)?)?),
        Kind::Cgroup => Body::Cgroup(attach(&fixed(kind, bytes)?)),
        Kind::LevelCrossed => Body::LevelCrossed(level_change(kind, &fixed(kind, bytes)?)?),
        Kind::LevelCleared => Body::LevelCleared(level_change(kind, &fixed(kind, bytes)?)?),
        Kind::Stray => Body::Stray(stray(&fixed(kind, bytes)?)?),
        Kind::Moved => Body::Moved(attach(&fixed(kind, bytes)?)),
        Kind::Held => Body::Held(held(&fixed(kind, bytes)?)?),
        Kind::Program => Body::Program(exec(kind, bytes)?),
        Kind::Refused => Body::Refused(refusal(&fixed(kind, bytes)?)),
    })
}

/// A record of a kind whose length does not vary.
fn fixed<T: AnyBitPattern>(kind: Kind, bytes: &[u8]) -> Result<T, DecodeError> {
    bytemuck::try_pod_read_unaligned(bytes).map_err(|_| DecodeError::Length {
        kind,
        len: bytes.len(),
        expected: size_of::<T>(),
    })
}

const fn creator(record: &wire::Created) -> Creator {
    Creator { pid: record.creator_tgid, tid: record.creator_tid, clone_flags: record.clone_flags }
}

fn exec(kind: Kind, bytes: &[u8]) -> Result<Exec, DecodeError> {
    let length = |expected| DecodeError::Length { kind, len: bytes.len(), expected };
    if bytes.len() < EXEC_FIXED {
        return Err(length(EXEC_FIXED));
    }
    let mut record = wire::Exec::zeroed();
    bytemuck::bytes_of_mut(&mut record)
        .get_mut(..bytes.len())
        .ok_or_else(|| length(size_of::<wire::Exec>()))?
        .copy_from_slice(bytes);
    let captured = captured(kind, &record.argv, record.argv_len)?;
    if bytes.len() != EXEC_FIXED + captured.len() {
        return Err(length(EXEC_FIXED + captured.len()));
    }
    let argv = if record.argv_unread == 0 { argv(captured, record.argv_total) } else { None };
    Ok(Exec { file: Text::new(until_zero(&record.filename)), argv, old_tid: record.old_tid })
}

/// The part of the buffer that the record says is set.
fn captured(kind: Kind, buffer: &[u8], argv_len: u32) -> Result<&[u8], DecodeError> {
    buffer.get(..argv_len as usize).ok_or(DecodeError::Argv { kind, argv_len, max: buffer.len() })
}

/// `None` when nothing of an argv that is not empty was captured. A process may have rewritten its argv so that the
/// last zero is missing; then the rest is the last argument.
fn argv(captured: &[u8], total: u32) -> Option<Argv> {
    if captured.is_empty() && total > 0 {
        return None;
    }
    let args = captured
        .split_inclusive(|byte| *byte == 0)
        .map(|arg| Text::new(arg.strip_suffix(&[0]).unwrap_or(arg)))
        .collect();
    // A total beyond 32 bits has lost its upper ones on the wire, so it may be less than what was captured.
    Some(Argv { args, cut_bytes: total.saturating_sub(captured.len() as u32) })
}

const fn ended(record: &wire::Exit, start_ns: u64) -> Exit {
    Exit {
        status: exit_status(record.status),
        lived_ns: BootTime(record.header.time_ns).since(BootTime(start_ns)),
        process_ends: record.process_ends != 0,
    }
}

/// As `waitpid` would tell it: low 7 bits the signal, bit 7 a core, next 8 bits the code.
const fn exit_status(status: u32) -> ExitStatus {
    match NonZeroU32::new(status & 0x7f) {
        Some(number) => ExitStatus::Signal { number, core: status & 0x80 != 0 },
        None => ExitStatus::Code((status >> 8) as u8),
    }
}

fn uid_change(record: &wire::UidChange) -> Result<UidChange, DecodeError> {
    Ok(UidChange {
        old_uid: record.old_uid,
        old_euid: record.old_euid,
        trigger: trigger(Kind::Uid, record.trigger)?,
    })
}

fn trigger(kind: Kind, number: u32) -> Result<Trigger, DecodeError> {
    [Trigger::Exec, Trigger::Fork, Trigger::Uid, Trigger::Exit, Trigger::Hold]
        .into_iter()
        .find(|trigger| *trigger as u32 == number)
        .ok_or(DecodeError::UnknownTrigger { kind, number })
}

fn attach(record: &wire::Attach) -> Attach {
    Attach {
        mover_pid: record.mover_tgid,
        mover_comm: Comm::new(record.mover_comm),
        path: Text::new(until_zero(&record.path)),
    }
}

fn level_change(kind: Kind, record: &wire::Level) -> Result<LevelChange, DecodeError> {
    let captured = captured(kind, &record.argv, record.argv_len)?;
    let mut argv = argv(captured, record.argv_total);
    if let Some(argv) = &mut argv {
        drop_padding(argv);
    }
    let way = way(record)?;
    Ok(LevelChange {
        way,
        level: record.level,
        rule: record.rule,
        growth: matches!(way, Way::Burst | Way::Leak)
            .then_some(Grown { from: record.from, since: BootTime(record.since_ns) }),
        creator_tid: record.creator_tid,
        argv,
    })
}

fn way(record: &wire::Level) -> Result<Way, DecodeError> {
    match record.way {
        index @ ..growth::BURST => Ok(Way::Level(index)),
        growth::BURST => Ok(Way::Burst),
        growth::LEAK => Ok(Way::Leak),
        growth::STOP => Ok(Way::Stop { stopped: record.from != 0 }),
        number => Err(DecodeError::UnknownWay { number }),
    }
}

const fn refusal(record: &wire::Refused) -> Refusal {
    Refusal { refused: record.refused, cap: record.cap, enforced: record.enforced != 0 }
}

/// A process that has set its title fills the rest of its argv with zeros. Unlike at an exec, where an empty
/// argument is one, these are no arguments.
fn drop_padding(argv: &mut Argv) {
    while argv.args.last().is_some_and(|arg| arg.as_bytes().is_empty()) {
        argv.args.pop();
    }
}

fn stray(record: &wire::Stray) -> Result<Stray, DecodeError> {
    Ok(Stray {
        rule: record.rule,
        trigger: trigger(Kind::Stray, record.trigger)?,
        file: text(&record.file),
        provenance: Provenance {
            loginuid: set(record.loginuid),
            sessionid: set(record.sessionid),
            tty: text(&record.tty),
            ancestors: ancestors(&record.ancestors),
        },
    })
}

/// Up to the first process: what stands behind it was not set.
fn ancestors(entries: &[wire::Ancestor]) -> Vec<Forebear> {
    let mut ancestors = Vec::new();
    for entry in entries.iter().take_while(|entry| entry.tgid != 0) {
        let key = ProcessKey { pid: entry.tgid, start: BootTime(entry.start_ns) };
        ancestors.push(Forebear { key, uid: entry.uid, comm: Comm::new(entry.comm) });
        if entry.tgid == 1 {
            break;
        }
    }
    ancestors
}

/// `None` for an empty text.
fn text(bytes: &[u8]) -> Option<Text> {
    Some(until_zero(bytes)).filter(|text| !text.is_empty()).map(Text::new)
}

fn held(record: &wire::Held) -> Result<Held, DecodeError> {
    let end = HoldEnd::from_number(record.end).ok_or(DecodeError::UnknownEnd { number: record.end })?;
    Ok(Held { held_ns: record.held_ns, rule: record.rule, end, file: Text::new(until_zero(&record.file)) })
}

/// The audit system's "unset" is the highest number.
fn set(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}

#[cfg(test)]
mod tests;
