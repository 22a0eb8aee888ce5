//! The table of processes.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{
    pen::Pen,
    text::{grouped, signed, words},
    theme::Theme,
};
use crate::top::model::{Model, Row, SortBy};

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Pid,
    User,
    Threads,
    Growth,
    Minute,
    Rate,
    Alert,
    Comm,
    Cgroup,
}

impl Column {
    /// From left to right.
    const ALL: [Self; 9] = [
        Self::Pid,
        Self::User,
        Self::Threads,
        Self::Growth,
        Self::Minute,
        Self::Rate,
        Self::Alert,
        Self::Comm,
        Self::Cgroup,
    ];

    /// Those that a narrow screen has no room for are left out from the end.
    const BY_WEIGHT: [Self; 9] = [
        Self::Threads,
        Self::Comm,
        Self::Pid,
        Self::Growth,
        Self::User,
        Self::Alert,
        Self::Minute,
        Self::Rate,
        Self::Cgroup,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Pid => "PID",
            Self::User => "USER",
            Self::Threads => "THREADS",
            Self::Growth => "GROWTH",
            Self::Minute => "1 MIN",
            Self::Rate => "NEW/S",
            Self::Alert => "ALERT",
            Self::Comm => "NAME",
            Self::Cgroup => "CGROUP",
        }
    }

    /// Columns of the screen that it needs.
    const fn width(self) -> u16 {
        match self {
            Self::Pid | Self::Threads => 7,
            Self::User => 8,
            Self::Growth | Self::Minute | Self::Rate => 6,
            Self::Alert => 9,
            Self::Comm => 12,
            Self::Cgroup => 16,
        }
    }

    const fn is_number(self) -> bool {
        matches!(self, Self::Pid | Self::Threads | Self::Growth | Self::Minute | Self::Rate)
    }

    const fn sorts(self) -> Option<SortBy> {
        Some(match self {
            Self::Pid => SortBy::Pid,
            Self::User => SortBy::User,
            Self::Threads => SortBy::Threads,
            Self::Growth => SortBy::Growth,
            Self::Minute => SortBy::Minute,
            Self::Rate => SortBy::Rate,
            Self::Alert => SortBy::Alert,
            Self::Comm => SortBy::Comm,
            Self::Cgroup => return None,
        })
    }
}

/// The columns that a screen of this width has room for, with their widths. The last has what is left.
fn columns(screen: u16) -> Vec<(Column, u16)> {
    let mut chosen = Vec::new();
    let mut left = screen;
    for column in Column::BY_WEIGHT {
        let needed = column.width() + u16::from(!chosen.is_empty());
        if needed > left && !chosen.is_empty() {
            break;
        }
        left = left.saturating_sub(needed);
        chosen.push(column);
    }
    let mut columns: Vec<(Column, u16)> = Column::ALL
        .into_iter()
        .filter(|column| chosen.contains(column))
        .map(|column| (column, column.width()))
        .collect();
    // A name has 15 characters at most, if none of them is escaped.
    if let Some((_, width)) = columns.iter_mut().find(|(column, _)| *column == Column::Comm) {
        let more = left.min(15 - Column::Comm.width());
        *width += more;
        left -= more;
    }
    if let Some((_, width)) = columns.last_mut() {
        *width += left;
    }
    columns
}

pub(super) fn render(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let columns = columns(area.width);
    head(model, theme, &columns, area, buffer);
    let rows = model.shown().skip(model.cursor().top());
    for (line, row) in (1..area.height).zip(rows) {
        let is_chosen = model.cursor().key() == Some(row.key());
        let mut pen = Pen::new(buffer, area, line);
        for (column, width) in &columns {
            let (text, style) = cell(*column, row, theme);
            pen.column(&text, *width, column.is_number(), style).skip(1);
        }
        if is_chosen {
            Pen::paint(buffer, area, line, theme.chosen());
        }
    }
    if model.shown().len() == 0 && model.total() > 0 {
        Pen::new(buffer, area, 1).add("nobody fits the filter; Esc takes it away", theme.plain());
    }
}

/// The names of the columns; an arrow shows by which the rows are ordered, and whether the largest come last.
fn head(model: &Model, theme: Theme, columns: &[(Column, u16)], area: Rect, buffer: &mut Buffer) {
    let order = model.order();
    let arrow = if order.is_descending() { "▼" } else { "▲" };
    let mut pen = Pen::new(buffer, area, 0);
    for (column, width) in columns {
        let is_sorted = column.sorts() == Some(order.by);
        let style = if is_sorted { theme.strong() } else { theme.plain() };
        // The arrow stands in the gap; the last column has none.
        let name = column.name();
        if is_sorted && !column.is_number() {
            pen.column(&format!("{name}{arrow}"), *width, false, style).skip(1);
        } else {
            pen.column(name, *width, column.is_number(), style);
            pen.add(if is_sorted { arrow } else { " " }, style);
        }
    }
    Pen::paint(buffer, area, 0, theme.heading());
}

fn cell(column: Column, row: &Row, theme: Theme) -> (String, Style) {
    let process = &row.process;
    match column {
        Column::Pid => (process.pid.to_string(), theme.plain()),
        Column::User => {
            let user = process.user.as_deref().map(|user| words(user).into_owned());
            (user.unwrap_or_else(|| process.uid.to_string()), theme.plain())
        }
        Column::Threads => (process.threads.to_string(), theme.strong()),
        Column::Growth => (signed(row.growth), growth(row.growth, theme)),
        Column::Minute => (signed(row.minute), growth(row.minute, theme)),
        Column::Rate if row.per_second == 0 => (String::new(), theme.plain()),
        Column::Rate => (grouped(row.per_second), theme.plain()),
        Column::Alert => {
            let alert = process.alert.as_deref().unwrap_or_default();
            (words(alert).into_owned(), theme.alert(alert))
        }
        Column::Comm => (process.comm.to_string(), theme.plain()),
        Column::Cgroup => {
            (process.cgroup.as_ref().map(ToString::to_string).unwrap_or_default(), theme.faint())
        }
    }
}

const fn growth(number: i64, theme: Theme) -> Style {
    if number > 0 { theme.warning() } else { theme.plain() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_most_stays_on_a_narrow_screen() {
        let named = |screen| {
            let columns = columns(screen);
            let used: u16 = columns.iter().map(|(_, width)| width + 1).sum::<u16>() - 1;
            assert!(used == screen || columns.len() == 1, "{screen}: {columns:?}");
            columns.iter().map(|(column, _)| column.name()).collect::<Vec<_>>().join(" ")
        };
        for (screen, names) in [
            (0, "THREADS"),
            (10, "THREADS"),
            (20, "THREADS NAME"),
            (30, "PID THREADS NAME"),
            (40, "PID THREADS GROWTH NAME"),
            (60, "PID USER THREADS GROWTH ALERT NAME"),
            (80, "PID USER THREADS GROWTH 1 MIN NEW/S ALERT NAME"),
            (120, "PID USER THREADS GROWTH 1 MIN NEW/S ALERT NAME CGROUP"),
        ] {
            assert_eq!(named(screen), names, "{screen}");
        }
    }
}
