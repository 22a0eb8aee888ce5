//! One aligned line a record, for people. Columns line up for ordinary values and grow for extraordinary ones.

mod action;
mod alert;
mod detail;
pub(crate) mod line;
mod place;

use std::{
    fmt,
    io::{self, Write},
};

use jiff::{Timestamp, tz::TimeZone};

use self::line::Line;
use super::Sink;
use crate::{
    record::{Act, Body, Process, Record},
    text::Text,
    users::UserNames,
};

/// Columns that a foreign text (a command line, a path, a lineage) may take when lines are not `wide`; where several
/// stand in one line, each has half of it.
pub const DETAIL_COLUMNS: usize = 160;

const KIND_WIDTH: usize = 11;
const USER_WIDTH: usize = 8;
const COMM_WIDTH: usize = 15;

/// How lines look.
#[derive(Clone, Debug)]
pub struct Style {
    /// Show long command lines and paths whole.
    pub wide: bool,
    /// Colour the words of severity.
    pub colour: bool,
    /// Where the time of day is that of.
    pub zone: TimeZone,
}

impl Default for Style {
    /// Bounded lines without colour in the machine's time zone.
    fn default() -> Self {
        Self { wide: false, colour: false, zone: TimeZone::system() }
    }
}

/// Writes records as lines for people.
#[derive(Debug)]
pub struct Human<W> {
    out: W,
    line: Line,
    time: TimeColumn,
    /// For uids that a record gives no name of.
    users: UserNames,
}

impl<W: Write> Human<W> {
    /// Writes to `out`, one call a line.
    pub fn new(out: W, style: Style) -> Self {
        Self::with_users(out, style, UserNames::new())
    }

    /// As [`Human::new`], with names of uids from `users`.
    pub fn with_users(out: W, style: Style, users: UserNames) -> Self {
        let Style { wide, colour, zone } = style;
        let columns = if wide { usize::MAX } else { DETAIL_COLUMNS };
        Self { out, line: Line::new(columns, colour), time: TimeColumn::new(zone), users }
    }

    /// The line of a record without its time and the line feed: for those who keep the time themselves.
    pub(crate) fn message(&mut self, record: &Record) -> &[u8] {
        self.line.clear();
        self.add(&record.body);
        self.line.end();
        self.line.as_bytes().trim_ascii_end()
    }

    fn add(&mut self, body: &Body) {
        self.line.add(format_args!("{:KIND_WIDTH$} ", body.kind().name()));
        if let Some(process) = body.process() {
            add_process(process, &mut self.line);
        }
        detail::add(body, &mut self.users, &mut self.line);
        if let Some(lineage) = body.process().and_then(|process| process.lineage.as_deref()) {
            detail::add_lineage(lineage, &mut self.line);
        }
    }

    fn send(&mut self) -> io::Result<()> {
        self.line.end();
        self.out.write_all(self.line.as_bytes())
    }
}

impl<W: Write> Sink for Human<W> {
    fn begin(&mut self) -> io::Result<()> {
        self.line.clear();
        self.line.add(format_args!(
            "{:15} {:KIND_WIDTH$} {:>7} {:>7} {:>7} {:USER_WIDTH$} {:COMM_WIDTH$} DETAIL",
            "TIME", "KIND", "PID", "TID", "PPID", "USER", "COMM"
        ));
        self.send()
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        self.line.clear();
        self.time.add(record.time, &mut self.line);
        self.line.push(" ");
        self.add(&record.body);
        self.send()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What is particular to a record, in one line without what it says of its process.
pub(crate) fn detail_line(body: &Body, columns: usize) -> String {
    let mut line = Line::new(columns, false);
    detail::add(body, &mut UserNames::with_look_up(|_| None), &mut line);
    String::from_utf8_lossy(line.as_bytes()).into_owned()
}

/// What is particular to an action, in one line: for those who tell of nothing else.
pub(crate) fn action_line(act: &Act, columns: usize) -> String {
    let mut line = Line::new(columns, false);
    action::add_act(act, &mut line);
    String::from_utf8_lossy(line.as_bytes()).into_owned()
}

fn add_process(process: &Process, line: &mut Line) {
    line.add(format_args!("{:>7} {:>7} {:>7} ", process.pid, process.tid, process.ppid));
    let start = line.position();
    line.add(format_args!("{}", User { name: process.user.as_ref(), uid: process.uid }));
    if process.euid != process.uid {
        line.add(format_args!("→{}", process.euid));
    }
    line.pad(start, USER_WIDTH);
    line.add(format_args!(" {:<COMM_WIDTH$} ", process.comm));
}

/// A user's name, or else the uid.
struct User<'a> {
    name: Option<&'a Text>,
    uid: u32,
}

impl fmt::Display for User<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => name.fmt(f),
            None => self.uid.fmt(f),
        }
    }
}

/// The time of day. Many records share a second, and the calendar is asked once for each.
#[derive(Debug)]
struct TimeColumn {
    zone: TimeZone,
    second: i64,
    text: String,
}

impl TimeColumn {
    const fn new(zone: TimeZone) -> Self {
        Self { zone, second: i64::MIN, text: String::new() }
    }

    fn add(&mut self, time: Timestamp, line: &mut Line) {
        if time.as_second() != self.second {
            let local = self.zone.to_datetime(time);
            self.text = format!("{:02}:{:02}:{:02}", local.hour(), local.minute(), local.second());
            self.second = time.as_second();
        }
        line.add(format_args!("{}.{:06}", self.text, time.subsec_nanosecond().unsigned_abs() / 1_000));
    }
}

#[cfg(test)]
mod tests;
