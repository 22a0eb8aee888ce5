//! `procwatch schema`: the form of the JSON lines.

use std::io::{self, Write};

/// Writes the JSON Schema of one line of `--json` output.
///
/// # Errors
/// When standard output takes no more.
pub fn run() -> io::Result<()> {
    let schema = serde_json::to_string_pretty(&crate::schema::schema())?;
    writeln!(io::stdout().lock(), "{schema}")
}
