//! Slices: who lives in them, and on which cores.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    pen::Pen,
    text::{grouped, signed, words},
    theme::Theme,
};
use crate::top::model::{Model, Slice};

/// A cell of the table: its text, columns, whether at the right, and style.
type Cell = (String, u16, bool, Style);

/// Columns of the name and of the CPUs: on a narrow screen fewer.
const fn widths(screen: u16) -> (u16, u16) {
    if screen < 60 { (16, 9) } else { (22, 12) }
}

/// Lines that the page of processes would like to have for it.
pub(super) fn height(model: &Model) -> u16 {
    match model.slices().len() {
        0 => 0,
        count => u16::try_from(count).unwrap_or(u16::MAX).saturating_add(1),
    }
}

/// The first ones, with a head.
pub(super) fn render(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    write(&head(theme, area.width), Pen::new(buffer, area, 0));
    Pen::paint(buffer, area, 0, theme.heading());
    for (line, slice) in (1..area.height).zip(model.slices()) {
        write(&row(slice, theme, area.width), Pen::new(buffer, area, line));
    }
}

/// All of them, each with its rule.
pub(super) fn lines(model: &Model, theme: Theme, width: u16) -> Vec<Line<'static>> {
    let mut lines = vec![line(head(theme, width)).style(theme.heading())];
    for slice in model.slices() {
        lines.push(line(row(slice, theme, width)));
        if let Some(rule) = &slice.rule {
            lines.push(Line::styled(format!("  rule: {}", words(&rule.rule)), theme.faint()));
        }
    }
    lines
}

fn head(theme: Theme, screen: u16) -> Vec<Cell> {
    let (name, cpus) = widths(screen);
    let style = theme.plain();
    let cell = |title: &str, width, to_right| (title.to_owned(), width, to_right, style);
    vec![
        cell("SLICE", name, false),
        cell("CPUS", cpus, false),
        cell("THREADS", 7, true),
        cell("GROWTH", 6, true),
        cell("PROCESSES", 9, true),
        cell("ELSEWHERE", 9, true),
    ]
}

fn row(slice: &Slice, theme: Theme, screen: u16) -> Vec<Cell> {
    let (name_width, cpus_width) = widths(screen);
    let (cpus, style) = match &slice.rule {
        None => (String::new(), theme.plain()),
        Some(rule) if !rule.is_present => ("not there".to_owned(), theme.faint()),
        Some(rule) => match &rule.cpus {
            Some(cpus) => (words(cpus).into_owned(), theme.strong()),
            None => ("no cpuset".to_owned(), theme.warning()),
        },
    };
    // Only who has a rule should live in its slice alone.
    let is_ruled = slice.rule.is_some();
    let elsewhere = slice.elsewhere.filter(|count| *count > 0);
    let growth = if slice.growth > 0 { theme.warning() } else { theme.plain() };
    vec![
        (words(&slice.name).into_owned(), name_width, false, theme.plain()),
        (cpus, cpus_width, false, style),
        (grouped(slice.threads), 7, true, theme.strong()),
        (signed(slice.growth), 6, true, growth),
        (grouped(slice.processes), 9, true, theme.plain()),
        (
            elsewhere.map(grouped).unwrap_or_default(),
            9,
            true,
            if is_ruled { theme.warning() } else { theme.faint() },
        ),
    ]
}

fn write(cells: &[Cell], mut pen: Pen<'_>) {
    for (text, width, to_right, style) in cells {
        pen.column(text, *width, *to_right, *style).skip(1);
    }
}

/// The same as spans, for the page of its own.
fn line(cells: Vec<Cell>) -> Line<'static> {
    let spans = cells.into_iter().map(|(text, width, to_right, style)| {
        let width = usize::from(width);
        let text = super::text::cut(&text, width).into_owned();
        let gap = " ".repeat(width.saturating_sub(super::text::width(&text)));
        Span::styled(if to_right { format!("{gap}{text} ") } else { format!("{text}{gap} ") }, style)
    });
    spans.collect()
}
