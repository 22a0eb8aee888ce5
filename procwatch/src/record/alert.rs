//! Records of a process' threads: a bound was crossed, or is crossed no more, or threads are refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Command, Process};
use crate::{event::Way, text::Text};

/// How grave a thread count is: the place of its level in the list. Bursts and leaks are warnings, a stop is critical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// First level.
    Notice,
    /// Second level.
    Warning,
    /// Third level.
    Critical,
    /// Fourth level.
    Emergency,
}

impl Severity {
    /// From the least to the gravest.
    pub const ALL: [Self; 4] = [Self::Notice, Self::Warning, Self::Critical, Self::Emergency];

    /// The severity of the level at `index` in the list.
    pub const fn of_level(index: u32) -> Self {
        match index {
            0 => Self::Notice,
            1 => Self::Warning,
            2 => Self::Critical,
            _ => Self::Emergency,
        }
    }

    /// The place of its level in the list.
    pub const fn level(self) -> u32 {
        self as u32
    }

    /// Its name as shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Emergency => "emergency",
        }
    }
}

/// Which bound of a process' threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// A level.
    Level,
    /// Growth in a short time.
    Burst,
    /// Growth over a long time, by successive heights.
    Leak,
    /// The count at which the kernel stops the process.
    Stop,
}

impl Bound {
    /// Its name, the same as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Level => "level",
            Self::Burst => "burst",
            Self::Leak => "leak",
            Self::Stop => "stop",
        }
    }
}

impl From<Way> for Bound {
    fn from(way: Way) -> Self {
        match way {
            Way::Level(_) => Self::Level,
            Way::Burst => Self::Burst,
            Way::Leak => Self::Leak,
            Way::Stop { .. } => Self::Stop,
        }
    }
}

impl From<Way> for Severity {
    fn from(way: Way) -> Self {
        match way {
            Way::Level(index) => Self::of_level(index),
            Way::Burst | Way::Leak => Self::Warning,
            Way::Stop { .. } => Self::Critical,
        }
    }
}

/// Kind `alert`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// The process; `tid` is the new thread, `threads` the count that crossed.
    #[serde(flatten)]
    pub process: Process,
    /// How grave.
    pub severity: Severity,
    /// Which bound was crossed.
    pub bound: Bound,
    /// The bound, threads: the level, the growth that is a burst, the count of the stop. Of a leak: how many heights.
    pub level: u32,
    /// The rule that sets it, as written.
    pub rule: String,
    /// The growth that it is; null for a level and a stop.
    pub growth: Option<Growth>,
    /// Whether the kernel stopped the process; null for all but a stop.
    pub stopped: Option<bool>,
    /// Thread id of the creator; null for one that was above the level when the agent came.
    pub creator_tid: Option<u32>,
    /// Its executable, escaped; null when the process was gone before it could be asked.
    pub exe: Option<Text>,
    /// Its arguments.
    #[serde(flatten)]
    pub command: Command,
    /// Age of the process, ns.
    pub age_ns: u64,
    /// From the kernel's stamp to the agent, ns. Null for one that was above the level when the agent came.
    pub latency_ns: Option<u64>,
    /// True for a process that was above the level before the agent started.
    pub at_start: bool,
}

/// How a process' threads grew.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Growth {
    /// Threads when it began.
    pub from: u32,
    /// When it began, `CLOCK_BOOTTIME` ns.
    pub since_ns: u64,
    /// How long it took up to the alert, ns.
    pub took_ns: u64,
    /// Threads an hour.
    pub per_hour: f64,
    /// The next level of the rule; null when there is none above.
    pub next_level: Option<u32>,
    /// When it is reached at this pace, s from the alert; null when there is none.
    pub next_level_in_s: Option<u64>,
}

impl Growth {
    /// Growth from `from` at `since_ns` to `to` at `now_ns`.
    pub fn new(from: u32, since_ns: u64, to: u32, now_ns: u64, next_level: Option<u32>) -> Self {
        const HOUR: f64 = 3600e9;
        let took_ns = now_ns.saturating_sub(since_ns);
        let per_hour = f64::from(to.saturating_sub(from)) * HOUR / took_ns.max(1) as f64;
        let left = next_level.map(|level| f64::from(level.saturating_sub(to)));
        let in_s = left.filter(|_| per_hour > 0.0).map(|left| (left / per_hour * 3600.0) as u64);
        Self { from, since_ns, took_ns, per_hour, next_level, next_level_in_s: in_s }
    }
}

/// Kind `cleared`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Cleared {
    /// The process; `threads` is 0 when it ended.
    #[serde(flatten)]
    pub process: Process,
    /// How grave the alert was.
    pub severity: Severity,
    /// Which bound.
    pub bound: Bound,
    /// The bound, as in the alert.
    pub level: u32,
    /// The rule that sets it, as written.
    pub rule: String,
    /// True when the process ended.
    pub ended: bool,
}

/// Kind `refused`. At most one a second for a process, and one with the whole count when it ends.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// The process, with the threads that it has.
    #[serde(flatten)]
    pub process: Process,
    /// Threads refused so far.
    pub refused: u64,
    /// Most threads that it may have; null when it has ended.
    pub cap: Option<u32>,
    /// False when nothing is enforced: they only would have been refused.
    pub enforced: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_tells_when_the_next_level_comes() {
        const HOUR: u64 = 3_600_000_000_000;
        let growth = Growth::new(50, HOUR, 124, 3 * HOUR, Some(500));
        assert_eq!((growth.took_ns, growth.per_hour), (2 * HOUR, 37.0));
        assert_eq!(growth.next_level_in_s, Some(36_583), "376 threads at 37 an hour");
        assert_eq!(Growth::new(50, 5, 124, 5, None).next_level_in_s, None);
        assert_eq!(Growth::new(50, 5, 50, 6, Some(80)).next_level_in_s, None);
    }
}
