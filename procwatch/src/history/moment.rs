//! Now, by both clocks, and how far the wall's is to be trusted.

use std::{fs, io, time::Duration};

use jiff::Timestamp;

use crate::{clock::Clock, event::BootTime};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// So much a clock may be ahead of what was believed without its being a jump.
const SLEW: i128 = 60_000_000_000;
/// So long a clock must stay ahead until that is believed.
const PROBATION: u64 = 3_600_000_000_000;

/// The present moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// By the kernel's clock, which is never set: ns since boot.
    pub(super) boot_ns: u64,
    /// By the wall's clock.
    pub(super) wall: Timestamp,
}

impl Moment {
    /// Reads both clocks.
    ///
    /// # Errors
    /// When the kernel has no such clock.
    pub(super) fn now() -> io::Result<Self> {
        let clock = Clock::new()?;
        let boot = clock.now();
        Ok(Self { boot_ns: boot.0, wall: clock.timestamp(boot) })
    }

    /// The wall's clock minus the kernel's, ns.
    fn offset_ns(self) -> i128 {
        self.wall.as_nanosecond() - i128::from(self.boot_ns)
    }
}

/// Which boot of the machine this is.
///
/// # Errors
/// When /proc does not tell.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim().to_owned())
}

/// The present time of day, as far as what is older may be deleted for it. A clock that jumps ahead would make all
/// that earlier boots have left look old; so a jump must last for an hour before it counts, and a clock that is met
/// for the first time has jumped. One that goes back is believed at once: it makes things younger.
#[derive(Debug, Default)]
pub(super) struct Trust {
    /// Believed, as the distance of the two clocks, ns.
    believed: Option<i128>,
    /// The smallest distance since the jump, and when that was.
    jumped: Option<(i128, u64)>,
}

impl Trust {
    /// The time of day that is believed; `None` when it is too early to believe any.
    pub(super) fn believe(&mut self, now: Moment) -> Option<Timestamp> {
        let seen = now.offset_ns();
        match self.believed {
            Some(believed) if seen <= believed + SLEW => {
                self.believed = Some(seen);
                self.jumped = None;
            }
            _ => {
                let (least, since) = self.jumped.unwrap_or((seen, now.boot_ns));
                let least = least.min(seen);
                self.jumped = Some((least, since));
                if now.boot_ns.saturating_sub(since) >= PROBATION {
                    self.believed = Some(least);
                    self.jumped = None;
                }
            }
        }
        let wall = BootTime(now.boot_ns);
        self.believed.map(|offset| Clock::with_offset(offset).timestamp(wall))
    }
}

/// `moment` minus `span`, or the earliest there is.
pub(super) fn before(moment: Timestamp, span: Duration) -> Timestamp {
    moment.checked_sub(span).unwrap_or(Timestamp::MIN)
}

/// ns since 1970 as the database has them.
pub(super) fn ns(time: Timestamp) -> i64 {
    let ns = time.as_nanosecond();
    i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}

/// A count of the kernel as the database has it.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;
    const DAY: i64 = 86_400;

    /// So many minutes after boot, by a clock that is so many seconds ahead.
    fn at(minutes: u64, ahead: i64) -> Moment {
        let boot_ns = minutes * MINUTE;
        let right = Timestamp::from_second(1_800_000_000).unwrap() + Duration::from_nanos(boot_ns);
        Moment { boot_ns, wall: right + jiff::SignedDuration::from_secs(ahead) }
    }

    #[test]
    fn a_clock_is_believed_after_an_hour_and_a_jump_ahead_after_another() {
        let mut trust = Trust::default();
        assert_eq!(trust.believe(at(1, 0)), None);
        assert_eq!(trust.believe(at(60, 0)), None);
        assert_eq!(trust.believe(at(61, 0)), Some(at(61, 0).wall));
        // It jumps for a moment.
        assert_eq!(trust.believe(at(62, DAY)), Some(at(62, 0).wall));
        assert_eq!(trust.believe(at(100, 0)), Some(at(100, 0).wall));
        assert_eq!(
            trust.believe(at(101, DAY)),
            Some(at(101, 0).wall),
            "the first jump does not count for it"
        );
        assert_eq!(trust.believe(at(160, DAY)), Some(at(160, 0).wall));
        assert_eq!(trust.believe(at(161, DAY)), Some(at(161, DAY).wall), "it stays");
        // Back: at once. And ahead again: not at once.
        assert_eq!(trust.believe(at(162, 0)), Some(at(162, 0).wall));
        assert_eq!(trust.believe(at(163, DAY)), Some(at(163, 0).wall));
    }

    #[test]
    fn a_clock_that_is_wrong_from_the_start_and_set_right_is_not_believed_before() {
        let mut trust = Trust::default();
        assert_eq!(trust.believe(at(1, DAY)), None);
        assert_eq!(trust.believe(at(2, 0)), None);
        assert_eq!(trust.believe(at(70, DAY)), Some(at(70, 0).wall), "the least of what was seen");
    }

    #[test]
    fn small_steps_are_no_jumps() {
        let mut trust = Trust::default();
        trust.believe(at(0, 0));
        for step in 0..100 {
            let now = at(60 + step, step as i64);
            assert_eq!(trust.believe(now), Some(now.wall));
        }
    }
}
