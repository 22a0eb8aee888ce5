//! `procwatch schema`: the form of the JSON lines.

use std::io::{self, Write};

use clap::Args;

use crate::schema::{Described, schema_of};

/// Arguments of `procwatch schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// What is described
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    of: Described,
}

/// Writes the JSON Schema of one line.
///
/// # Errors
/// When standard output takes no more.
pub fn run(args: &SchemaArgs) -> io::Result<()> {
    let schema = serde_json::to_string_pretty(&schema_of(args.of))?;
    writeln!(io::stdout().lock(), "{schema}")
}
