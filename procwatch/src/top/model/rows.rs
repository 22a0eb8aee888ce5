//! Processes, and how their threads grew from picture to picture.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::Sample;
use crate::{
    event::{BootTime, ProcessKey},
    status::ProcessRow,
};

/// How far back growth is told.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// A process in the last picture.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the agent says.
    pub process: ProcessRow,
    /// Threads more, or fewer, than in the picture before; one that is new grew from none.
    pub growth: i64,
    /// The same against a minute ago, or the first picture of it if that was later.
    pub minute: i64,
    /// Threads created a second since the picture before; 0 below the floor from which the kernel programs count.
    pub per_second: u64,
}

impl Row {
    /// The process' lasting name.
    pub const fn key(&self) -> ProcessKey {
        key(&self.process)
    }
}

/// The lasting name of a process.
pub(super) const fn key(process: &ProcessRow) -> ProcessKey {
    ProcessKey { pid: process.pid, start: BootTime(process.start_ns) }
}

/// What is remembered of a process.
#[derive(Clone, Debug, Default)]
struct Past {
    /// Thread counts and since when, oldest first. All but the first are from within the window.
    counts: VecDeque<(Timestamp, u32)>,
    creations: Option<u64>,
}

/// All processes.
#[derive(Debug, Default)]
pub struct Rows {
    all: Vec<Row>,
    past: HashMap<ProcessKey, Past>,
    /// The picture before; none when there is nothing to compare with.
    time: Option<Timestamp>,
}

impl Rows {
    /// Takes a picture in. Returns what it adds to the history: the threads of all its rows, and their creation.
    pub fn renew(&mut self, time: Timestamp, processes: Vec<ProcessRow>) -> Sample {
        let before = self.time.replace(time);
        let mut known = std::mem::take(&mut self.past);
        let (mut threads, mut created) = (0, 0);
        self.all.clear();
        for process in processes {
            let key = key(&process);
            threads += u64::from(process.threads);
            let seen = known.remove(&key);
            let fresh = before.map_or(0, |_| creations_since(seen.as_ref(), process.creations));
            created += fresh;
            let was_there = seen.is_some() || before.is_none();
            let mut past = seen.unwrap_or_default();
            let first = if was_there { process.threads } else { 0 };
            let last = past.counts.back().map_or(first, |(_, threads)| *threads);
            past.renew(time, &process, first);
            let oldest = past.counts.front().map_or(first, |(_, threads)| *threads);
            self.past.insert(key, past);
            self.all.push(Row {
                growth: i64::from(process.threads) - i64::from(last),
                minute: i64::from(process.threads) - i64::from(oldest),
                per_second: rate(fresh, before, time),
                process,
            });
        }
        Sample { threads, per_second: rate(created, before, time) }
    }

    /// The next picture is compared with nothing.
    pub fn forget(&mut self) {
        self.past.clear();
        self.time = None;
    }

    /// The rows of the last picture, in no order.
    pub fn all(&self) -> &[Row] {
        &self.all
    }

    /// The row of a process; `None` when it has ended.
    pub fn of(&self, process: ProcessKey) -> Option<&Row> {
        self.all.iter().find(|row| row.key() == process)
    }
}

impl Past {
    /// `first` is what it grew from when nothing is known of it.
    fn renew(&mut self, time: Timestamp, process: &ProcessRow, first: u32) {
        if self.counts.is_empty() && first != process.threads {
            self.counts.push_back((time, first));
        }
        if self.counts.back().is_none_or(|(_, threads)| *threads != process.threads) {
            self.counts.push_back((time, process.threads));
        }
        // What held when the window began is the last count from before it.
        while self.counts.get(1).is_some_and(|(since, _)| time.duration_since(*since) >= WINDOW) {
            self.counts.pop_front();
        }
        self.creations = process.creations;
    }
}

/// Creations since the picture before. A counter that runs backwards began anew, and says nothing of the time between.
fn creations_since(seen: Option<&Past>, creations: Option<u64>) -> u64 {
    let before = seen.and_then(|past| past.creations).unwrap_or(0);
    creations.map_or(0, |now| now.saturating_sub(before))
}

