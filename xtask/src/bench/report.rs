//! The figures as a table, as JSON and as a Markdown page.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::statistics::Spread;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Where: kernel, CPUs.
    pub(crate) machine: String,
    /// How, as typed.
    pub(crate) command: String,
    /// What.
    pub(crate) sections: Vec<Section>,
}

/// What one part measured.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    /// Its name.
    pub(crate) title: &'static str,
    /// What ran.
    pub(crate) commands: Vec<String>,
    /// What came out.
    pub(crate) figures: Vec<Figure>,
}

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    /// `None` when it could not be taken; `note` says why then.
    value: Option<f64>,
    spread: Option<Spread>,
    /// The value should not be above it.
    target: Option<f64>,
    note: String,
}

impl Figure {
    /// A single value.
    pub(crate) fn one(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self { name: name.into(), unit, value: Some(value), spread: None, target: None, note: String::new() }
    }

    /// The median of a sample, with its spread.
    pub(crate) fn median(name: impl Into<String>, unit: &'static str, sample: &[f64]) -> Self {
        let Some(spread) = Spread::of(sample) else {
            return Self::missing(name, "nothing was measured");
        };
        Self { spread: Some(spread), ..Self::one(name, unit, spread.median) }
    }

    /// One that could not be taken.
    pub(crate) fn missing(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { value: None, note: reason.into(), ..Self::one(name, "", 0.0) }
    }

    /// With the value that it should not be above.
    pub(crate) fn at_most(self, target: f64) -> Self {
        Self { target: Some(target), ..self }
    }

    /// With a remark.
    pub(crate) fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    /// The cells of its row.
    fn cells(&self) -> [String; 5] {
        let value = self.value.map_or_else(|| "not taken".to_owned(), |value| with_unit(value, self.unit));
        let spread = self.spread.map_or_else(String::new, |spread| {
            format!("{}–{}, n={}", number(spread.min), number(spread.max), spread.count)
        });
        let target = match (self.target, self.value) {
            (Some(target), Some(value)) if value <= target => {
                format!("≤ {}: met", with_unit(target, self.unit))
            }
            (Some(target), Some(_)) => format!("≤ {}: MISSED", with_unit(target, self.unit)),
            _ => String::new(),
        };
        [self.name.clone(), value, spread, target, self.note.clone()]
    }
}

/// Three digits that count, or whole numbers.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        ..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn with_unit(value: f64, unit: &str) -> String {
    format!("{} {unit}", number(value)).trim_end().to_owned()
}

/// The names of the columns.
const COLUMNS: [&str; 5] = ["figure", "value", "min–max", "target", "note"];

impl Report {
    /// For a terminal.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\n{}\n", self.machine, self.command);
        for section in &self.sections {
            let rows: Vec<_> = section.figures.iter().map(Figure::cells).collect();
            let width = |column: usize| {
                let cells = rows.iter().map(|row| row[column].chars().count());
                cells.max().unwrap_or_default()
            };
            let widths = [0, 1, 2, 3].map(width);
            let _ = writeln!(text, "\n{}", section.title);
            for command in &section.commands {
                let _ = writeln!(text, "  $ {command}");
            }
            for row in &rows {
                let mut line = String::new();
                for (cell, width) in row.iter().zip(widths.iter().chain(&[0])) {
                    let _ = write!(line, "  {cell:width$}");
                }
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
        text
    }

    /// For a reader of the project.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# Figures\n\n{}; `{}`\n", self.machine, self.command);
        for section in &self.sections {
            let _ = write!(text, "\n## {}\n\n", section.title);
            for command in &section.commands {
                let _ = writeln!(text, "    {command}");
            }
            let _ = writeln!(text, "\n| {} |\n|---|---|---|---|---|", COLUMNS.join(" | "));
            for figure in &section.figures {
                let _ = writeln!(text, "| {} |", figure.cells().join(" | ").replace('\n', " "));
            }
        }
        text
    }

    /// Writes `NAME.json` and `NAME.md` into `folder`.
    pub(crate) fn save(&self, folder: &Path, name: &str) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(folder.join(format!("{name}.json")), json))
            .and_then(|()| fs::write(folder.join(format!("{name}.md")), self.markdown()))
            .with_context(|| format!("cannot write the figures to {}", folder.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_say_whether_they_meet_their_target_and_why_they_are_missing() {
        let report = Report {
            machine: "Linux 6.18".to_owned(),
            command: "cargo xtask bench".to_owned(),
            sections: vec![Section {
                title: "Idle",
                commands: vec!["procwatch run".to_owned()],
                figures: vec![
                    Figure::median("memory", "MB", &[7.0, 8.0, 9.0]).at_most(15.0),
                    Figure::one("wake-ups", "/s", 2.5).at_most(1.0),
                    Figure::missing("latency", "no alert came"),
                ],
            }],
        };
        let text = report.markdown();
        assert!(text.contains("| memory | 8.00 MB | 7.00–9.00, n=3 | ≤ 15.0 MB: met |"), "{text}");
        assert!(text.contains("| wake-ups | 2.50 /s |  | ≤ 1.00 /s: MISSED |"), "{text}");
        assert!(text.contains("| latency | not taken |  |  | no alert came |"), "{text}");
        assert!(report.table().contains("  $ procwatch run\n"));
    }
}
