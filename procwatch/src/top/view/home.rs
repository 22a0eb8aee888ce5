//! The page of processes: slices, the table, and the last alerts and placements.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{log, slices, table, theme::Theme};
use crate::top::model::{Model, Topic};

/// The parts of the page.
struct Parts {
    slices: Rect,
    table: Rect,
    alerts: Rect,
    placements: Rect,
}

pub(super) fn render(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let parts = Parts::of(model, area);
    slices::render(model, theme, parts.slices, buffer);
    table::render(model, theme, parts.table, buffer);
    log::render(model, theme, Topic::Alerts, parts.alerts, buffer);
    log::render(model, theme, Topic::Placements, parts.placements, buffer);
}

/// Lines for processes, without the head of their table.
pub(super) fn table_rows(model: &Model, area: Rect) -> usize {
    usize::from(Parts::of(model, area).table.height.saturating_sub(1))
}

impl Parts {
    /// The table has two thirds at least; on a low screen it has all.
    fn of(model: &Model, area: Rect) -> Self {
        let most = match area.height {
            0..12 => [0, 0, 0],
            12..18 => [2, 3, 0],
            18..30 => [4, 4, 3],
            _ => [6, 9, 6],
        };
        let [slices, alerts, placements] = most;
        let slices = slices.min(slices::height(model));
        let alerts = alerts.min(log::height(model, Topic::Alerts));
        let placements = placements.min(log::height(model, Topic::Placements));
        let table = area.height - slices - alerts - placements;
        let mut y = area.y;
        let mut part = |height| {
            let part = Rect { y, height, ..area };
            y += height;
            part
        };
        Self { slices: part(slices), table: part(table), alerts: part(alerts), placements: part(placements) }
    }
}
