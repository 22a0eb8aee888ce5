//! Writes along a line of cells.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::text::{cut, width};

/// A line in the making, which ends at the right border of its area.
pub(super) struct Pen<'b> {
    buffer: &'b mut Buffer,
    x: u16,
    right: u16,
    y: u16,
}

impl<'b> Pen<'b> {
    /// At the left of this line of an area; where there is no such line nothing is written.
    pub(super) fn new(buffer: &'b mut Buffer, area: Rect, line: u16) -> Self {
        let area = area.intersection(*buffer.area());
        let right = if line < area.height { area.right() } else { area.x };
        Self { buffer, x: area.x, right, y: area.y.saturating_add(line) }
    }

    /// Columns that are left.
    pub(super) const fn room(&self) -> u16 {
        self.right.saturating_sub(self.x)
    }

    /// What is left of the line.
    pub(super) fn rest(&self) -> Rect {
        Rect { x: self.x, y: self.y, width: self.room(), height: u16::from(self.room() > 0) }
    }

    /// Writes, and cuts what does not fit.
    pub(super) fn add(&mut self, text: &str, style: Style) -> &mut Self {
        let room = usize::from(self.room());
        if room > 0 {
            (self.x, _) = self.buffer.set_stringn(self.x, self.y, cut(text, room), room, style);
        }
        self
    }

    /// Leaves columns out.
    pub(super) fn skip(&mut self, columns: u16) -> &mut Self {
        self.x = self.x.saturating_add(columns).min(self.right.max(self.x));
        self
    }

    /// Writes into so many columns, at their left or at their right.
    pub(super) fn column(&mut self, text: &str, columns: u16, to_right: bool, style: Style) -> &mut Self {
        let columns = columns.min(self.room());
        let end = self.x + columns;
        let text = cut(text, usize::from(columns));
        if to_right {
            self.skip(columns.saturating_sub(width(&text) as u16));
        }
        let room = usize::from(end.saturating_sub(self.x));
        if room > 0 {
            self.buffer.set_stringn(self.x, self.y, text, room, style);
        }
        self.x = end;
        self
    }

    /// Gives the whole line, from its beginning, a style.
    pub(super) fn paint(buffer: &mut Buffer, area: Rect, line: u16, style: Style) {
        if line < area.height {
            buffer.set_style(Rect { y: area.y + line, height: 1, ..area }, style);
        }
    }
}
