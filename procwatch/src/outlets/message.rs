//! What an outlet is told, and how that reads.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    child,
    digest::{Digest, Entry},
    grade::severity,
    mail, wall, webhook,
};
use crate::{
    config::outlet::{OutletConfig, OutletKind},
    record::{Process, Record, Severity},
    sink::{human, listener::Told},
    text::escape,
};

/// Columns that a foreign text may take in a message for people.
const COLUMNS: usize = 160;

/// Something to be told.
#[derive(Clone, Debug)]
pub enum Message {
    /// A record.
    One(Arc<Told>),
    /// Many at once.
    Digest(Digest),
}

/// Why a message was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// In words, escaped, without any secret.
    pub why: String,
    /// Whether it may go better later.
    pub again: Again,
}

/// Whether, and when, to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// As usual.
    Later,
    /// Not before that.
    After(Duration),
    /// It would fail in the same way.
    Never,
}

impl Undelivered {
    /// One that may go better later.
    pub(super) const fn later(why: String) -> Self {
        Self { why, again: Again::Later }
    }
}

/// Delivers the messages of one outlet.
#[derive(Clone, Debug)]
pub struct Carrier {
    config: OutletConfig,
    host: String,
}

impl Carrier {
    /// For that outlet, in the name of this machine.
    pub fn new(config: &OutletConfig) -> Self {
        let host = nix::sys::utsname::uname().map(|names| names.nodename().to_owned()).unwrap_or_default();
        Self { config: config.clone(), host: escape(host.as_encoded_bytes()).into_owned() }
    }

    /// Delivers it, or fails, within `limit`. It may wait all that time.
    ///
    /// # Errors
    /// Why it was not delivered.
    pub fn deliver(&self, message: &Message, limit: Duration) -> Result<(), Undelivered> {
        match &self.config.kind {
            OutletKind::Webhook(webhook) => webhook::deliver(webhook, message, &self.host, limit),
            OutletKind::Mail(mail) => mail::deliver(mail, message, &self.host, limit),
            OutletKind::Command(command) => {
                let environment = message.environment(&self.config.name, &self.host);
                child::run(&child::Job {
                    program: &command.program,
                    arguments: &command.arguments,
                    run_as: &command.run_as,
                    environment: &environment,
                    input: message.json(&self.host).as_bytes(),
                    limit,
                })
            }
            OutletKind::Wall => wall::deliver(message, &self.host, limit),
        }
    }
}

/// A record with the machine that it comes from.
#[derive(Serialize)]
struct OfHost<'a, T> {
    host: &'a str,
    #[serde(flatten)]
    what: &'a T,
}

/// A digest as a record of its own.
#[derive(Serialize)]
struct DigestRecord<'a> {
    time: Timestamp,
    kind: &'static str,
    #[serde(flatten)]
    digest: &'a Digest,
}

impl Message {
    /// How many records it tells of.
    pub(super) const fn records(&self) -> u64 {
        match self {
            Self::One(_) => 1,
            Self::Digest(digest) => digest.records,
        }
    }

    /// Its kind, as in JSON.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::One(told) => told.record.body.kind().name(),
            Self::Digest(_) => "digest",
        }
    }

    /// How grave it is.
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::One(told) => severity(&told.record.body),
            Self::Digest(digest) => digest.severity.unwrap_or(Severity::Notice),
        }
    }

    fn process(&self) -> Option<&Process> {
        match self {
            Self::One(told) => told.record.body.process(),
            Self::Digest(_) => None,
        }
    }

    /// One JSON object: the record with its `host`, or the digest as a record of kind `digest`.
    pub(super) fn json(&self, host: &str) -> String {
        let json = match self {
            Self::One(told) => serde_json::to_string(&OfHost { host, what: &told.record }),
            Self::Digest(digest) => {
                let time = digest.until.unwrap_or_else(Timestamp::now);
                serde_json::to_string(&OfHost { host, what: &DigestRecord { time, kind: "digest", digest } })
            }
        };
        // All parts of both have a form in JSON.
        json.unwrap_or_default()
    }

    /// One line for people: where, what and who.
    pub(super) fn headline(&self, host: &str) -> String {
        match self {
            Self::One(told) => of_record(&told.record, host),
            Self::Digest(digest) => of_digest(digest, host),
        }
    }

    /// All of it for people, in lines. The first is [`Self::headline`].
    pub(super) fn lines(&self, host: &str) -> Vec<String> {
        let mut lines = vec![self.headline(host)];
        if let Self::Digest(digest) = self {
            lines.extend(digest.entries.iter().map(of_entry));
            if digest.unnamed > 0 {
                lines.push(format!("{}× not named here", digest.unnamed));
            }
            if digest.undelivered > 0 {
                lines.push(format!(
                    "{} of them had a message that could not be delivered",
                    digest.undelivered
                ));
            }
        }
        lines
    }

    /// What a program is told besides its standard input.
    fn environment(&self, outlet: &str, host: &str) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("PROCWATCH_OUTLET", outlet.to_owned()),
            ("PROCWATCH_HOST", host.to_owned()),
            ("PROCWATCH_KIND", self.kind().to_owned()),
            ("PROCWATCH_SEVERITY", self.severity().name().to_owned()),
        ];
        if let Some(process) = self.process() {
            environment.push(("PROCWATCH_PID", process.pid.to_string()));
            environment.push(("PROCWATCH_UID", process.uid.to_string()));
        }
        environment
    }
}

