//! What is due to be done to a process whose alert holds: the steps of its rule, one after the other.
//!
//! Pure: it knows no time but the times that it is given.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crate::{
    config::{Containment, Step},
    event::{BootTime, ProcessKey},
    record::{Occasion, Severity},
};

/// Processes that are known at a time.
pub const MAX_PROCESSES: usize = 4096;

/// In which way a process came to be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// A level was crossed.
    Level(Severity),
    /// Many threads in a short time.
    Burst,
    /// Mark after mark over a long time.
    Leak,
}

impl From<Way> for Occasion {
    fn from(way: Way) -> Self {
        match way {
            Way::Level(severity) => severity.into(),
            Way::Burst => Self::Burst,
            Way::Leak => Self::Leak,
        }
    }
}

/// An alert, as far as it matters for what is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The process.
    pub key: ProcessKey,
    /// Index of its rule.
    pub rule: usize,
    /// In which way.
    pub way: Way,
    /// When.
    pub time: BootTime,
    /// Threads at that moment.
    pub threads: u32,
}

/// A step whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The alert that it belongs to, which holds.
    pub alarm: Alarm,
    /// What is to be done.
    pub action: Containment,
}

/// The ladders of all processes with an alert.
#[derive(Debug)]
pub struct Ladder {
    processes: HashMap<ProcessKey, Climber>,
    /// When which ladder's next step is due; the number keeps equal times apart, in their order.
    queue: BTreeMap<(BootTime, u64), (ProcessKey, Way)>,
    next_number: u64,
    most: usize,
    overflows: u64,
}

/// A process on its ladders.
#[derive(Debug, Default)]
struct Climber {
    tracks: BTreeMap<Way, Track>,
    /// What was begun, and for which alert.
    begun: Vec<(Containment, Way)>,
}

/// One ladder that is being climbed.
#[derive(Debug)]
struct Track {
    alarm: Alarm,
    /// What is left, the next one first.
    left: Vec<Step>,
    /// Its place in the queue; `None` when nothing is left.
    place: Option<(BootTime, u64)>,
}

impl Default for Ladder {
    fn default() -> Self {
        Self::new()
    }
}

impl Ladder {
    /// Of no process yet.
    pub fn new() -> Self {
        Self::with_room(MAX_PROCESSES)
    }

    fn with_room(most: usize) -> Self {
        Self { processes: HashMap::new(), queue: BTreeMap::new(), next_number: 0, most, overflows: 0 }
    }

    /// An alert begins: its rule wants `steps`. Returns those that are due at once.
    ///
    /// The same alert again begins its ladder anew. What another ladder has begun to do to the process already is
    /// passed over, and takes no time.
    pub fn on_alert(&mut self, alarm: Alarm, steps: &[Step]) -> Vec<Due> {
        if steps.is_empty() {
            return Vec::new();
        }
        if !self.processes.contains_key(&alarm.key) && !self.make_room() {
            self.overflows += 1;
            return Vec::new();
        }
        self.drop_track(alarm.key, alarm.way);
        let climber = self.processes.entry(alarm.key).or_default();
        let track = Track { alarm, left: steps.to_vec(), place: None };
        climber.tracks.insert(alarm.way, track);
        self.climb(alarm.key, alarm.way, alarm.time)
    }

    /// An alert is over: what is pending of it will not be done. What was done stays known, as far as it lasts.
    pub fn on_cleared(&mut self, key: ProcessKey, way: Way) {
        self.drop_track(key, way);
        let Some(climber) = self.processes.get_mut(&key) else { return };
        climber.begun.retain(|(action, of)| *of != way || lasts(*action));
        if climber.tracks.is_empty() && climber.begun.is_empty() {
            self.processes.remove(&key);
        }
    }

    /// A step was not done, because its alert is over: the ladder is climbed no further, and the step was none.
    pub fn call_off(&mut self, due: &Due) {
        let Alarm { key, way, .. } = due.alarm;
        self.drop_track(key, way);
        let Some(climber) = self.processes.get_mut(&key) else { return };
        climber.begun.retain(|begun| *begun != (due.action, way));
        if climber.tracks.is_empty() && climber.begun.is_empty() {
            self.processes.remove(&key);
        }
    }

    /// A process has ended.
    pub fn on_exit(&mut self, key: ProcessKey) {
        if let Some(climber) = self.processes.remove(&key) {
            for place in climber.tracks.values().filter_map(|track| track.place) {
                self.queue.remove(&place);
            }
        }
    }

