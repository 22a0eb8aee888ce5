use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;
const NOTICE: Way = Way::Level(Severity::Notice);
const CRITICAL: Way = Way::Level(Severity::Critical);
const THROTTLE: Containment = Containment::Throttle { percent: 50 };

fn key(pid: u32) -> ProcessKey {
    ProcessKey { pid, start: BootTime(7) }
}

fn alarm(pid: u32, way: Way, seconds: u64) -> Alarm {
    Alarm { key: key(pid), rule: 3, way, time: at(seconds), threads: 100 }
}

const fn at(seconds: u64) -> BootTime {
    BootTime(seconds * SECOND)
}

const fn step(action: Containment, after: u64) -> Step {
    Step { action, after: Duration::from_secs(after) }
}

fn actions(due: &[Due]) -> Vec<Containment> {
    due.iter().map(|due| due.action).collect()
}

#[test]
fn each_step_is_due_after_the_one_before_it() {
    let mut ladder = Ladder::new();
    let steps = [
        step(Containment::Diagnose, 0),
        step(THROTTLE, 0),
        step(Containment::Terminate, 30),
        step(Containment::Kill, 10),
    ];
    let first = ladder.on_alert(alarm(1, NOTICE, 100), &steps);
    assert_eq!(actions(&first), [Containment::Diagnose, THROTTLE]);
    assert_eq!(first[0].alarm, alarm(1, NOTICE, 100));
    assert_eq!(ladder.next_due(), Some(at(130)));
    assert_eq!(ladder.due(BootTime(130 * SECOND - 1)), []);
    // The agent looks late: the grace time counts from what was done.
    assert_eq!(actions(&ladder.due(at(134))), [Containment::Terminate]);
    assert_eq!(ladder.next_due(), Some(at(144)));
    assert_eq!(actions(&ladder.due(at(144))), [Containment::Kill]);
    assert_eq!((ladder.next_due(), ladder.due(at(999))), (None, vec![]));
}

#[test]
fn the_end_of_an_alert_cancels_what_is_pending_of_it_and_only_that() {
    let mut ladder = Ladder::new();
    ladder.on_alert(alarm(1, NOTICE, 0), &[step(Containment::Freeze, 5)]);
    ladder.on_alert(alarm(1, Way::Burst, 0), &[step(Containment::Terminate, 6)]);
    ladder.on_cleared(key(1), NOTICE);
    ladder.on_cleared(key(2), NOTICE);
    assert_eq!(actions(&ladder.due(at(10))), [Containment::Terminate]);
    // It rises once more.
    ladder.on_alert(alarm(1, NOTICE, 20), &[step(Containment::Freeze, 5)]);
    assert_eq!(actions(&ladder.due(at(25))), [Containment::Freeze]);
}

#[test]
fn a_higher_ladder_does_not_begin_again_what_a_lower_one_did() {
    let mut ladder = Ladder::new();
    let both = [step(THROTTLE, 0), step(Containment::Freeze, 10)];
    assert_eq!(actions(&ladder.on_alert(alarm(1, NOTICE, 0), &both)), [THROTTLE]);
    let more = [step(THROTTLE, 60), step(Containment::Freeze, 0), step(Containment::Kill, 5)];
    // The throttle was begun, so its time is not waited for either.
    assert_eq!(actions(&ladder.on_alert(alarm(1, CRITICAL, 1), &more)), [Containment::Freeze]);
    // And the lower ladder does not freeze what is frozen.
    assert_eq!(actions(&ladder.due(at(60))), [Containment::Kill]);
    // After the alert the throttle is still in force, the kill was of that moment.
    ladder.on_cleared(key(1), CRITICAL);
    let again = ladder.on_alert(alarm(1, Way::Leak, 61), &[step(THROTTLE, 0), step(Containment::Kill, 0)]);
    assert_eq!(actions(&again), [Containment::Kill]);
}

#[test]
fn what_was_thawed_can_be_frozen_again() {
    let mut ladder = Ladder::new();
    let pulse = [step(Containment::Freeze, 0), step(Containment::Thaw, 2)];
    ladder.on_alert(alarm(1, NOTICE, 0), &pulse);
    assert_eq!(actions(&ladder.due(at(2))), [Containment::Thaw]);
    let frozen = ladder.on_alert(alarm(1, CRITICAL, 3), &[step(Containment::Freeze, 0)]);
    assert_eq!(actions(&frozen), [Containment::Freeze]);
    let other = Containment::Throttle { percent: 10 };
    assert_eq!(actions(&ladder.on_alert(alarm(1, Way::Burst, 3), &[step(THROTTLE, 0)])), [THROTTLE]);
    assert_eq!(actions(&ladder.on_alert(alarm(1, Way::Leak, 4), &[step(other, 0)])), [other]);
    assert_eq!(actions(&ladder.on_alert(alarm(1, NOTICE, 5), &[step(THROTTLE, 0)])), [THROTTLE]);
}

