//! What placement has done so far.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use procwatch_common::{place::Leave, stats::Stats};

use crate::{
    event::Held,
    record::{HoldResult, Holds, Placement, Quantiles, Reason},
};

/// Longest time that is told apart from longer ones, ns: ten minutes.
const LONGEST_NS: u64 = 600_000_000_000;

/// Counts and times.
#[derive(Debug, Default)]
pub(super) struct Account {
    sessions: u64,
    moved: u64,
    not_strays: u64,
    errors: BTreeMap<String, u64>,
    outside: Times,
    holds: BTreeMap<HoldResult, u64>,
    held: Times,
}

impl Account {
    pub(super) fn moved(&mut self, is_new_session: bool, outside_ns: Option<u64>) {
        self.moved += 1;
        self.sessions += u64::from(is_new_session);
        if let Some(ns) = outside_ns {
            self.outside.add(ns);
        }
    }

    /// A child that the programs took for one of a stray, and that is left alone.
    pub(super) fn was_no_stray(&mut self) {
        self.not_strays += 1;
    }

    pub(super) fn refused(&mut self, error: &str) {
        *self.errors.entry(error.to_owned()).or_default() += 1;
    }

    pub(super) fn held(&mut self, held: &Held) {
        *self.holds.entry(held.end.into()).or_default() += 1;
        self.held.add(held.held_ns);
    }

    /// All of it, with what the kernel programs counted.
    pub(super) fn record(&self, stats: &Stats) -> Placement {
        let mut left_alone = BTreeMap::<Reason, u64>::new();
        for (leave, count) in Leave::ALL.into_iter().zip(stats.left_alone).filter(|(_, count)| *count > 0) {
            *left_alone.entry(leave.into()).or_default() += count;
        }
        Placement {
            sessions: self.sessions,
            moved: self.moved,
            strays: stats.strays,
            born_outside: stats.born_outside.saturating_sub(self.not_strays),
            left_alone,
            errors: self.errors.clone(),
            outside: self.outside.quantiles(),
            holds: Holds { results: self.holds.clone(), held: self.held.quantiles() },
        }
    }
}

/// A distribution of times. Made with the first of them: most agents never place anybody.
#[derive(Debug, Default)]
struct Times(Option<Histogram<u32>>);

impl Times {
    fn add(&mut self, ns: u64) {
        if self.0.is_none() {
            // The bounds are right by themselves: 1 is the lowest that is possible, and two digits are.
            self.0 = Histogram::new_with_bounds(1, LONGEST_NS, 2).ok();
        }
        if let Some(times) = &mut self.0 {
            times.saturating_record(ns.max(1));
        }
    }

    fn quantiles(&self) -> Quantiles {
        let Some(times) = &self.0 else {
            return Quantiles::default();
        };
        Quantiles {
            count: times.len(),
            p50_ns: times.value_at_quantile(0.5),
            p99_ns: times.value_at_quantile(0.99),
            max_ns: times.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use procwatch_common::place::HoldEnd;

    use super::*;

    #[test]
    fn times_are_told_within_a_percent() {
        let mut times = Times::default();
        assert_eq!(times.quantiles(), Quantiles::default());
        for ms in 1..=100 {
            times.add(ms * 1_000_000);
        }
        let Quantiles { count, p50_ns, p99_ns, max_ns } = times.quantiles();
        let near = |ns: u64, ms: u64| ns.abs_diff(ms * 1_000_000) * 100 <= ms * 1_000_000;
        assert!(
            count == 100 && near(p50_ns, 50) && near(p99_ns, 99) && near(max_ns, 100),
            "{p50_ns} {p99_ns}"
        );
    }

    #[test]
    fn all_is_counted() {
        let mut account = Account::default();
        account.moved(true, Some(5));
        account.moved(false, None);
        account.refused("EBUSY");
        account.was_no_stray();
        let held = Held { held_ns: 7, rule: 0, end: HoldEnd::Deadline, file: "/bin/sh".into() };
        account.held(&held);
        let mut stats = Stats { strays: 3, born_outside: 3, ..Stats::default() };
        stats.left_alone[Leave::MainPid as usize] = 4;
        stats.left_alone[Leave::Stray as usize] = 2;
        stats.left_alone[Leave::StrayForNow as usize] = 3;
        let record = account.record(&stats);
        assert_eq!((record.sessions, record.moved, record.strays, record.born_outside), (1, 2, 3, 2));
        assert_eq!(record.left_alone, [(Reason::MainPid, 4), (Reason::OutsideSlice, 5)].into());
        assert_eq!(record.errors, [("EBUSY".to_owned(), 1)].into());
        assert_eq!(record.holds.results, [(HoldResult::Deadline, 1)].into());
        assert_eq!((record.outside.count, record.holds.held.count), (1, 1));
    }
}
