//! Borders in time as people type them.

use jiff::{
    Timestamp, Zoned,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};

use super::read::Border;
use crate::duration;

/// `2h`, `2026-11-25`, `2026-11-25 03:00`, `03:00` of today, `2026-11-25T03:00:00Z`, `today` or `yesterday`; times
/// without a zone are those of this machine.
///
/// # Errors
/// What would be right, in words.
pub fn parse(text: &str) -> Result<Border, String> {
    at(text, &Zoned::now())
}

fn at(text: &str, now: &Zoned) -> Result<Border, String> {
    if let Ok(span) = duration::parse(text) {
        return Ok(Border::Ago(span));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Border::At(time));
    }
    let civil = match text {
        "today" => Some(now.date().at(0, 0, 0, 0)),
        "yesterday" => now.date().yesterday().ok().map(|date| date.at(0, 0, 0, 0)),
        _ => civil(text, now.date()),
    };
    let time = civil.and_then(|civil| in_zone(civil, now.time_zone()));
    time.map(Border::At).ok_or_else(|| {
        "is no time; right is e.g. 2h, 03:00, \"2026-11-25 03:00\", 2026-11-25T03:00:00Z, today or yesterday"
            .to_owned()
    })
}

fn civil(text: &str, today: Date) -> Option<DateTime> {
    if let Ok(time) = text.parse::<Time>().map_err(drop).and_then(|it| {
        // A date alone reads as a time of day, too.
        if text.contains(':') && !text.contains('-') { Ok(it) } else { Err(()) }
    }) {
        return Some(today.to_datetime(time));
    }
    text.parse().ok()
}

fn in_zone(civil: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_timestamp(civil).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_read_as_they_are_meant() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let now = "2026-11-25T04:20:30Z".parse::<Timestamp>().unwrap().to_zoned(zone);
        for (text, time) in [
            ("today", "2026-11-24T22:00:00Z"),
            ("yesterday", "2026-11-23T22:00:00Z"),
            ("2026-11-20", "2026-11-19T22:00:00Z"),
            ("2026-11-20 03:00", "2026-11-20T01:00:00Z"),
            ("2026-11-20T03:00:07", "2026-11-20T01:00:07Z"),
            ("03:00", "2026-11-25T01:00:00Z"),
            ("2026-11-25T03:00:00Z", "2026-11-25T03:00:00Z"),
            ("2026-11-25T03:00:00+02:00", "2026-11-25T01:00:00Z"),
        ] {
            assert_eq!(at(text, &now), Ok(Border::At(time.parse().unwrap())), "{text}");
        }
        assert_eq!(at("90m", &now), Ok(Border::Ago(Duration::from_mins(90))));
        for bad in ["", "soon", "2", "-2h", "2026-13-01", "25:00", "2026-11-25 3 o'clock"] {
            assert!(at(bad, &now).unwrap_err().starts_with("is no time; right is"), "{bad}");
        }
    }
}