fn of_record(record: &Record, host: &str) -> String {
    let mut line = format!("{host} {}: ", record.body.kind().name());
    if let Some(process) = record.body.process() {
        // A string takes everything.
        let _ = write!(line, "{}({})", process.comm, process.pid);
        let _ = match &process.user {
            Some(user) => write!(line, " of {user}: "),
            None => write!(line, " of uid {}: ", process.uid),
        };
    }
    line.push_str(&human::detail_line(&record.body, COLUMNS));
    line
}

fn of_digest(digest: &Digest, host: &str) -> String {
    let plural = if digest.records == 1 { "" } else { "s" };
    let mut line = format!("{host} digest: {} more record{plural}", digest.records);
    if let (Some(since), Some(until)) = (digest.since, digest.until) {
        let _ = write!(line, " from {} to {} UTC", time_of_day(since), time_of_day(until));
    }
    if let Some(severity) = digest.severity {
        let _ = write!(line, ", the gravest {}", severity.name().to_uppercase());
    }
    line
}

fn time_of_day(time: Timestamp) -> String {
    time.strftime("%H:%M:%S").to_string()
}

fn of_entry(entry: &Entry) -> String {
    let mut line = format!("{}× {} {}", entry.count, entry.kind, entry.severity.name().to_uppercase());
    if let Some(process) = &entry.process {
        let _ = write!(line, " {}({})", process.comm, process.pid);
        let _ = match &process.user {
            Some(user) => write!(line, " of {user}"),
            None => write!(line, " of uid {}", process.uid),
        };
    }
    line
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        record::Body,
        samples,
        text::{Comm, Text},
    };

    /// A warning about a process that calls itself something nasty.
    pub(in super::super) fn nasty() -> Message {
        let Body::Alert(mut alert) = samples::all().swap_remove(7).body else { panic!() };
        alert.process.comm = Comm::of_name(b"<!here>\n&\xff");
        alert.command.argv = Some(vec![Text::from("a\r\nBcc: x@y"), Text::from("*_`~")]);
        Message::One(Told::new(samples::record(Body::Alert(alert))).unwrap())
    }

    /// Three of those and five unknown ones.
    pub(in super::super) fn digest() -> Message {
        let Message::One(told) = nasty() else { panic!() };
        let mut digest = Digest { undelivered: 2, ..Digest::default() };
        (0..3).for_each(|_| digest.add(&told.record));
        digest.add_unnamed(5);
        Message::Digest(digest)
    }

    #[test]
    fn a_record_is_the_streams_own_with_its_host() {
        let json: Value = serde_json::from_str(&nasty().json("box")).unwrap();
        assert_eq!(
            (&json["host"], &json["kind"], &json["pid"]),
            (&"box".into(), &"alert".into(), &4242.into())
        );
        let Message::One(told) = nasty() else { panic!() };
        let mut own: Value = serde_json::from_slice(&told.line).unwrap();
        own["host"] = "box".into();
        assert_eq!(json, own);
    }

    #[test]
    fn a_digest_counts_and_names() {
        let json: Value = serde_json::from_str(&digest().json("box")).unwrap();
        let seen =
            ["host", "kind", "records", "unnamed", "undelivered", "severity", "time"].map(|key| &json[key]);
        assert_eq!(
            seen.map(ToString::to_string),
            ["\"box\"", "\"digest\"", "8", "5", "2", "\"warning\"", "\"2026-11-22T15:04:05.123456789Z\""]
        );
        let entry = &json["entries"][0];
        assert_eq!(
            (&entry["kind"], &entry["pid"], &entry["count"]),
            (&"alert".into(), &4242.into(), &3.into())
        );
        assert_eq!(
            digest().lines("box"),
            [
                "box digest: 8 more records from 15:04:05 to 15:04:05 UTC, the gravest WARNING",
                "3× alert WARNING <!here>\\n&\\xff(4242) of alice",
                "5× not named here",
                "2 of them had a message that could not be delivered",
            ]
        );
    }

    #[test]
    fn a_line_for_people_has_no_control_characters() {
        let headline = nasty().headline("box");
        assert!(
            headline
                .starts_with("box alert: <!here>\\n&\\xff(4242) of alice: WARNING 100 threads (level 100) "),
            "{headline}"
        );
        assert!(headline.contains("a\\r\\nBcc: x@y") && !headline.contains(char::is_control), "{headline}");
    }

    #[test]
    fn a_program_is_told_the_most_important_by_its_environment() {
        let environment = nasty().environment("ops", "box");
        let words: Vec<String> = environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            words.join(" "),
            "PROCWATCH_OUTLET=ops PROCWATCH_HOST=box PROCWATCH_KIND=alert PROCWATCH_SEVERITY=warning \
             PROCWATCH_PID=4242 PROCWATCH_UID=1000"
        );
        assert_eq!(digest().environment("ops", "box").len(), 4);
    }
}
