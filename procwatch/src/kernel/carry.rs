//! Rules change while processes live: what was told under the old ones and holds under the new ones is not told again.

use procwatch_common::{
    growth::{BURST, Growth, LEAK, STOP, fell_from},
    policy::{MAX_LEVELS, ThreadCell},
};

use crate::event::{ProcessKey, Way};

/// The processes above the floor, each with the number of its rule and what that said when the rules were replaced.
#[derive(Clone, Debug, Default)]
#[must_use = "alerts that hold no more hide those to come until this is carried over"]
pub struct Told(Vec<([u64; 2], u32, ThreadCell)>);

/// An alert that was told under a rule that is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Whose.
    pub process: ProcessKey,
    /// The number of the rule.
    pub rule: u32,
    /// Which bound.
    pub way: Way,
    /// What it was: threads, for a leak marks.
    pub bound: u32,
}

impl Told {
    /// Adds a process, by its name in the map `GROWTH`.
    pub(super) fn push(&mut self, process: [u64; 2], number: u32, rule: ThreadCell) {
        self.0.push((process, number, rule));
    }
}

impl IntoIterator for Told {
    type Item = ([u64; 2], u32, ThreadCell);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// What is to be written for one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Its growth as the programs are to know it.
    pub(super) growth: Growth,
    /// Ways that are crossed no more, as the low word of their names in the map `CROSSED`.
    pub(super) forget: Vec<u32>,
    /// Ways that are crossed now.
    pub(super) remember: Vec<u32>,
}

/// What a change of its rule means for a process; `None` for nothing.
pub(super) fn change(growth: &Growth, before: &ThreadCell, now: &ThreadCell) -> Option<Change> {
    if before == now {
        return None;
    }
    let mut change = Change { growth: *growth, forget: Vec::new(), remember: Vec::new() };
    let had = std::array::from_fn::<_, MAX_LEVELS, _>(|index| growth.told[index] != 0);
    let told = |level| levels(before).iter().zip(had).any(|(known, told)| told && *known == level);
    for (index, had) in had.into_iter().enumerate() {
        let has = levels(now).get(index).is_some_and(|level| told(*level));
        change.growth.told[index] = u8::from(has);
        match (had, has) {
            (true, false) => change.forget.push(index as u32),
            (false, true) => change.remember.push(index as u32),
            _ => {}
        }
    }
    if (before.burst_threads, before.burst_ns) != (now.burst_threads, now.burst_ns) {
        change.end(BURST, growth.bursts);
        // What was a burst of the old rule keeps none of the new one from being told.
        change.growth.burst_ns = 0;
    }
    if (before.leak_marks, before.leak_gap_ns) != (now.leak_marks, now.leak_gap_ns) {
        change.end(LEAK, 0);
        change.growth.marks = 0;
    }
    if before.stop_at != now.stop_at {
        change.end(STOP, 0);
    }
    Some(change)
}

/// What it means for a process that it has `live` threads by now, if nobody saw it fall; `None` for nothing.
pub(super) fn fallen(growth: &Growth, rule: &ThreadCell, live: u32) -> Option<Change> {
    let mut change = Change { growth: *growth, forget: Vec::new(), remember: Vec::new() };
    // The highest first, as the programs tell it.
    for (index, level) in levels(rule).iter().enumerate().rev() {
        if fell_from(*level, live) {
            change.end(index as u32, 0);
        }
    }
    if growth.burst_fell(live) {
        change.end(BURST, growth.bursts);
    }
    if growth.told[LEAK as usize] != 0 && change.growth.leak_fell(live) {
        change.end(LEAK, 0);
    }
    if fell_from(rule.stop_at, live) {
        change.end(STOP, 0);
    }
    (!change.forget.is_empty()).then_some(change)
}

impl Change {
    fn end(&mut self, way: u32, count: u32) {
        if std::mem::take(&mut self.growth.told[way as usize]) != 0 {
            self.forget.push(count << 16 | way);
        }
    }
}

