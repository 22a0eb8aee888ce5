//! Spans of time as people write them.

use std::time::Duration;

/// Reads a whole number with its unit: `500ms`, `10s`, `5m` or `1h`.
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
        _ => return Err("a number with its unit is needed: 500ms, 10s, 5m or 1h".to_owned()),
    };
    let number: u64 = number.parse().map_err(|error| format!("{number:?}: {error}"))?;
    match number.checked_mul(factor) {
        Some(ms) if (1..=u64::from(u32::MAX)).contains(&ms) => Ok(Duration::from_millis(ms)),
        _ => Err("must be from 1ms to 1193h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bounds() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("2h"), Ok(Duration::from_hours(2)));
        for bad in ["", "10", "s", "0s", "-1s", "1d", "99999999999h", "1.5s"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