    /// Whether an alert of a process is known, and lasts.
    pub fn climbs(&self, key: ProcessKey, way: Way) -> bool {
        self.processes.get(&key).is_some_and(|climber| climber.tracks.contains_key(&way))
    }

    /// When the next step is due; `None` when nothing is pending.
    pub fn next_due(&self) -> Option<BootTime> {
        self.queue.keys().next().map(|(time, _)| *time)
    }

    /// The steps that are due by `now`, in the order of their times.
    pub fn due(&mut self, now: BootTime) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= now) {
            let (key, way) = entry.remove();
            if let Some(track) = self.track(key, way) {
                track.place = None;
                due.extend(self.step(key, way));
                due.extend(self.climb(key, way, now));
            }
        }
        due
    }

    /// Alerts that nothing is done about, because too many processes had one at a time.
    pub const fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Takes the steps of a ladder that are due at `now` without further waiting, and enters the one after them.
    fn climb(&mut self, key: ProcessKey, way: Way, now: BootTime) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some(wait) = self.wait_before_next(key, way) {
            if wait.is_zero() {
                due.extend(self.step(key, way));
                continue;
            }
            let ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
            let place = (BootTime(now.0.saturating_add(ns)), self.next_number);
            self.next_number += 1;
            self.queue.insert(place, (key, way));
            if let Some(track) = self.track(key, way) {
                track.place = Some(place);
            }
            break;
        }
        due
    }

    /// How long to wait before the next step; not at all when it is to be passed over.
    fn wait_before_next(&self, key: ProcessKey, way: Way) -> Option<Duration> {
        let climber = self.processes.get(&key)?;
        let next = climber.tracks.get(&way)?.left.first()?;
        Some(if climber.is_begun_by_another(next.action, way) { Duration::ZERO } else { next.after })
    }

    /// Takes the next step of a ladder; `None` when another ladder did it already.
    fn step(&mut self, key: ProcessKey, way: Way) -> Option<Due> {
        let climber = self.processes.get_mut(&key)?;
        let track = climber.tracks.get_mut(&way)?;
        if track.left.is_empty() {
            return None;
        }
        let action = track.left.remove(0).action;
        let alarm = track.alarm;
        if climber.is_begun_by_another(action, way) {
            return None;
        }
        climber.begin(action, way);
        Some(Due { alarm, action })
    }

    fn track(&mut self, key: ProcessKey, way: Way) -> Option<&mut Track> {
        self.processes.get_mut(&key)?.tracks.get_mut(&way)
    }

    fn drop_track(&mut self, key: ProcessKey, way: Way) {
        let track = self.processes.get_mut(&key).and_then(|climber| climber.tracks.remove(&way));
        if let Some(place) = track.and_then(|track| track.place) {
            self.queue.remove(&place);
        }
    }

    /// Forgets a process with nothing pending, if there is no room. False when there is none.
    fn make_room(&mut self) -> bool {
        if self.processes.len() < self.most {
            return true;
        }
        let is_idle = |climber: &Climber| climber.tracks.values().all(|track| track.place.is_none());
        let idle = self.processes.iter().find(|(_, climber)| is_idle(climber)).map(|(key, _)| *key);
        idle.is_some_and(|key| self.processes.remove(&key).is_some())
    }
}

impl Climber {
    fn is_begun_by_another(&self, action: Containment, way: Way) -> bool {
        self.begun.iter().any(|(begun, by)| *begun == action && *by != way)
    }

    fn begin(&mut self, action: Containment, way: Way) {
        self.begun.retain(|(begun, by)| !is_undone_by(*begun, action) && (*begun, *by) != (action, way));
        self.begun.push((action, way));
    }
}

/// Whether an action has an effect for as long as nobody takes it back.
const fn lasts(action: Containment) -> bool {
    matches!(action, Containment::Throttle { .. } | Containment::Freeze | Containment::Cap { .. })
}

/// Whether `begun` is not in force any more after `action`.
const fn is_undone_by(begun: Containment, action: Containment) -> bool {
    match action {
        Containment::Thaw => matches!(begun, Containment::Freeze),
        Containment::Freeze => matches!(begun, Containment::Thaw),
        Containment::Throttle { .. } => matches!(begun, Containment::Throttle { .. }),
        Containment::Cap { .. } => matches!(begun, Containment::Cap { .. }),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
