//! The page of keys.

use ratatui::text::{Line, Span};

use super::{log::padded, text::wrap, theme::Theme};
use crate::top::keys::HELP;

/// Columns of the keys.
const KEYS: usize = 22;

pub(super) fn lines(theme: Theme, width: u16) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled(padded("KEYS", width), theme.heading())];
    let room = usize::from(width).saturating_sub(KEYS);
    for (keys, meaning) in HELP {
        let labels = std::iter::once(*keys).chain(std::iter::repeat(""));
        lines.extend(wrap(meaning, room, room).into_iter().zip(labels).map(|(part, keys)| {
            let gap = " ".repeat(KEYS.saturating_sub(super::text::width(keys)));
            Line::from(vec![Span::styled(format!("{keys}{gap}"), theme.strong()), Span::raw(part)])
        }));
    }
    lines.push(Line::raw(""));
    for about in [
        "GROWTH is since the last look, 1 MIN since a minute ago, NEW/S threads created a second.",
        "ELSEWHERE counts processes of a slice's user that are in other slices.",
        "Bars are the looks that differed from the one before, the newest at the right.",
    ] {
        let parts = wrap(about, usize::from(width), usize::from(width));
        lines.extend(parts.into_iter().map(|part| Line::styled(part.to_owned(), theme.faint())));
    }
    lines
}
