//! The kernel's clock and the wall's.

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

use crate::event::BootTime;

/// Turns kernel stamps (`CLOCK_BOOTTIME`) into times of day by the distance of the two clocks, as last read.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// `CLOCK_REALTIME` − `CLOCK_BOOTTIME`, ns.
    offset_ns: i128,
}

impl Clock {
    /// Reads both clocks.
    ///
    /// # Errors
    /// When the kernel has no such clock (before Linux 2.6.39).
    pub fn new() -> nix::Result<Self> {
        Ok(Self { offset_ns: read_offset()? })
    }

    /// A clock with a given distance, ns: for tests and for the replay of a recorded stream.
    pub const fn with_offset(offset_ns: i128) -> Self {
        Self { offset_ns }
    }

    /// Reads both clocks again: the time of day may have been set since. Stamps converted before stay as they are.
    ///
    /// # Errors
    /// As for [`Clock::new`]; the distance is then the old one.
    pub fn refresh(&mut self) -> nix::Result<()> {
        self.offset_ns = read_offset()?;
        Ok(())
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

/// The wall's clock is read between two readings of the kernel's, and held against their middle.
fn read_offset() -> nix::Result<i128> {
    let before = read(ClockId::CLOCK_BOOTTIME)?;
    let wall = read(ClockId::CLOCK_REALTIME)?;
    let after = read(ClockId::CLOCK_BOOTTIME)?;
    Ok(wall - i128::midpoint(before, after))
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
        let mut clock = Clock::new().unwrap();
        clock.refresh().unwrap();
        let apart = Timestamp::now().duration_since(clock.timestamp(clock.now()));
        assert!(apart.abs().as_secs() < 5, "{apart}");
    }

    #[test]
    fn now_goes_on() {
        let clock = Clock::new().unwrap();
        let first = clock.now();
        assert!(clock.now() >= first && first > BootTime(0));
    }
}
