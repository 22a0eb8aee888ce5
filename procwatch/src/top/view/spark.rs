//! Numbers over time, as bars in a line.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    widgets::{RenderDirection, Sparkline, Widget as _},
};

/// Heights of a bar in a line of text.
const LEVELS: u64 = 8;

/// Where the lowest bar stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// At the least of the numbers, so that small changes of large numbers are seen.
    Least,
    /// At zero.
    Zero,
}

/// Draws them, newest first at the right.
pub(super) fn render(
    newest_first: impl Iterator<Item = u64>,
    base: Base,
    style: Style,
    area: Rect,
    buffer: &mut Buffer,
) {
    let numbers: Vec<u64> = newest_first.take(usize::from(area.width)).collect();
    let most = numbers.iter().copied().max().unwrap_or(0);
    let least = match base {
        Base::Least => numbers.iter().copied().min().unwrap_or(0),
        Base::Zero => 0,
    };
    let bars: Vec<u64> = numbers.into_iter().map(|number| height(number, least, most, base)).collect();
    Sparkline::default()
        .data(bars)
        .max(LEVELS)
        .direction(RenderDirection::RightToLeft)
        .style(style)
        .render(area, buffer);
}

/// From 1 to 8; nothing is no bar.
fn height(number: u64, least: u64, most: u64, base: Base) -> u64 {
    if base == Base::Zero && number == 0 {
        return 0;
    }
    let span = most.saturating_sub(least).max(1);
    1 + number.saturating_sub(least).saturating_mul(LEVELS - 1) / span
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(numbers: &[u64], base: Base, width: u16) -> String {
        let area = Rect::new(0, 0, width, 1);
        let mut buffer = Buffer::empty(area);
        render(numbers.iter().rev().copied(), base, Style::new(), area, &mut buffer);
        buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect()
    }

    #[test]
    fn the_newest_is_at_the_right() {
        assert_eq!(bars(&[100, 107, 104], Base::Least, 5), "  ▁█▅");
        assert_eq!(bars(&[1, 2, 3, 4], Base::Least, 2), "▁█");
        assert_eq!(bars(&[0, 7, 14], Base::Zero, 3), " ▄█");
        assert_eq!(bars(&[5, 5], Base::Least, 3), " ▁▁");
        assert_eq!(bars(&[0, 0], Base::Zero, 3), "   ");
        assert_eq!(bars(&[], Base::Zero, 3), "   ");
        assert_eq!(bars(&[u64::MAX, 0], Base::Zero, 2), "▂ ");
        assert_eq!(bars(&[1], Base::Zero, 0), "");
    }
}
