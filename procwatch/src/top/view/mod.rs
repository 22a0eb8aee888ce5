//! Draws the model into cells, and does nothing else. Every page can be drawn at every size.

mod details;
mod footer;
mod header;
mod help;
mod home;
mod log;
mod pen;
mod slices;
mod spark;
mod table;
mod text;
pub mod theme;

use ratatui::{buffer::Buffer, layout::Rect, text::Line};

use self::theme::Theme;
use super::model::{Model, Page, Topic};

/// Draws all of it.
pub fn render(model: &Model, theme: Theme, buffer: &mut Buffer) {
    let areas = Areas::of(model, *buffer.area());
    header::render(model, theme, areas.header, buffer);
    match lines(model, theme, areas.main.width) {
        None => home::render(model, theme, areas.main, buffer),
        Some(lines) => {
            for (y, line) in areas.main.rows().zip(lines.iter().skip(model.scroll())) {
                buffer.set_line(y.x, y.y, line, y.width);
            }
        }
    }
    footer::render(model, theme, areas.footer, buffer);
}

/// Tells the model how much of it is in sight on a screen of this size.
pub fn fit(model: &mut Model, theme: Theme, screen: Rect) {
    let main = Areas::of(model, screen).main;
    let text = usize::from(main.height);
    match lines(model, theme, main.width) {
        None => model.fit(home::table_rows(model, main), text, 0),
        Some(lines) => model.fit(text, text, lines.len()),
    }
}

/// The lines of a page of text; `None` for that of the processes.
fn lines(model: &Model, theme: Theme, width: u16) -> Option<Vec<Line<'static>>> {
    Some(match model.page() {
        Page::Processes => return None,
        Page::Alerts => log::lines(model, theme, Topic::Alerts, width),
        Page::Placements => log::lines(model, theme, Topic::Placements, width),
        Page::Slices => slices::lines(model, theme, width),
        Page::Details => details::lines(model, theme, width),
        Page::Help => help::lines(theme, width),
    })
}

/// The parts of the screen.
struct Areas {
    header: Rect,
    main: Rect,
    footer: Rect,
}

impl Areas {
    /// What matters most has its place first: what is asked, then the head, then the rest.
    fn of(model: &Model, screen: Rect) -> Self {
        let height = screen.height;
        let footer = u16::from(height >= 4 || (height > 0 && footer::is_urgent(model)));
        let header = header::height(model, screen).min(height - footer);
        let main = height - footer - header;
        Self {
            header: Rect { height: header, ..screen },
            main: Rect { y: screen.y + header, height: main, ..screen },
            footer: Rect { y: screen.y + header + main, height: footer, ..screen },
        }
    }
}

#[cfg(test)]
mod tests;
