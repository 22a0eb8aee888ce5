//! A mail through the machine's mail program.

use std::{fmt::Write as _, time::Duration};

use jiff::{Timestamp, fmt::rfc2822, tz::TimeZone};

use super::{
    child,
    message::{Message, Undelivered},
};
use crate::config::outlet::Mail;

/// Longest subject, characters.
const MAX_SUBJECT: usize = 150;

/// Longest line of the body, bytes: mail has at most 998.
const MAX_LINE: usize = 900;

/// Longest encoded word of a header, bytes, of which 12 are its frame.
const MAX_WORD: usize = 75;

/// Hands the mail to the mail program, which must take it.
pub(super) fn deliver(
    mail: &Mail,
    message: &Message,
    host: &str,
    limit: Duration,
) -> Result<(), Undelivered> {
    // -i: a line with a dot alone does not end it. Addresses do not begin with `-`.
    let mut arguments = vec!["-i".to_owned()];
    if let Some(from) = &mail.from {
        arguments.extend(["-f".to_owned(), from.clone()]);
    }
    arguments.extend(mail.to.iter().cloned());
    child::run(&child::Job {
        program: &mail.sendmail,
        arguments: &arguments,
        run_as: &mail.run_as,
        environment: &[],
        input: compose(mail, message, host, Timestamp::now()).as_bytes(),
        limit,
    })
}

/// The whole mail. No text of foreign origin can add a header: it is escaped, and encoded where it is not plain.
fn compose(mail: &Mail, message: &Message, host: &str, date: Timestamp) -> String {
    let mut text = String::new();
    let mut header = |name: &str, value: &str| {
        // A string takes everything.
        let _ = writeln!(text, "{name}: {}", header_value(value));
    };
    if let Some(from) = &mail.from {
        header("From", from);
    }
    header("To", &mail.to.join(", "));
    header("Subject", &subject(message, host));
    header("Date", &rfc2822::to_string(&date.to_zoned(TimeZone::UTC)).unwrap_or_default());
    header("Auto-Submitted", "auto-generated");
    header("X-Procwatch-Kind", message.kind());
    header("X-Procwatch-Severity", message.severity().name());
    header("MIME-Version", "1.0");
    header("Content-Type", "text/plain; charset=utf-8");
    header("Content-Transfer-Encoding", "8bit");
    text.push('\n');
    for line in message.lines(host) {
        add_line(&line, &mut text);
    }
    text.push('\n');
    add_line(&message.json(host), &mut text);
    text
}

fn subject(message: &Message, host: &str) -> String {
    let line = message.headline(host);
    let mut subject = format!("[procwatch] {line}");
    if let Some((at, _)) = subject.char_indices().nth(MAX_SUBJECT) {
        subject.truncate(at);
        subject.push('…');
    }
    subject
}

/// As it is when it is plain; else in encoded words (RFC 2047), one on a line.
fn header_value(value: &str) -> String {
    let is_plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if value.bytes().all(is_plain) && !value.contains("=?") {
        return value.to_owned();
    }
    let mut words: Vec<String> = vec![String::new()];
    for c in value.chars() {
        let mut bytes = [0; 4];
        let encoded = encoded(c.encode_utf8(&mut bytes));
        match words.last_mut() {
            Some(word) if word.len() + encoded.len() + 12 <= MAX_WORD => word.push_str(&encoded),
            _ => words.push(encoded),
        }
    }
    let words: Vec<String> = words.iter().map(|word| format!("=?utf-8?q?{word}?=")).collect();
    words.join("\n ")
}

/// One character.
fn encoded(c: &str) -> String {
    let mut text = String::new();
    for byte in c.bytes() {
        // A string takes everything.
        let _ = match byte {
            b' ' => text.write_char('_'),
            byte if byte.is_ascii_alphanumeric() => text.write_char(byte.into()),
            byte => write!(text, "={byte:02X}"),
        };
    }
    text
}

/// Adds a line, broken where it is longer than a mail's may be.
fn add_line(line: &str, text: &mut String) {
    let mut rest = line;
    while rest.len() > MAX_LINE {
        let (first, others) = rest.split_at(rest.floor_char_boundary(MAX_LINE));
        text.push_str(first);
        text.push('\n');
        rest = others;
    }
    text.push_str(rest);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlets::message::tests::{digest, nasty};

    fn mail() -> Mail {
        Mail {
            to: vec!["ops@example.org".to_owned(), "root".to_owned()],
            from: Some("procwatch@example.org".to_owned()),
            sendmail: "/usr/sbin/sendmail".into(),
            run_as: "root".to_owned(),
        }
    }

    fn composed(message: &Message) -> String {
        compose(&mail(), message, "box", "2026-11-22T15:04:05Z".parse().unwrap())
    }

    #[test]
    fn nobody_can_add_a_header() {
        let text = composed(&nasty());
        let (head, body) = text.split_once("\n\n").unwrap();
        let names: Vec<&str> = head
            .lines()
            .filter(|line| !line.starts_with(' '))
            .map(|line| line.split_once(": ").unwrap().0)
            .collect();
        assert_eq!(
            names,
            [
                "From",
                "To",
                "Subject",
                "Date",
                "Auto-Submitted",
                "X-Procwatch-Kind",
                "X-Procwatch-Severity",
                "MIME-Version",
                "Content-Type",
                "Content-Transfer-Encoding"
            ]
        );
        assert!(head.contains("\nTo: ops@example.org, root\n"), "{head}");
        assert!(head.contains("\nDate: Sun, 22 Nov 2026 15:04:05 +0000\n"), "{head}");
        assert!(
            body.starts_with("box alert: <!here>\\n&\\xff(4242) of alice: WARNING 100 threads"),
            "{body}"
        );
        assert!(head.is_ascii() && head.lines().all(|line| line.len() <= 90), "{head}");
    }

    #[test]
    fn subjects_are_short_and_plain_or_encoded() {
        assert_eq!(header_value("box alert: a(1)"), "box alert: a(1)");
        assert_eq!(header_value("\u{fc} =?"), "=?utf-8?q?=C3=BC_=3D=3F?=");
        assert_eq!(header_value("a\r\nBcc: b"), "=?utf-8?q?a=0D=0ABcc=3A_b?=");
        let long = header_value(&"é".repeat(100));
        assert!(long.lines().all(|line| line.len() <= 76 && line.ends_with("?=")), "{long}");
        assert_eq!(long.matches("=C3=A9").count(), 100);
        assert!(subject(&nasty(), &"x".repeat(500)).chars().count() == 151);
    }

    #[test]
    fn a_digest_names_all_and_no_line_is_too_long() {
        let text = composed(&digest());
        let (_, body) = text.split_once("\n\n").unwrap();
        let lines: Vec<&str> = body.lines().collect();
        assert_eq!(lines[0], "box digest: 8 more records from 15:04:05 to 15:04:05 UTC, the gravest WARNING");
        assert!(
            lines[5].starts_with("{\"host\":\"box\",") && lines.iter().all(|line| line.len() <= MAX_LINE)
        );
        let mut text = String::new();
        add_line(&"ä".repeat(1000), &mut text);
        assert!(text.lines().all(|line| line.len() <= MAX_LINE));
        assert_eq!(text.replace('\n', ""), "ä".repeat(1000));
    }
}
