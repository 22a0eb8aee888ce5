//! The page of one process.

use ratatui::text::{Line, Span};

use super::{
    log,
    text::{grouped, signed, words, wrap},
    theme::Theme,
};
use crate::top::model::{Details, Findings, Model, slice_of};

/// Columns of the first word of a line.
const LABEL: usize = 9;
/// Lines about it that are shown.
const SHOWN: usize = 10;

pub(super) fn lines(model: &Model, theme: Theme, width: u16) -> Vec<Line<'static>> {
    let Some(details) = model.details() else {
        return vec![Line::raw("no process is open")];
    };
    let process = &details.row().process;
    let ended = if details.has_ended() { "  has ended; as it was last" } else { "" };
    let title = format!("{} {}{ended}", process.pid, process.comm);
    let mut lines = vec![Line::styled(log::padded(&title, width), theme.heading())];
    lines.extend(facts(model, details, theme, width));
    lines.push(Line::styled(log::padded("WHO CREATES ITS THREADS", width), theme.heading()));
    lines.extend(findings(details.findings(), theme, width));
    let told = model.log().about(details.key());
    if !told.is_empty() {
        lines.push(Line::styled(log::padded("TOLD ABOUT IT", width), theme.heading()));
        let newest = told.iter().rev().take(SHOWN);
        lines.extend(newest.flat_map(|entry| log::whole(entry, theme, width)));
    }
    lines
}

fn facts(model: &Model, details: &Details, theme: Theme, width: u16) -> Vec<Line<'static>> {
    let row = details.row();
    let process = &row.process;
    let user = process.user.as_deref().map(|user| format!("{} ", words(user))).unwrap_or_default();
    let cgroup = process.cgroup.as_ref().map(ToString::to_string).unwrap_or_default();
    let rules: Vec<&str> =
        model.slices().iter().filter(|it| it.rule.is_some()).map(|it| it.name.as_str()).collect();
    let slice = slice_of(&cgroup, &rules).unwrap_or_default();
    let cpus =
        model.slices().iter().find(|it| it.name == slice).and_then(|it| it.rule.as_ref()?.cpus.clone());
    let cpus = cpus.map(|cpus| format!("  CPUs {}", words(&cpus))).unwrap_or_default();
    let grown = |number| match signed(number) {
        none if none.is_empty() => "none".to_owned(),
        some => some,
    };
    let threads = format!(
        "{}, {} since the last look, {} in a minute{}",
        grouped(u64::from(process.threads)),
        grown(row.growth),
        grown(row.minute),
        match process.creations {
            Some(created) => format!(", {} created, {} a second", grouped(created), grouped(row.per_second)),
            None => String::new(),
        }
    );
    let mut lines = vec![
        fact("threads", &threads, theme, width),
        fact("user", &format!("{user}({})", process.uid), theme, width),
        fact("parent", &process.ppid.to_string(), theme, width),
        fact("cgroup", &cgroup, theme, width),
        fact("slice", &format!("{slice}{cpus}"), theme, width),
        fact("rule", &words(&process.rule), theme, width),
    ];
    if let Some(alert) = &process.alert {
        let span = Span::styled(words(alert).into_owned(), theme.alert(alert));
        lines.push(vec![Line::from(vec![label("alert", theme), span])]);
    }
    let counts: Vec<String> =
        details.history().newest_first().take(12).map(|sample| grouped(sample.threads)).collect();
    if counts.len() > 1 {
        let oldest_first: Vec<String> = counts.into_iter().rev().collect();
        lines.push(fact("counts", &oldest_first.join(" → "), theme, width));
    }
    lines.concat()
}

fn findings(findings: &Findings, theme: Theme, width: u16) -> Vec<Line<'static>> {
    let (text, style) = match findings {
        Findings::NotAllowed => ("that needs root: sudo procwatch top", theme.plain()),
        Findings::Running => ("looking …", theme.faint()),
        Findings::Failed(why) => (why.as_str(), theme.warning()),
        Findings::Lines(lines) => {
            return lines.iter().flat_map(|line| wrapped(line, LABEL, theme, width)).collect();
        }
    };
    wrap(text, usize::from(width), usize::from(width))
        .into_iter()
        .map(|part| Line::styled(part.to_owned(), style))
        .collect()
}

/// A fact with its label, in as many lines as it needs.
fn fact(name: &str, text: &str, theme: Theme, width: u16) -> Vec<Line<'static>> {
    let room = usize::from(width).saturating_sub(LABEL);
    let parts = wrap(text, room, room);
    let labels = std::iter::once(label(name, theme)).chain(std::iter::repeat(Span::raw(" ".repeat(LABEL))));
    parts
        .into_iter()
        .zip(labels)
        .map(|(part, label)| Line::from(vec![label, Span::raw(part.to_owned())]))
        .collect()
}

fn label(name: &str, theme: Theme) -> Span<'static> {
    Span::styled(format!("{name:<LABEL$}"), theme.faint())
}

/// A line of the diagnosis: its first one names the cause.
fn wrapped(line: &str, indent: usize, theme: Theme, width: u16) -> Vec<Line<'static>> {
    let width = usize::from(width);
    let style = if line.starts_with(' ') { theme.plain() } else { theme.strong() };
    let parts = wrap(line, width, width.saturating_sub(indent));
    let indents = std::iter::once(0).chain(std::iter::repeat(indent));
    parts
        .into_iter()
        .zip(indents)
        .map(|(part, indent)| Line::styled(format!("{:indent$}{part}", ""), style))
        .collect()
}
