//! How long to wait before what failed is tried again.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// The wait after so many failures in a row: twice as long each time, up to five minutes, and of that a random part
/// between the half and the whole, so that many machines do not come back in step. `jitter` is from 0 to 1.
pub(super) fn wait(failures: u32, jitter: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(LONGEST);
    doubled.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

/// A number from 0 to 1, another one each time.
pub(super) fn jitter() -> f64 {
    // The seed of a hash map is as random as is needed here.
    let random = RandomState::new().build_hasher().finish();
    random as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let seconds = |failures, jitter| wait(failures, jitter).as_secs_f64();
        let waits: Vec<f64> = (1..=11).map(|failures| seconds(failures, 1.0)).collect();
        assert_eq!(waits, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0]);
        assert_eq!((seconds(3, 0.0), seconds(3, 0.5), seconds(u32::MAX, 1.0)), (2.0, 3.0, 300.0));
    }

    #[test]
    fn jitter_is_random_and_bounded() {
        let some: Vec<f64> = (0..50).map(|_| jitter()).collect();
        assert!(some.iter().all(|it| (0.0..=1.0).contains(it)) && some.windows(2).any(|it| it[0] < it[1]));
    }
}
