//! What an output says about its failures: once when they begin, once when they are over, and not all the time.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{listener::Complaints, queue::Counts};

/// Between two complaints of one kind: each of them is a record that comes back as work.
const PAUSE: Duration = Duration::from_secs(10);

/// The failures of one output, told where complaints go and counted for `status`.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// Which output, in words.
    what: String,
    complaints: Complaints,
    counts: Arc<Counts>,
    /// It fails now.
    failing: bool,
    /// That was told.
    told: bool,
    /// Records lost that nobody was told of.
    untold: u64,
    /// Records that found the queue full and were told of.
    overflow_told: u64,
    complained: Option<Instant>,
    overflow_complained: Option<Instant>,
}

impl Trouble {
    /// None yet.
    pub(crate) const fn new(what: String, complaints: Complaints, counts: Arc<Counts>) -> Self {
        Self {
            what,
            complaints,
            counts,
            failing: false,
            told: false,
            untold: 0,
            overflow_told: 0,
            complained: None,
            overflow_complained: None,
        }
    }

    /// So many records could not be written.
    pub(crate) fn failed(&mut self, now: Instant, error: &str, lost: u64) {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        self.counts.lost.fetch_add(lost, Ordering::Relaxed);
        self.counts.set_error(Some(error.to_owned()));
        self.failing = true;
        self.untold += lost;
        if !self.told && has_passed(self.complained, now) {
            self.told = true;
            self.complained = Some(now);
            self.complaints.make(format!("{}: {error}; records are dropped until it works again", self.what));
        }
    }

    /// So many records were written.
    pub(crate) fn went_well(&mut self, now: Instant, taken: u64) {
        self.counts.taken.fetch_add(taken, Ordering::Relaxed);
        if self.failing {
            self.failing = false;
            self.counts.set_error(None);
        }
        if self.told {
            self.told = false;
            let lost = std::mem::take(&mut self.untold);
            self.complaints.make(format!("{}: works again; {lost} records were dropped", self.what));
        }
        self.tell_overflow(now);
    }

    /// Something else that happened to it, once.
    pub(crate) fn tell(&self, what: &str) {
        self.complaints.make(format!("{}: {what}", self.what));
    }

    fn tell_overflow(&mut self, now: Instant) {
        let overflowed = self.counts.overflowed.load(Ordering::Relaxed);
        let new = overflowed - self.overflow_told;
        if new > 0 && has_passed(self.overflow_complained, now) {
            self.overflow_told = overflowed;
            self.overflow_complained = Some(now);
            self.complaints.make(format!("{}: could not keep up; {new} records were dropped", self.what));
        }
    }
}

fn has_passed(last: Option<Instant>, now: Instant) -> bool {
    last.is_none_or(|last| now.saturating_duration_since(last) >= PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        trouble: Trouble,
        counts: Arc<Counts>,
        told: tokio::sync::mpsc::Receiver<String>,
        begun: Instant,
    }

    impl Case {
        fn new() -> Self {
            let (complaints, told) = Complaints::channel();
            let counts = Arc::new(Counts::default());
            let trouble = Trouble::new("log x".to_owned(), complaints, Arc::clone(&counts));
            Self { trouble, counts, told, begun: Instant::now() }
        }

        fn fails(&mut self, at: u64, lost: u64) {
            self.trouble.failed(self.begun + Duration::from_secs(at), "no space", lost);
        }

        fn works(&mut self, at: u64) {
            self.trouble.went_well(self.begun + Duration::from_secs(at), 1);
        }

        fn told(&mut self) -> Vec<String> {
            std::iter::from_fn(|| self.told.try_recv().ok()).collect()
        }
    }

    #[test]
    fn it_is_told_once_and_its_end_with_the_count() {
        let mut case = Case::new();
        case.works(0);
        (1..100).for_each(|at| case.fails(at, 2));
        assert_eq!(case.told(), ["log x: no space; records are dropped until it works again"]);
        assert_eq!(case.counts.error().as_deref(), Some("no space"));
        case.works(100);
        case.works(101);
        assert_eq!(case.told(), ["log x: works again; 198 records were dropped"]);
        assert_eq!(case.counts.error(), None);
        assert_eq!(case.counts.lost.load(Ordering::Relaxed), 198);
        assert_eq!(case.counts.taken.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn what_comes_and_goes_is_told_now_and_then_and_no_count_is_lost() {
        let mut case = Case::new();
        for second in 0..25 {
            case.fails(second, 1);
            case.works(second);
        }
        let told = case.told();
        assert_eq!(told.len(), 6, "{told:?}");
        assert!(told[1].contains("; 1 records"), "{told:?}");
        assert!(told[3].contains("; 10 records") && told[5].contains("; 10 records"), "{told:?}");
        // What is still untold comes with the next one.
        case.fails(30, 1);
        case.works(30);
        assert!(case.told()[1].contains("; 5 records"));
    }

    #[test]
    fn a_full_queue_is_told_now_and_then() {
        let mut case = Case::new();
        for second in 0..12 {
            case.counts.overflowed.fetch_add(3, Ordering::Relaxed);
            case.works(second);
        }
        assert_eq!(
            case.told(),
            [
                "log x: could not keep up; 3 records were dropped",
                "log x: could not keep up; 30 records were dropped"
            ]
        );
    }
}
