extern crate std;

use std::vec::Vec;

use super::*;

const MS: u64 = 1_000_000;
const HOUR: u64 = 3_600_000 * MS;

fn rule() -> ThreadCell {
    ThreadCell {
        burst_threads: 50,
        burst_ns: 1000 * MS,
        leak_marks: 4,
        leak_gap_ns: HOUR / 3,
        ..ThreadCell::default()
    }
}

/// Rises by one thread each `step_ns` from the floor on, and tells at which counts it was a burst.
fn bursts(growth: &mut Growth, counts: impl Iterator<Item = u32>, begin: u64, step_ns: u64) -> Vec<u32> {
    let times = (0..).map(|step| begin + step * step_ns);
    counts
        .zip(times)
        .filter(|(count, now)| growth.burst(*count, *now, &rule()).is_some())
        .map(|it| it.0)
        .collect()
}

#[test]
fn a_burst_is_net_growth_above_the_floor() {
    let mut growth = Growth::NEW;
    let told = bursts(&mut growth, 32..200, HOUR, MS);
    assert_eq!(told.first(), Some(&81), "fifty threads from 32 on");
    assert_eq!(told.len(), 200 - 81);
    let grown = growth.burst(200, HOUR + 168 * MS, &rule()).unwrap();
    assert_eq!(grown.from, 150);
    assert!(HOUR + 119 * MS - grown.since_ns < 4096, "{grown:?}");
}

#[test]
fn the_largest_burst_that_can_be_asked_for_is_seen() {
    let rule = ThreadCell { burst_threads: MAX_BURST, ..rule() };
    let mut growth = Growth::NEW;
    let seen = (32..400).find(|count| growth.burst(*count, HOUR + u64::from(*count) * MS, &rule).is_some());
    assert_eq!(seen, Some(FLOOR_THREADS + MAX_BURST - 1));
}

#[test]
fn slower_growth_is_none() {
    let mut growth = Growth::NEW;
    assert_eq!(bursts(&mut growth, 32..400, HOUR, 21 * MS), []);
    // And just fast enough: 49 steps in less than a second.
    let mut growth = Growth::NEW;
    assert_eq!(bursts(&mut growth, 32..83, HOUR, 20 * MS), [81, 82]);
}

#[test]
fn a_thread_for_each_request_is_none() {
    let mut growth = Growth::NEW;
    let swing = (0..10_000).map(|step| 60 + step % 30);
    assert_eq!(bursts(&mut growth, swing, HOUR, MS / 10), []);
}

#[test]
fn a_count_that_shares_a_place_is_not_mistaken() {
    let mut growth = Growth::NEW;
    let high = REMEMBERED as u32 + 70;
    bursts(&mut growth, high..high + 30, HOUR, MS);
    // It fell to 90 without our seeing a rise to 70 and the counts after it.
    assert_eq!(bursts(&mut growth, 90..149, HOUR + 60 * MS, MS), (139..149).collect::<Vec<_>>());
}

#[test]
fn a_burst_is_one_whatever_order_cpus_come_in() {
    let mut growth = Growth::NEW;
    assert!(!growth.burst_goes_on(HOUR, &rule()));
    assert!(growth.burst_goes_on(HOUR + MS, &rule()));
    // This one looked at the clock before the others did.
    assert!(growth.burst_goes_on(HOUR - MS, &rule()));
    assert_eq!(growth.burst_ns, HOUR + MS, "the latest is kept");
    let quiet = Growth::quiet_ns(&rule());
    assert!(growth.burst_goes_on(HOUR + quiet, &rule()));
    assert!(!growth.burst_goes_on(HOUR + 2 * quiet, &rule()));
}

#[test]
fn a_mark_that_another_cpu_set_later_makes_no_second_one() {
    let mut growth = Growth::NEW;
    assert_eq!(growth.leak(40, HOUR, &rule()), None);
    assert_eq!(growth.leak(50, HOUR - 1, &rule()), None);
    assert_eq!((growth.marks, growth.mark, growth.mark_ns), (1, 50, HOUR));
}

fn leaks(growth: &mut Growth, steps: impl Iterator<Item = (u32, u64)>) -> Vec<u32> {
    steps.filter(|(count, now)| growth.leak(*count, *now, &rule()).is_some()).map(|it| it.0).collect()
}

#[test]
fn a_thread_a_minute_is_a_leak() {
    let mut growth = Growth::NEW;
    let told = leaks(&mut growth, (0..300).map(|minute| (32 + minute, HOUR + u64::from(minute) * HOUR / 60)));
    assert!(!told.is_empty());
    // More than an hour, three gaps, and each a quarter above the one before.
    assert_eq!((told[0], growth.first), (124, 50), "{told:?}");
    assert!(growth.marks >= 4);
}

#[test]
fn a_start_and_one_growth_hours_later_are_none() {
    let mut growth = Growth::NEW;
    let start = (32..97).map(|count| (count, HOUR + u64::from(count) * MS));
    let later = (97..150).map(|count| (count, 4 * HOUR + u64::from(count) * MS));
    assert_eq!(leaks(&mut growth, start.chain(later)), []);
    assert_eq!((growth.first, growth.marks), (79, 2));
}

#[test]
fn falling_back_begins_anew() {
    let mut growth = Growth::NEW;
    for (count, hours) in [(40, 0), (50, 1), (63, 2)] {
        assert_eq!(growth.leak(count, (1 + hours) * HOUR, &rule()), None);
    }
    assert!(!growth.leak_fell(51) && growth.leak_fell(50));
    for (count, hours) in [(50, 3), (63, 4), (79, 5)] {
        assert_eq!(growth.leak(count, (1 + hours) * HOUR, &rule()), None);
    }
    let told = growth.leak(99, 7 * HOUR, &rule());
    assert_eq!(told, Some(Grown { from: 50, since_ns: 4 * HOUR }));
}

#[test]
fn hysteresis_is_four_fifths() {
    assert!(fell_from(80, 63) && !fell_from(80, 64));
    let growth = Growth { burst_threads: 100, ..Growth::NEW };
    assert!(growth.burst_fell(79) && !growth.burst_fell(80));
}