/// The bound of a rule by the low word of its name in the map `CROSSED`. A stop is an event, and never over.
pub(super) fn bound(rule: &ThreadCell, name: u32) -> Option<(Way, u32)> {
    match name & 0xffff {
        BURST => Some((Way::Burst, rule.burst_threads)),
        LEAK => Some((Way::Leak, rule.leak_marks)),
        STOP => None,
        index => levels(rule).get(index as usize).map(|level| (Way::Level(index), *level)),
    }
}

fn levels(cell: &ThreadCell) -> &[u32] {
    &cell.levels[..(cell.level_count as usize).min(MAX_LEVELS)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(levels: &[u32]) -> ThreadCell {
        let mut cell = ThreadCell { level_count: levels.len() as u32, ..ThreadCell::default() };
        cell.levels[..levels.len()].copy_from_slice(levels);
        cell
    }

    fn grown(told: &[u32]) -> Growth {
        let mut growth = Growth::NEW;
        (growth.bursts, growth.marks, growth.burst_ns) = (2, 3, 5);
        for way in told {
            growth.told[*way as usize] = 1;
        }
        growth
    }

    #[test]
    fn the_same_rule_changes_nothing() {
        assert_eq!(change(&grown(&[0, BURST]), &rule(&[80, 120]), &rule(&[80, 120])), None);
    }

    #[test]
    fn a_level_is_known_by_its_threads_and_not_by_its_place() {
        let changed = change(&grown(&[0, 1]), &rule(&[80, 120]), &rule(&[50, 80, 200])).unwrap();
        // 50 is new and to be told, 80 was told, 120 is no level any more.
        assert_eq!(changed.growth.told[..4], [0, 1, 0, 0]);
        assert_eq!((changed.forget, changed.remember), (vec![0], vec![]));
        let changed = change(&grown(&[0]), &rule(&[80]), &rule(&[40, 80])).unwrap();
        assert_eq!(changed.growth.told[..4], [0, 1, 0, 0]);
        assert_eq!((changed.forget, changed.remember), (vec![0], vec![1]));
    }

    #[test]
    fn a_fall_that_nobody_saw_ends_what_was_told() {
        let rule = ThreadCell { burst_threads: 40, leak_marks: 3, stop_at: 100, ..rule(&[80, 120]) };
        let mut growth = grown(&[0, 1, BURST, LEAK, STOP]);
        (growth.burst_threads, growth.mark) = (90, 100);
        assert_eq!(fallen(&growth, &rule, 96), None);
        assert_eq!(fallen(&growth, &rule, 95).unwrap().forget, [1]);
        let all = fallen(&growth, &rule, 5).unwrap();
        assert_eq!(all.forget, [1, 0, 2 << 16 | BURST, LEAK, STOP]);
        assert_eq!((all.growth.told, all.growth.marks), ([0; 8], 0));
        assert_eq!(fallen(&grown(&[]), &rule, 5), None, "what was not told is not over");
    }

    #[test]
    fn bounds_are_found_by_their_names() {
        let rule = ThreadCell { burst_threads: 40, leak_marks: 3, stop_at: 100, ..rule(&[80, 120]) };
        let bounds = [1, 7 << 16 | BURST, LEAK, STOP, 2].map(|name| bound(&rule, name));
        let levels = [Some((Way::Level(1), 120)), Some((Way::Burst, 40)), Some((Way::Leak, 3)), None, None];
        assert_eq!(bounds, levels);
    }

    #[test]
    fn other_bounds_begin_anew_when_they_are_others() {
        let before = ThreadCell { burst_threads: 40, leak_marks: 3, stop_at: 100, ..rule(&[80]) };
        let growth = grown(&[0, BURST, LEAK, STOP]);
        let same_bounds = ThreadCell { levels: [90, 0, 0, 0], ..before };
        let changed = change(&growth, &before, &same_bounds).unwrap();
        assert_eq!(changed.forget, [0]);
        assert_eq!((changed.growth.marks, changed.growth.burst_ns), (3, 5));
        let changed = change(&growth, &before, &rule(&[80])).unwrap();
        assert_eq!(changed.forget, [2 << 16 | BURST, LEAK, STOP]);
        assert_eq!(changed.growth.told, [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((changed.growth.marks, changed.growth.burst_ns), (0, 0));
    }
}
