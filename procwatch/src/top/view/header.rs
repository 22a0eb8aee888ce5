//! The first lines: how the agent is, and the whole machine.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    pen::Pen,
    spark::{self, Base},
    text::{counted, grouped, words},
    theme::Theme,
};
use crate::{
    record::Mode,
    status::{Health, Status},
    top::model::{Link, Model},
};

/// A screen of fewer columns has room for what matters most alone.
const NARROW: u16 = 50;

/// Lines of it on a screen of this size.
pub(super) fn height(model: &Model, screen: Rect) -> u16 {
    match screen.height {
        0..6 => 1,
        6..10 => 2,
        _ => 2 + u16::from(complaint(model).is_some()),
    }
}

pub(super) fn render(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    first(model, theme, area, buffer);
    sparklines(model, theme, area, buffer);
    if let Some(complaint) = complaint(model) {
        Pen::new(buffer, area, 2).add(&complaint, theme.warning());
    }
}

fn first(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let mut pen = Pen::new(buffer, area, 0);
    match model.link() {
        Link::Connecting => {
            pen.add("procwatch: asking the agent …", theme.strong());
            return;
        }
        Link::Lost(why) => {
            pen.add(" NO AGENT ", theme.urgent()).add(" ", theme.plain()).add(&words(why), theme.bad());
            if model.total() > 0 {
                pen.add("; what was known last:", theme.plain());
            }
            return;
        }
        Link::Live => {}
    }
    let Some(status) = model.status() else { return };
    let (word, style) = match status.health {
        Health::Ok => ("ok", theme.good()),
        Health::Degraded => ("degraded", theme.warning()),
        Health::Failed => ("failed", theme.bad()),
    };
    let alerts = model.alerts() as u64;
    let alerts =
        if alerts == 0 { String::new() } else { format!("  {}", counted(alerts, "alert", "alerts")) };
    let threads = counted(status.threads, "thread", "threads");
    let (shown, total) = (model.shown().len() as u64, model.total() as u64);
    if area.width < NARROW {
        pen.add(word, style).add(&format!(" {threads}"), theme.plain()).add(&alerts, theme.warning());
        pen.add(&format!("  {}", counted(total, "process", "processes")), theme.plain());
        return;
    }
    let mode = match status.mode {
        Mode::Observe => "observe",
        Mode::Enforce => "enforce",
    };
    pen.add("procwatch ", theme.strong()).add(word, style).add(&format!(" {mode}  "), theme.plain());
    if !model.filter().is_empty() {
        pen.add(&format!("{} of ", grouped(shown)), theme.strong());
    }
    pen.add(&counted(total, "process", "processes"), theme.plain());
    pen.add(&format!(", {threads}"), theme.plain()).add(&alerts, theme.warning());
    let (lost, style) = lost(status, theme);
    pen.add(&format!("  {lost}"), style);
    pen.add(&format!("  agent {} MB", status.resident_bytes.div_ceil(1 << 20)), theme.faint());
}

fn lost(status: &Status, theme: Theme) -> (String, ratatui::style::Style) {
    let lost: u64 = status.rings.iter().map(|ring| ring.lost).sum();
    (format!("{} lost", grouped(lost)), if lost == 0 { theme.plain() } else { theme.warning() })
}

/// Threads at the left, their creation at the right; on a narrow screen threads alone.
fn sparklines(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let Some(last) = model.history().last().filter(|_| area.height > 1) else { return };
    let line = Rect { y: area.y + 1, height: 1, ..area };
    let half = if line.width < 40 { line.width } else { line.width / 2 };
    let left = Rect { width: half.saturating_sub(1), ..line };
    let right = Rect { x: line.x + half, width: line.width - half, ..line };
    let mut pen = Pen::new(buffer, left, 0);
    pen.add(&format!("threads {:<7} ", grouped(last.threads)), theme.plain());
    let rest = pen.rest();
    let threads = model.history().newest_first().map(|sample| sample.threads);
    spark::render(threads, Base::Least, theme.bars(), rest, buffer);
    let mut pen = Pen::new(buffer, right, 0);
    pen.add(&format!("created {:<8} ", format!("{}/s", grouped(last.per_second))), theme.plain());
    let rest = pen.rest();
    let created = model.history().newest_first().map(|sample| sample.per_second);
    spark::render(created, Base::Zero, theme.bars(), rest, buffer);
}

/// Why it is not well: the first reason, and how many more there are.
fn complaint(model: &Model) -> Option<String> {
    let status = model.status().filter(|status| status.health != Health::Ok)?;
    let first = status.reasons.first()?;
    let more = match status.reasons.len() {
        1 => String::new(),
        count => format!(" (and {} more: `procwatch status`)", count - 1),
    };
    Some(format!("{}{more}", words(first)))
}
