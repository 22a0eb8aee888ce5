//! Sizes of files as people write them.

const UNITS: [(char, u64); 3] = [('G', 1 << 30), ('M', 1 << 20), ('K', 1 << 10)];

/// Reads a whole number of KiB, MiB or GiB: `512K`, `64M`, `2G`. Bytes.
///
/// # Errors
/// What would be right, in words.
pub fn parse(text: &str) -> Result<u64, String> {
    let right = || "a whole number with its unit is needed: 512K, 64M or 2G".to_owned();
    let last = text.chars().next_back().ok_or_else(right)?;
    let (_, factor) = UNITS.into_iter().find(|(unit, _)| *unit == last).ok_or_else(right)?;
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(right());
    }
    let number: Option<u64> = digits.parse().ok();
    number.and_then(|number| number.checked_mul(factor)).ok_or_else(|| "is far too large".to_owned())
}

/// A size as [`parse`] reads it, in the largest unit that leaves no rest; what is below a KiB is cut.
pub fn exact(bytes: u64) -> String {
    let fitting = UNITS.into_iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    let (unit, factor) = fitting.unwrap_or(('K', 1 << 10));
    format!("{}{unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse("512K"), Ok(512 << 10));
        assert_eq!(parse("64M"), Ok(64 << 20));
        assert_eq!(parse("2G"), Ok(2 << 30));
        for bad in
            ["", "64", "M", "-1M", "1.5M", "+1M", "1MB", "99999999999999999999M", "99999999999999999G", "1é"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_is_read_as_the_same() {
        for (bytes, shown) in [(1 << 10, "1K"), (1536 << 10, "1536K"), (3 << 20, "3M"), (1 << 40, "1024G")] {
            assert_eq!((exact(bytes).as_str(), parse(shown)), (shown, Ok(bytes)));
        }
        assert_eq!(exact(1), "0K");
    }
}
