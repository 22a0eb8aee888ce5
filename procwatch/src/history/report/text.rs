//! A report as lines for people.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use jiff::tz::TimeZone;

use super::{
    Report,
    sections::{self, Section, Table},
};
use crate::text::escape;

const TITLE_WIDTH: usize = 9;
/// Columns that a cell may take when lines are not wide.
const MOST_COLUMNS: usize = 100;

/// Writes it: a line for each section, and its table below.
///
/// # Errors
/// When `out` takes no more.
pub fn write(report: &Report, zone: &TimeZone, wide: bool, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "procwatch report: {}", sections::title(report, zone))?;
    for section in sections::of(report, zone) {
        write_section(&section, wide, out)?;
    }
    Ok(())
}

fn write_section(section: &Section, wide: bool, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:TITLE_WIDTH$} {}", section.title, clean(&section.summary, usize::MAX))?;
    section.table.as_ref().map_or(Ok(()), |table| write_table(table, wide, out))
}

fn write_table(table: &Table, wide: bool, out: &mut impl Write) -> io::Result<()> {
    let most = if wide { usize::MAX } else { MOST_COLUMNS };
    let head = table.head.iter().map(|name| (*name).to_owned()).collect();
    let rows = table.rows.iter().map(|row| row.iter().map(|cell| clean(cell, most)).collect());
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..table.head.len()).map(width).collect();
    for line in &lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            // Numbers stand below each other by their last digit.
            let number = cell.bytes().all(|byte| byte.is_ascii_digit());
            // A string takes everything.
            let _ = if number { write!(text, "  {cell:>width$}") } else { write!(text, "  {cell:<width$}") };
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// Without control characters, and cut. Cells are escaped already, unless a record's maker forgot it.
fn clean(text: &str, most: usize) -> String {
    let clean = if text.chars().any(char::is_control) { escape(text.as_bytes()) } else { text.into() };
    if clean.chars().count() <= most {
        return clean.into_owned();
    }
    clean.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}