fn rate(count: u64, before: Option<Timestamp>, now: Timestamp) -> u64 {
    let Some(before) = before else { return 0 };
    let ms = u64::try_from(now.duration_since(before).as_millis()).unwrap_or(0).max(1);
    count.saturating_mul(1000) / ms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::samples::{at, process};

    fn grown(rows: &Rows, pid: u32) -> (i64, i64, u64) {
        let row = rows.all().iter().find(|row| row.process.pid == pid).unwrap();
        (row.growth, row.minute, row.per_second)
    }

    #[test]
    fn the_first_picture_is_compared_with_nothing() {
        let mut rows = Rows::default();
        let row = ProcessRow { creations: Some(900), ..process(7, 100) };
        assert_eq!(rows.renew(at(0), vec![row]), Sample { threads: 100, per_second: 0 });
        assert_eq!(grown(&rows, 7), (0, 0, 0));
    }

    #[test]
    fn growth_is_the_difference_to_the_picture_before_and_to_a_minute_ago() {
        let mut rows = Rows::default();
        for (second, threads, growth, minute) in [
            (0, 10, 0, 0),
            (10, 15, 5, 5),
            (20, 15, 0, 5),
            (30, 40, 25, 30),
            (69, 40, 0, 30),
            (70, 40, 0, 25),
            (90, 38, -2, -2),
            (151, 38, 0, 0),
        ] {
            rows.renew(at(second), vec![process(7, threads)]);
            assert_eq!(grown(&rows, 7), (growth, minute, 0), "at {second}");
        }
    }

    #[test]
    fn a_new_process_grew_from_none_and_a_pid_used_again_is_new() {
        let mut rows = Rows::default();
        rows.renew(at(0), vec![process(7, 10)]);
        rows.renew(at(1), vec![process(7, 10), process(8, 200)]);
        assert_eq!([grown(&rows, 7), grown(&rows, 8)], [(0, 0, 0), (200, 200, 0)]);
        let again = ProcessRow { start_ns: 99, ..process(7, 12) };
        rows.renew(at(2), vec![again]);
        assert_eq!(grown(&rows, 7), (12, 12, 0));
        assert_eq!(rows.past.len(), 1, "who has ended is forgotten");
    }

    #[test]
    fn creations_are_counted_by_the_second_whatever_became_of_the_threads() {
        let counted = |creations| ProcessRow { creations, ..process(7, 70) };
        let mut rows = Rows::default();
        for (ms, creations, per_second) in [
            (0, None, 0),
            (1_000, Some(70), 70),
            (3_000, Some(270), 100),
            (3_500, Some(280), 20),
            (4_500, Some(3), 0),
            (5_500, Some(4), 1),
            (6_500, None, 0),
        ] {
            let time = at(0) + SignedDuration::from_millis(ms);
            assert_eq!(rows.renew(time, vec![counted(creations)]), Sample { threads: 70, per_second });
            assert_eq!(grown(&rows, 7), (0, 0, per_second), "at {ms} ms");
        }
    }

    #[test]
    fn memory_of_a_process_is_bounded_by_the_window() {
        let mut rows = Rows::default();
        for second in 0..1000 {
            rows.renew(at(second), vec![process(7, second as u32)]);
        }
        assert!(rows.past.values().all(|past| past.counts.len() <= 62));
        assert_eq!(grown(&rows, 7).1, 60);
    }

    #[test]
    fn after_a_gap_nothing_is_compared() {
        let mut rows = Rows::default();
        rows.renew(at(0), vec![process(7, 10)]);
        rows.forget();
        rows.renew(at(60), vec![process(7, 500)]);
        assert_eq!(grown(&rows, 7), (0, 0, 0));
    }

    #[test]
    fn a_clock_that_is_set_back_does_no_harm() {
        let mut rows = Rows::default();
        let row = |creations| ProcessRow { creations: Some(creations), ..process(7, 10) };
        rows.renew(at(100), vec![row(5)]);
        rows.renew(at(10), vec![row(6)]);
        assert_eq!(grown(&rows, 7), (0, 0, 1000));
    }
}
