//! Spans of time as people write them.

use std::time::Duration;

/// Reads a whole number with its unit: `500ms`, `10s`, `5m`, `1h` or `2d`.
///
/// # Errors
/// What would be right, in words. The span must be from 1 ms to 2³² ms.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("a number with its unit is needed: 500ms, 10s, 5m, 1h or 2d".to_owned()),
    };
    let number: u64 = number.parse().map_err(|error| format!("{number:?}: {error}"))?;
    match number.checked_mul(factor) {
        Some(ms) if (1..=u64::from(u32::MAX)).contains(&ms) => Ok(Duration::from_millis(ms)),
        _ => Err("must be from 1ms to 1193h".to_owned()),
    }
}

/// A span as [`parse`] reads it, in the largest unit that leaves no rest; what is below a millisecond is cut.
pub fn exact(span: Duration) -> String {
    let ms = span.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let fitting = units.into_iter().find(|(_, factor)| ms >= *factor && ms.is_multiple_of(*factor));
    let (unit, factor) = fitting.unwrap_or(("ms", 1));
    format!("{}{unit}", ms / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bounds() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("2h"), Ok(Duration::from_hours(2)));
        for bad in ["", "10", "s", "0s", "-1s", "1w", "50d", "99999999999h", "1.5s"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_is_read_as_the_same() {
        for (ms, shown) in
            [(1, "1ms"), (1500, "1500ms"), (90_000, "90s"), (3_600_000, "1h"), (172_800_000, "2d")]
        {
            let span = Duration::from_millis(ms);
            assert_eq!((exact(span).as_str(), parse(shown)), (shown, Ok(span)));
        }
        assert_eq!(exact(Duration::ZERO), "0ms");
    }
}
