//! Alerts and placements as lines, newest first.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    pen::Pen,
    text::{cut, wrap},
    theme::Theme,
};
use crate::top::model::{Entry, Model, Topic};

/// Lines that the page of processes would like to have for it.
pub(super) fn height(model: &Model, topic: Topic) -> u16 {
    match model.log().lines(topic).len() {
        0 => 0,
        count => u16::try_from(count).unwrap_or(u16::MAX).saturating_add(1),
    }
}

/// The newest ones, with a head.
pub(super) fn render(model: &Model, theme: Theme, topic: Topic, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let mut pen = Pen::new(buffer, area, 0);
    pen.add(title(topic), theme.plain());
    Pen::paint(buffer, area, 0, theme.heading());
    for (line, entry) in (1..area.height).zip(model.log().lines(topic).iter().rev()) {
        let mut pen = Pen::new(buffer, area, line);
        pen.add(&entry.time, theme.faint()).skip(1);
        if pen.room() >= 60 {
            pen.column(entry.kind, 9, false, theme.plain()).skip(1);
        }
        if let Some(process) = entry.process {
            pen.add(&format!("{} {}", process.pid, cut(&entry.comm, 15)), theme.strong()).skip(1);
        }
        pen.add(&entry.text, style(entry, theme));
    }
}

/// All of them, whole.
pub(super) fn lines(model: &Model, theme: Theme, topic: Topic, width: u16) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled(padded(title(topic), width), theme.heading())];
    if model.log().lines(topic).is_empty() {
        lines.push(Line::raw("nothing was told yet"));
    }
    for entry in model.log().lines(topic).iter().rev() {
        lines.extend(whole(entry, theme, width));
    }
    lines
}

/// A line, and as many more as its text needs.
pub(super) fn whole(entry: &Entry, theme: Theme, width: u16) -> Vec<Line<'static>> {
    const INDENT: usize = 9;
    let process = entry.process.map(|process| format!("{} {} ", process.pid, entry.comm)).unwrap_or_default();
    let head = format!("{:9} ", entry.kind);
    let (width, before) =
        (usize::from(width), INDENT + super::text::width(&head) + super::text::width(&process));
    let parts = wrap(&entry.text, width.saturating_sub(before), width.saturating_sub(INDENT));
    let style = style(entry, theme);
    let mut parts = parts.into_iter().map(|part| Span::styled(part.to_owned(), style));
    let mut first = vec![
        Span::styled(format!("{} ", entry.time), theme.faint()),
        Span::raw(head),
        Span::styled(process, theme.strong()),
    ];
    first.extend(parts.next());
    let more = parts.map(|part| Line::from(vec![Span::raw(" ".repeat(INDENT)), part]));
    std::iter::once(Line::from(first)).chain(more).collect()
}

const fn title(topic: Topic) -> &'static str {
    match topic {
        Topic::Alerts => "ALERTS AND ACTIONS",
        Topic::Placements => "PLACEMENTS",
    }
}

fn style(entry: &Entry, theme: Theme) -> Style {
    entry.severity.map_or(theme.plain(), |severity| theme.severity(severity))
}

/// A head is painted as far as the screen goes.
pub(super) fn padded(text: &str, width: u16) -> String {
    format!("{text:<width$}", width = usize::from(width))
}
