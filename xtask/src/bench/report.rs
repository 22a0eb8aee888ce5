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
    /// The benchmark fails when it is.
    binding: bool,
    /// What is known of why it is.
    #[serde(skip_serializing_if = "str::is_empty")]
    when_missed: &'static str,
    note: String,
}

impl Figure {
    /// A single value.
    pub(crate) fn one(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        let (target, binding, when_missed) = (None, false, "");
        Self {
            name: name.into(),
            unit,
            value: Some(value),
            spread: None,
            target,
            binding,
            when_missed,
            note: String::new(),
        }
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

    /// With the value above which the benchmark fails: for what depends on nothing but the programs and the kernel.
    pub(super) fn at_most_or_fail(self, target: f64) -> Self {
        Self { binding: true, ..self.at_most(target) }
    }

    /// With what is known of why it is above its target, and what was tried; shown only when it is.
    pub(super) fn when_missed(self, why: &'static str) -> Self {
        Self { when_missed: why, ..self }
    }

    /// Whether it is above the value that it must not be above.
    fn is_broken(&self) -> bool {
        self.binding && self.is_met() == Some(false)
    }

    /// Whether it is at most its target; none without one, or without a value.
    fn is_met(&self) -> Option<bool> {
        Some(self.value? <= self.target?)
    }

    /// The cells of its row in the table of targets, which what is binding is not in: that holds anyway.
    fn target_cells(&self) -> Option<[String; 4]> {
        let target = self.target.filter(|_| !self.binding)?;
        let verdict = match self.is_met() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "not taken",
        };
        let missed = if self.is_met() == Some(false) { self.when_missed } else { "" };
        let value = self.value.map_or_else(String::new, |value| with_unit(value, self.unit));
        Some([
            format!("{}: {value}", self.name),
            format!("≤ {}", with_unit(target, self.unit)),
            verdict.to_owned(),
            missed.to_owned(),
        ])
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
        let target = match (self.target, self.is_met()) {
            (Some(target), Some(met)) => {
                let verdict = if met { "met" } else { "MISSED" };
                format!("≤ {}: {verdict}", with_unit(target, self.unit))
            }
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
        let sections: String = self.sections.iter().map(Section::markdown).collect();
        format!("# Figures\n\n{}; `{}`\n{sections}", self.machine, self.command)
    }

    /// The targets, each with what was measured, as rows of a table.
    pub(super) fn targets(&self) -> String {
        let mut text = String::from("| measured | target | | why, and what was tried |\n|---|---|---|---|\n");
        for section in &self.sections {
            for cells in section.figures.iter().filter_map(Figure::target_cells) {
                let _ = writeln!(text, "| {} |", cells.join(" | "));
            }
        }
        text
    }

    /// The names of the figures for which the benchmark fails.
    pub(super) fn broken(&self) -> Vec<&str> {
        let figures = self.sections.iter().flat_map(|section| &section.figures);
        figures.filter(|figure| figure.is_broken()).map(|figure| figure.name.as_str()).collect()
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

impl Section {
    /// Its chapter in a page.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("\n## {}\n\n", self.title);
        for command in &self.commands {
            let _ = writeln!(text, "    {command}");
        }
        let _ = writeln!(text, "\n| {} |\n|---|---|---|---|---|", COLUMNS.join(" | "));
        for figure in &self.figures {
            let _ = writeln!(text, "| {} |", figure.cells().join(" | ").replace('\n', " "));
        }
        text
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
                    Figure::one("wake-ups", "/s", 2.5).at_most(1.0).when_missed("a timer"),
                    Figure::missing("latency", "no alert came"),
                    Figure::one("insns", "", 120.0).at_most_or_fail(115.0),
                    Figure::one("other insns", "", 115.0).at_most_or_fail(115.0),
                ],
            }],
        };
        let text = report.markdown();
        assert!(text.contains("| memory | 8.00 MB | 7.00–9.00, n=3 | ≤ 15.0 MB: met |"), "{text}");
        assert!(text.contains("| wake-ups | 2.50 /s |  | ≤ 1.00 /s: MISSED |"), "{text}");
        assert!(text.contains("| latency | not taken |  |  | no alert came |"), "{text}");
        assert!(report.table().contains("  $ procwatch run\n"));
        let targets = report.targets();
        assert!(targets.ends_with(
            "| memory: 8.00 MB | ≤ 15.0 MB | met |  |\n| wake-ups: 2.50 /s | ≤ 1.00 /s | **missed** | a timer |\n"
        ), "{targets}");
        assert_eq!(report.broken(), ["insns"]);
    }
}
