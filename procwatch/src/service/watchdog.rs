//! The service manager's watchdog: it ends a service whose loop does not go round any more.

use std::{env, process};

use tokio::time::{Duration, Instant, sleep_until};

use super::notify;

/// Tells the service manager that the loop goes round, at half the time that it grants. It is the only reason for the idle
/// agent to wake up, and none where no watchdog is asked for.
#[derive(Debug)]
pub struct Watchdog {
    /// How often, and when next.
    beat: Option<(Duration, Instant)>,
}

impl Watchdog {
    /// As `WATCHDOG_USEC` says, if it speaks of this process.
    pub fn from_env() -> Self {
        let number = |name: &str| env::var(name).ok()?.parse().ok();
        let period = period(number("WATCHDOG_USEC"), number("WATCHDOG_PID"));
        Self { beat: period.map(|period| (period, Instant::now())) }
    }

    /// To be called each time that the loop goes round.
    pub fn alive(&mut self) {
        if let Some((period, next)) = &mut self.beat {
            let now = Instant::now();
            if *next <= now {
                notify::alive();
                *next = now + *period;
            }
        }
    }

    /// Returns when [`Self::alive`] is to be called at the latest. Cancel safe.
    pub async fn due(&self) {
        match self.beat {
            Some((_, next)) => sleep_until(next).await,
            None => std::future::pending().await,
        }
    }
}

/// Half the time that is granted, if this process is meant.
fn period(granted_us: Option<u64>, of_process: Option<u64>) -> Option<Duration> {
    let is_meant = of_process.is_none_or(|pid| pid == u64::from(process::id()));
    granted_us.filter(|us| *us > 0 && is_meant).map(|us| Duration::from_micros(us) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_time_is_used_and_only_by_whom_it_is_granted_to() {
        let own = u64::from(process::id());
        let half = Some(Duration::from_secs(15));
        assert_eq!(period(Some(30_000_000), None), half);
        assert_eq!(period(Some(30_000_000), Some(own)), half);
        assert_eq!(period(Some(30_000_000), Some(own + 1)), None);
        assert_eq!(period(Some(0), None), None);
        assert_eq!(period(None, Some(own)), None);
    }

    #[test]
    fn the_time_of_the_next_beat_follows_the_last() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let period = Duration::from_millis(20);
            let mut watchdog = Watchdog { beat: Some((period, Instant::now())) };
            watchdog.due().await;
            let before = Instant::now();
            watchdog.alive();
            watchdog.due().await;
            assert!(before.elapsed() >= period);
            let (_, next) = watchdog.beat.unwrap();
            assert!(next <= Instant::now());
        });
    }

    #[test]
    fn without_a_watchdog_nothing_is_ever_due() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let waited = runtime.block_on(async {
            let watchdog = Watchdog { beat: None };
            tokio::time::timeout(Duration::from_millis(20), watchdog.due()).await
        });
        assert!(waited.is_err());
    }
}
