//! Medians and spreads of small samples.

use serde::{Deserialize, Serialize};

/// What a sample looks like.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// Values.
    pub(crate) count: usize,
    /// The smallest.
    pub(crate) min: f64,
    /// The middle one.
    pub(crate) median: f64,
    /// 99 of 100 are not above it.
    pub(crate) p99: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of a sample in any order; `None` for an empty one.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            count: sorted.len(),
            min: *sorted.first()?,
            median: median(&sorted)?,
            p99: *sorted.get((sorted.len() * 99).div_ceil(100).checked_sub(1)?)?,
            max: *sorted.last()?,
        })
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*sorted.get(sorted.len() / 2 - 1)?, upper))
}

/// What `with` is above `without`, in percent, pair by pair: both of a pair were measured in the same minute.
fn percent_above(with: &[f64], without: &[f64]) -> Vec<f64> {
    let pairs = with.iter().zip(without);
    pairs.map(|(with, without)| (with / without - 1.0) * 100.0).collect()
}

/// The same in words; none without pairs.
pub(crate) fn by_pairs(with: &[f64], without: &[f64]) -> String {
    Spread::of(&percent_above(with, without)).map_or_else(String::new, |above| {
        format!("{:+.1} % ({:+.1} to {:+.1}) by pairs", above.median, above.min, above.max)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_does_not_depend_on_order() {
        let spread = Spread::of(&[3.0, 1.0, 2.0, 10.0]).unwrap();
        assert_eq!((spread.count, spread.min, spread.max), (4, 1.0, 10.0));
        assert_eq!((spread.median, spread.p99), (2.5, 10.0));
        assert_eq!(Spread::of(&[7.0]).map(|one| one.median), Some(7.0));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn p99_leaves_one_in_a_hundred_out() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(Spread::of(&values).map(|all| all.p99), Some(198.0));
        assert_eq!(Spread::of(&values[..100]).map(|half| half.p99), Some(99.0));
    }

    #[test]
    fn pairs_are_compared_one_by_one() {
        assert_eq!(percent_above(&[150.0, 50.0], &[100.0, 100.0]), [50.0, -50.0]);
    }
}
