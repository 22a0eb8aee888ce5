//! The kernel's clock and the wall's.

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

use crate::event::BootTime;

/// So long a reading is as good as a new one: the time of day may be set at any moment, as it is soon after many a boot.
const FRESH_NS: u64 = 10_000_000;

/// Two readings may differ by so much, ns, without the time of day having been set: it is the moment between two system
/// calls. Slewing moves both clocks alike.
const STEP_NS: i128 = 1_000_000;

/// Turns kernel stamps (`CLOCK_BOOTTIME`) into times of day by the distance of the two clocks, as last read.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// `CLOCK_REALTIME` − `CLOCK_BOOTTIME`, ns.
    offset_ns: i128,
    /// When that was read, ns of the boot clock; `None` when it was given.
    read_at: Option<u64>,
}

impl Clock {
    /// Reads both clocks.
    ///
    /// # Errors
    /// When the kernel has no such clock (before Linux 2.6.39).
    pub fn new() -> nix::Result<Self> {
        let Reading { offset_ns, at, .. } = Reading::take()?;
        Ok(Self { offset_ns, read_at: Some(at) })
    }

    /// A clock with a given distance, ns, which stays: for tests and for the replay of a recorded stream.
    pub const fn with_offset(offset_ns: i128) -> Self {
        Self { offset_ns, read_at: None }
    }

    /// Makes sure that the time of day at `moment`, which is about now, is what the wall's clock says. Stamps converted before
    /// stay as they are.
    pub fn follow(&mut self, moment: BootTime) {
        let is_old = |read_at: u64| moment.0.saturating_sub(read_at) >= FRESH_NS;
        // The clocks could be read when this one was made; if they cannot be any more, the old distance is the best there is.
        if self.read_at.is_some_and(is_old)
            && let Ok(reading) = Reading::take()
        {
            self.read_at = Some(reading.at);
            if (reading.offset_ns - self.offset_ns).abs() > STEP_NS + reading.took_ns {
                self.offset_ns = reading.offset_ns;
            }
        }
    }

    /// The time of day at `moment`. What lies outside the years -9999 to 9999 becomes the nearest one inside.
    pub fn timestamp(&self, moment: BootTime) -> Timestamp {
        let ns = i128::from(moment.0).saturating_add(self.offset_ns);
        let bound = if ns < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Timestamp::from_nanosecond(ns).unwrap_or(bound)
    }

    /// The present moment as the kernel stamps it. 0 where the kernel has no such clock, which [`Clock::new`] told.
    pub fn now(&self) -> BootTime {
        let ns = read(ClockId::CLOCK_BOOTTIME).unwrap_or(0);
        BootTime(u64::try_from(ns).unwrap_or(0))
    }
}

/// The distance of the two clocks at one moment. The wall's clock is read between two readings of the kernel's, and held
/// against their middle.
struct Reading {
    offset_ns: i128,
    /// Ns of the boot clock.
    at: u64,
    /// Between the first and the last reading, ns: by half of it the distance may be wrong.
    took_ns: i128,
}

impl Reading {
    fn take() -> nix::Result<Self> {
        let before = read(ClockId::CLOCK_BOOTTIME)?;
        let wall = read(ClockId::CLOCK_REALTIME)?;
        let after = read(ClockId::CLOCK_BOOTTIME)?;
        Ok(Self {
            offset_ns: wall - i128::midpoint(before, after),
            at: u64::try_from(after).unwrap_or(0),
            took_ns: after - before,
        })
    }
}

fn read(clock: ClockId) -> nix::Result<i128> {
    let time = clock_gettime(clock)?;
    Ok(i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_makes_the_time_of_day() {
        let clock = Clock::with_offset(1_700_000_000_000_000_000);
        assert_eq!(clock.timestamp(BootTime(1_500)).to_string(), "2023-11-14T22:13:20.0000015Z");
    }

    #[test]
    fn no_stamp_is_out_of_range() {
        assert_eq!(Clock::with_offset(i128::MAX).timestamp(BootTime(u64::MAX)), Timestamp::MAX);
        assert_eq!(Clock::with_offset(i128::MIN).timestamp(BootTime(0)), Timestamp::MIN);
    }

    #[test]
    fn now_is_now() {
        let clock = Clock::new().unwrap();
        let apart = Timestamp::now().duration_since(clock.timestamp(clock.now()));
        assert!(apart.abs().as_secs() < 5, "{apart}");
    }

    #[test]
    fn a_time_of_day_that_was_set_is_followed() {
        let mut clock = Clock::new().unwrap();
        let day = 86_400_000_000_000;
        // As if the wall's clock had been set back by a day since.
        clock.offset_ns += day;
        let (now, before) = (clock.now(), clock.offset_ns);
        clock.follow(BootTime(clock.read_at.unwrap()));
        assert_eq!(clock.offset_ns, before, "just read");
        clock.read_at = Some(now.0 - FRESH_NS);
        clock.follow(now);
        assert!((clock.offset_ns + day - before).abs() < 5_000_000_000, "{clock:?}");
        // What two readings differ by anyway is no step.
        let near = clock.offset_ns + STEP_NS / 2;
        (clock.offset_ns, clock.read_at) = (near, Some(now.0 - FRESH_NS));
        clock.follow(now);
        assert!((clock.offset_ns - near).abs() < STEP_NS, "{clock:?}");
        let mut given = Clock::with_offset(7);
        given.follow(now);
        assert_eq!(given.offset_ns, 7);
    }

    #[test]
    fn now_goes_on() {
        let clock = Clock::new().unwrap();
        let first = clock.now();
        assert!(clock.now() >= first && first > BootTime(0));
    }
}
