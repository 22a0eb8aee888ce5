//! Plots of a report, as SVG within the page.

use std::fmt::Write as _;

use jiff::{Timestamp, tz::TimeZone};

use super::{PARTS, Report, html::escaped};
use crate::record::Severity;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 20.0;
const TOP: f64 = 18.0;
/// By severity.
const COLOURS: [&str; 4] = ["#5b9bd5", "#e8a33d", "#d9534f", "#8b1a1a"];
/// By curve.
const LINES: [&str; 5] = ["#2f6fb0", "#c9642b", "#3c8d53", "#8a4fa3", "#7a6a2b"];

/// The plot while it is drawn.
struct Plot {
    svg: String,
    height: f64,
}

impl Plot {
    fn new(title: &str, height: f64) -> Self {
        let whole = height + TOP + BOTTOM;
        let title = escaped(title);
        let svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {whole}\" width=\"{WIDTH}\" height=\"{whole}\" role=\"img\" aria-label=\"{title}\">\
             <text x=\"0\" y=\"11\">{title}</text>"
        );
        Self { svg, height }
    }

    /// Text whose begin, middle or end is at that place.
    fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        // A string takes everything, here and below.
        let _ = write!(
            self.svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escaped(text)
        );
    }

    fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str, hint: &str) {
        let _ = write!(
            self.svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"><title>{}</title></rect>",
            escaped(hint)
        );
    }

    /// The base line with the span's ends, and the highest value at the side.
    fn axes(&mut self, report: &Report, zone: &TimeZone, most: &str) {
        let base = TOP + self.height;
        let _ =
            write!(self.svg, "<path d=\"M{LEFT} {TOP}V{base}H{WIDTH}\" fill=\"none\" stroke=\"#97a3b1\"/>");
        let time = |time: Timestamp| zone.to_datetime(time).strftime("%m-%d %H:%M").to_string();
        self.text(LEFT, base + 14.0, "start", &time(report.since));
        self.text(WIDTH, base + 14.0, "end", &time(report.until));
        self.text(LEFT - 6.0, TOP + 10.0, "end", most);
        self.text(LEFT - 6.0, base, "end", "0");
    }

    fn line(&mut self, report: &Report, points: &[(Timestamp, f64)], most: f64, colour: &str) {
        let mut path = String::new();
        for (time, value) in points {
            let x = LEFT + (WIDTH - LEFT) * share(*time, report);
            let y = TOP + self.height * (1.0 - (value / most).clamp(0.0, 1.0));
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
        }
        let _ =
            write!(self.svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>");
    }

    fn end(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

/// Where in the span a time is, from 0 to 1.
fn share(time: Timestamp, report: &Report) -> f64 {
    let span = report.until.as_nanosecond() - report.since.as_nanosecond();
    let at = time.as_nanosecond() - report.since.as_nanosecond();
    (at as f64 / (span.max(1)) as f64).clamp(0.0, 1.0)
}

/// Alerts over time, stacked by severity.
pub(super) fn alerts(report: &Report, zone: &TimeZone) -> String {
    let most = report.parts.iter().map(|part| part.iter().sum::<u64>()).max().unwrap_or(0);
    if most == 0 {
        return String::new();
    }
    let mut plot = Plot::new("alerts over time", HEIGHT);
    let width = (WIDTH - LEFT) / PARTS as f64;
    for (number, part) in report.parts.iter().enumerate() {
        let mut y = TOP + HEIGHT;
        for ((count, colour), severity) in part.iter().zip(COLOURS).zip(Severity::ALL) {
            if *count > 0 {
                let height = HEIGHT * *count as f64 / most as f64;
                y -= height;
                let x = LEFT + width * number as f64;
                plot.bar((x, y), (width - 1.0, height), colour, &format!("{count} {}", severity.name()));
            }
        }
    }
    for (number, (severity, colour)) in Severity::ALL.into_iter().zip(COLOURS).enumerate() {
        let x = 200.0 + 100.0 * number as f64;
        plot.bar((x, 3.0), (9.0, 9.0), colour, severity.name());
        plot.text(x + 13.0, 11.0, "start", severity.name());
    }
    plot.axes(report, zone, &most.to_string());
    plot.end()
}

/// The highest thread counts, a bar each.
pub(super) fn heights(report: &Report) -> String {
    const ROW: f64 = 18.0;
    let most = report.heights.iter().map(|it| it.threads).max().unwrap_or(0);
    if most == 0 {
        return String::new();
    }
    let mut plot = Plot::new("most threads", ROW * report.heights.len() as f64);
    for (number, it) in report.heights.iter().enumerate() {
        let y = TOP + ROW * number as f64;
        let width = 560.0 * f64::from(it.threads) / f64::from(most);
        plot.text(230.0, y + 12.0, "end", &it.process);
        plot.bar((240.0, y + 2.0), (width.max(1.0), ROW - 5.0), COLOURS[0], &it.user);
        plot.text(246.0 + width, y + 12.0, "start", &it.threads.to_string());
    }
    plot.end()
}

/// Thread counts over time.
pub(super) fn curves(report: &Report, zone: &TimeZone) -> String {
    let points = report.curves.iter().flat_map(|curve| &curve.points);
    let most = points.map(|(_, value)| *value).fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let mut plot = Plot::new("threads, as told and seen", HEIGHT);
    for (number, (curve, colour)) in report.curves.iter().zip(LINES).enumerate() {
        plot.line(report, &curve.points, most, colour);
        let x = 200.0 + 140.0 * number as f64;
        plot.bar((x, 3.0), (9.0, 9.0), colour, &curve.process);
        plot.text(x + 13.0, 11.0, "start", &curve.process);
    }
    plot.axes(report, zone, &format!("{most:.0}"));
    plot.end()
}

/// The agent's memory over time.
pub(super) fn memory(report: &Report, zone: &TimeZone) -> String {
    let most = report.memory.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    if report.memory.len() < 2 || most <= 0.0 {
        return String::new();
    }
    let mut plot = Plot::new("memory of the agent", HEIGHT / 2.0);
    plot.line(report, &report.memory, most, LINES[0]);
    plot.axes(report, zone, &format!("{:.1} MB", most / 1e6));
    plot.end()
}
