//! A message to all terminals.

use std::{path::Path, time::Duration};

use super::{
    child,
    message::{Message, Undelivered},
};

/// The program that writes to terminals.
pub(super) const PROGRAM: &str = "/usr/bin/wall";

/// Writes the message for people to all terminals.
pub(super) fn deliver(message: &Message, host: &str, limit: Duration) -> Result<(), Undelivered> {
    let mut text = message.lines(host).join("\n");
    text.push('\n');
    child::run(&child::Job {
        program: Path::new(PROGRAM),
        arguments: &[],
        run_as: "root",
        environment: &[],
        input: text.as_bytes(),
        limit,
    })
}