#[test]
fn the_end_of_a_process_ends_all_its_ladders() {
    let mut ladder = Ladder::new();
    ladder.on_alert(alarm(1, NOTICE, 0), &[step(THROTTLE, 5)]);
    ladder.on_alert(alarm(1, CRITICAL, 0), &[step(Containment::Kill, 5)]);
    ladder.on_alert(alarm(2, CRITICAL, 0), &[step(Containment::Kill, 6)]);
    ladder.on_exit(key(1));
    let due = ladder.due(at(10));
    assert_eq!((due.len(), due[0].alarm.key), (1, key(2)));
}

#[test]
fn a_step_that_is_called_off_was_none() {
    let mut ladder = Ladder::new();
    let steps = [step(Containment::Freeze, 0), step(Containment::Kill, 5)];
    let due = ladder.on_alert(alarm(1, NOTICE, 0), &steps);
    ladder.call_off(&due[0]);
    assert_eq!((ladder.climbs(key(1), NOTICE), ladder.next_due()), (false, None));
    // Another ladder does not take it for begun.
    let due = ladder.on_alert(alarm(1, CRITICAL, 1), &[step(Containment::Freeze, 0)]);
    assert_eq!(actions(&due), [Containment::Freeze]);
}

#[test]
fn the_same_alert_again_begins_anew() {
    let mut ladder = Ladder::new();
    let steps = [step(Containment::Diagnose, 0), step(Containment::Kill, 5)];
    assert_eq!(ladder.on_alert(alarm(1, NOTICE, 0), &steps).len(), 1);
    assert_eq!(actions(&ladder.on_alert(alarm(1, NOTICE, 3), &steps)), [Containment::Diagnose]);
    assert_eq!(ladder.next_due(), Some(at(8)));
    assert_eq!(ladder.due(at(8)).len(), 1);
}

#[test]
fn only_so_many_processes_are_known_and_the_others_are_counted() {
    let mut ladder = Ladder::with_room(2);
    ladder.on_alert(alarm(1, NOTICE, 0), &[step(THROTTLE, 5)]);
    ladder.on_alert(alarm(2, NOTICE, 0), &[step(THROTTLE, 5)]);
    assert_eq!(ladder.on_alert(alarm(3, NOTICE, 0), &[step(THROTTLE, 0)]), []);
    assert_eq!(ladder.overflows(), 1);
    // Those known already have room, and so has a new one when one of them has nothing pending.
    assert_eq!(ladder.on_alert(alarm(2, CRITICAL, 0), &[step(Containment::Kill, 0)]).len(), 1);
    assert_eq!(ladder.due(at(5)).len(), 2);
    assert_eq!(ladder.on_alert(alarm(3, NOTICE, 6), &[step(THROTTLE, 0)]).len(), 1);
    assert_eq!(ladder.overflows(), 1);
    assert_eq!(ladder.on_alert(alarm(4, NOTICE, 0), &[]), [], "a rule without steps needs no room");
}

proptest! {
    #[test]
    fn nothing_is_forgotten_in_the_queue(
        moves in proptest::collection::vec((0_u32..4, 0_u8..4, 0_u64..20, 0_u8..4), 0..60),
    ) {
        let mut ladder = Ladder::with_room(3);
        let mut now = 0;
        for (pid, way, wait, what) in moves {
            let way = [NOTICE, CRITICAL, Way::Burst, Way::Leak][usize::from(way)];
            now += wait;
            match what {
                0 => ladder.on_cleared(key(pid), way),
                1 => ladder.on_exit(key(pid)),
                2 => drop(ladder.due(at(now))),
                _ => drop(ladder.on_alert(alarm(pid, way, now), &[step(THROTTLE, wait), step(Containment::Freeze, 3)])),
            }
            let pending = ladder.processes.values().flat_map(|it| it.tracks.values()).filter_map(|it| it.place);
            let mut pending: Vec<_> = pending.collect();
            pending.sort();
            prop_assert_eq!(pending, ladder.queue.keys().copied().collect::<Vec<_>>());
            prop_assert!(ladder.processes.len() <= 3);
        }
    }
}
