//! Sources before and after, what is refused, and files as they are found and left.

mod applying;
mod executors;
mod loops;
mod random;

use std::{path::Path, process::Command};

use super::*;
use crate::patch::scene::{real_python, run};

/// Where the diagnosis saw a pattern.
fn finding(hint: &str, line: u32, function: &str) -> Finding {
    Finding { hint: hint.to_owned(), file: "leak.py".into(), line, function: Text::from(function) }
}

/// The source after the rewriting that belongs to the hint.
fn after(hint: &str, source: &str, line: u32, function: &str) -> Result<String, NoPatch> {
    let rewrite = rewriting(hint).ok_or(NoPatch::NoTransformation)?;
    let (after, remarks) = rewritten(source.as_bytes(), &finding(hint, line, function), rewrite)?;
    assert!(!remarks.is_empty());
    Ok(String::from_utf8(after).unwrap())
}

/// What a source prints, with the modules of `folder`.
fn printed(source: &str, folder: &Path) -> String {
    let mut python = Command::new(real_python());
    run(python.args(["-S", "-B", "-"]).env("PYTHONPATH", folder), source)
}

/// The line, from 1, that has `part` in it.
fn line_of(source: &str, part: &str) -> u32 {
    source.lines().position(|line| line.contains(part)).unwrap() as u32 + 1
}

/// Lines, each that many steps further in.
fn indented(lines: &str, steps: usize) -> String {
    let lines: Vec<_> = lines.split('\n').map(|line| "    ".repeat(steps) + line + "\n").collect();
    lines.concat()
}
