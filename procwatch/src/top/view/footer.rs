//! The last line: a question, the filter that is typed, what came of an order, or the keys.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{pen::Pen, text::words, theme::Theme};
use crate::top::model::{Model, Page};

/// Whether the person must see it even on the lowest screen.
pub(super) fn is_urgent(model: &Model) -> bool {
    model.question().is_some() || model.is_typing() || model.notice().is_some()
}

pub(super) fn render(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let mut pen = Pen::new(buffer, area, 0);
    if let Some(question) = model.question() {
        // The keys first: the rest may be cut.
        pen.add("y/n ", theme.strong()).add(&words(&question.words), theme.plain());
        Pen::paint(buffer, area, 0, theme.urgent());
    } else if let Some(notice) = model.notice() {
        pen.add(&words(notice), theme.strong());
    } else if model.is_typing() {
        pen.add("/", theme.strong())
            .add(&words(model.filter().text()), theme.plain())
            .add(" ", theme.chosen());
    } else {
        if !model.filter().is_empty() {
            pen.add(&format!("/{} ", words(model.filter().text())), theme.strong());
        }
        for (keys, meaning) in hints(model.page()) {
            pen.add(keys, theme.strong()).add(&format!(" {meaning}  "), theme.faint());
        }
    }
}

const fn hints(page: Page) -> &'static [(&'static str, &'static str)] {
    match page {
        Page::Processes => &[
            ("?", "help"),
            ("q", "end"),
            ("/", "filter"),
            ("< >", "sort"),
            ("Enter", "open"),
            ("f", "freeze"),
            ("t", "thaw"),
            ("Tab", "pages"),
        ],
        Page::Details => &[
            ("Esc", "back"),
            ("d", "look again"),
            ("f", "freeze"),
            ("t", "thaw"),
            ("↑ ↓", "scroll"),
            ("?", "help"),
        ],
        Page::Alerts | Page::Placements | Page::Slices => {
            &[("Esc", "back"), ("Tab", "next page"), ("↑ ↓", "scroll"), ("?", "help"), ("q", "end")]
        }
        Page::Help => &[("Esc", "back"), ("↑ ↓", "scroll")],
    }
}
