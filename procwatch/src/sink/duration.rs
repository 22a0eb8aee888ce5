//! Spans of time for people.

use std::fmt;

/// A span, ns, shown with three digits that count: `812ns`, `4.20µs`, `312µs`, `1.23s`; from a minute on `2m10s`,
/// `3h05m`, `2d03h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub u64);

const SECOND: u64 = 1_000_000_000;

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0;
        match ns {
            0..1_000 => write!(f, "{ns}ns"),
            1_000..1_000_000 => three_digits(f, ns, 1_000, "µs"),
            1_000_000..SECOND => three_digits(f, ns, 1_000_000, "ms"),
            _ if ns < 60 * SECOND => three_digits(f, ns, SECOND, "s"),
            _ => long(f, ns / SECOND),
        }
    }
}

/// Cuts and does not round: `999.9µs` is not `1000µs`.
fn three_digits(f: &mut fmt::Formatter<'_>, ns: u64, unit: u64, name: &str) -> fmt::Result {
    let whole = ns / unit;
    let thousandths = ns % unit / (unit / 1_000);
    match whole {
        0..10 => write!(f, "{whole}.{:02}{name}", thousandths / 10),
        10..100 => write!(f, "{whole}.{}{name}", thousandths / 100),
        _ => write!(f, "{whole}{name}"),
    }
}

fn long(f: &mut fmt::Formatter<'_>, seconds: u64) -> fmt::Result {
    let minutes = seconds / 60;
    let hours = minutes / 60;
    if hours >= 24 {
        write!(f, "{}d{:02}h", hours / 24, hours % 24)
    } else if hours > 0 {
        write!(f, "{hours}h{:02}m", minutes % 60)
    } else {
        write!(f, "{minutes}m{:02}s", seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_well() {
        for (ns, shown) in [
            (0, "0ns"),
            (812, "812ns"),
            (4_200, "4.20µs"),
            (85_000, "85.0µs"),
            (312_999, "312µs"),
            (999_999, "999µs"),
            (1_239_000_000, "1.23s"),
            (59_999_999_999, "59.9s"),
            (130 * SECOND, "2m10s"),
            (11_100 * SECOND, "3h05m"),
            (183_600 * SECOND, "2d03h"),
            (u64::MAX, "213503d23h"),
        ] {
            assert_eq!(Span(ns).to_string(), shown);
        }
    }
}
