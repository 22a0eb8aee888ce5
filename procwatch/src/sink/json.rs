//! One JSON object a line, as [`crate::schema`] describes it. Never cut.

use std::io::{self, Write};

use super::Sink;
use crate::record::Record;

/// Writes records as JSON lines.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
    /// The line being made; kept for its memory.
    line: Vec<u8>,
}

impl<W: Write> Json<W> {
    /// Writes to `out`, one call a line.
    pub const fn new(out: W) -> Self {
        Self { out, line: Vec::new() }
    }
}

impl<W: Write> Sink for Json<W> {
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        self.line.clear();
        encode(record, &mut self.line)?;
        self.out.write_all(&self.line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Appends `record` and a line feed to `line`: for those who hand one encoding to many.
///
/// # Errors
/// Never with records as they are: all of their parts have a form in JSON.
pub fn encode(record: &Record, line: &mut Vec<u8>) -> io::Result<()> {
    serde_json::to_writer(&mut *line, record)?;
    line.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::samples;

    #[test]
    fn each_record_is_one_line_of_json() {
        let mut out = Vec::new();
        let mut sink = Json::new(&mut out);
        sink.begin().unwrap();
        for record in samples::all() {
            sink.write(&record).unwrap();
        }
        sink.flush().unwrap();
        let text = String::from_utf8(out).unwrap();
        let kinds: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            kinds,
            [
                "fork",
                "thread",
                "exec",
                "exit",
                "thread-exit",
                "uid",
                "cgroup",
                "alert",
                "cleared",
                "refused",
                "decision",
                "outcome",
                "hold",
                "placement",
                "action",
                "action",
                "action",
                "diagnosis",
                "loss",
                "health",
                "summary",
            ]
        );
    }
}
