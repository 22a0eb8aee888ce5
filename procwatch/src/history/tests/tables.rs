//! The tables that are an interface, and the lives of the agent.

use super::*;

const ALERTS: &str =
    "SELECT severity, component, coalesce(action_taken, '-'), resolved, resolution FROM health_alerts";

#[test]
fn an_alert_is_open_until_it_is_cleared() {
    let mut scene = Scene::new();
    scene.write(alert(1, 100, Severity::Warning), moment(SECOND));
    scene.write(alert(1, 500, Severity::Critical), moment(2 * SECOND));
    scene.write(alert(2, 80, Severity::Notice), moment(3 * SECOND));
    assert_eq!(
        scene.ask(ALERTS),
        [
            ["WARNING", "process python3[1]", "-", "0", "-"],
            ["CRITICAL", "process python3[1]", "-", "0", "-"],
            ["INFO", "process python3[2]", "-", "0", "-"]
        ]
    );
    let message = &scene.ask("SELECT message FROM health_alerts WHERE pid = 2")[0][0];
    assert!(
        message.starts_with("python3[2] of alice: NOTICE 80 threads (level 80) python3 leak.py"),
        "{message}"
    );
    scene.write(cleared(1, 500, false), moment(4 * SECOND));
    scene.write(cleared(2, 80, true), moment(5 * SECOND));
    let rows = scene.ask("SELECT level, resolved, resolution, resolved_time FROM health_alerts");
    assert_eq!(rows[0], ["100", "0", "-", "-"]);
    assert_eq!(rows[1], ["500", "1", "cleared", "2027-01-15T08:00:04.000Z"]);
    assert_eq!(rows[2], ["80", "1", "ended", "2027-01-15T08:00:05.000Z"]);
    // The same level is crossed again: a row of its own.
    scene.write(alert(1, 500, Severity::Critical), moment(6 * SECOND));
    assert_eq!(scene.count("health_alerts WHERE level = 500"), 2);
    assert_eq!(scene.ask("SELECT pid, threads FROM high_water ORDER BY pid"), [["1", "500"], ["2", "80"]]);
}

#[test]
fn what_was_done_stands_with_the_alert() {
    let mut scene = Scene::new();
    scene.write(alert(4242, 500, Severity::Critical), moment(SECOND));
    for body in samples_of(Kind::Action).into_iter().chain(samples_of(Kind::Diagnosis)) {
        scene.write(body, moment(2 * SECOND));
    }
    let taken = scene.ask("SELECT action_taken FROM health_alerts");
    assert_eq!(taken.len(), 1);
    let parts: Vec<&str> = taken[0][0].split("; ").collect();
    assert_eq!(parts.len(), 4, "{parts:?}");
    assert!(parts[0].starts_with("throttle to 50% of a CPU: verified, cpu.max 50000 100000"), "{parts:?}");
    assert!(parts[1].starts_with("kill: refused (session-leader)"), "{parts:?}");
    assert!(parts[2].starts_with("undo throttle: verified"), "{parts:?}");
    assert!(parts[3].starts_with("diagnosed: /opt/leak.py:12 in scan"), "{parts:?}");
    assert_eq!(scene.ask("SELECT threads FROM high_water"), [["512"]], "the action measured more");
    // One that nothing was said of, by hand.
    let Body::Action(act) = samples_of(Kind::Action).remove(0) else { unreachable!() };
    let process = Process { pid: 9, ..act.process.clone() };
    scene.write(
        Body::Action(crate::record::Act { process, result: ActResult::Failed, ..act.clone() }),
        moment(3 * SECOND),
    );
    let last = scene.ask(ALERTS).pop().unwrap();
    assert_eq!((&*last[0], &*last[3], &*last[4]), ("WARNING", "1", "at-once"));
    // A rule that acts for ever does not fill the row.
    (0..200).for_each(|_| scene.write(Body::Action(act.clone()), moment(4 * SECOND)));
    let longest = scene.ask("SELECT max(length(action_taken)) FROM health_alerts");
    assert!(longest[0][0].parse::<usize>().unwrap() < 2500, "{longest:?}");
}

#[test]
fn a_stray_is_open_until_it_is_moved() {
    let mut scene = Scene::new();
    let Body::Decision(decision) = samples_of(Kind::Decision).remove(0) else { unreachable!() };
    let Body::Outcome(outcome) = samples_of(Kind::Outcome).remove(0) else { unreachable!() };
    scene.write(Body::Decision(decision.clone()), moment(SECOND));
    assert_eq!(scene.ask(ALERTS), [["INFO", "placement", "none: mode observe", "0", "-"]]);
    let process = Process { pid: 5, ..decision.process.clone() };
    scene.write(
        Body::Decision(crate::record::Decision { process: process.clone(), mode: Mode::Enforce, ..decision }),
        moment(2 * SECOND),
    );
    let outcome = Outcome { process, ..outcome };
    let failed = Outcome { result: MoveResult::Failed, error: Some("EBUSY".into()), ..outcome.clone() };
    scene.write(Body::Outcome(failed), moment(3 * SECOND));
    let row = scene.ask(ALERTS).pop().unwrap();
    assert_eq!((&*row[0], &*row[3]), ("WARNING", "0"), "{row:?}");
    scene.write(Body::Outcome(outcome), moment(4 * SECOND));
    let row = scene.ask(ALERTS).pop().unwrap();
    assert_eq!((&*row[3], &*row[4]), ("1", "moved"), "{row:?}");
    assert!(row[2].contains("EBUSY") && row[2].contains("; moved, verified"), "{row:?}");
}

#[test]
fn refused_threads_are_one_row_until_the_process_ends() {
    let mut scene = Scene::new();
    let Body::Refused(refused) = samples_of(Kind::Refused).remove(0) else { unreachable!() };
    for (second, number, cap) in [(1, 1, Some(150)), (2, 500, Some(150)), (3, 777, None)] {
        let refused = crate::record::Refused { refused: number, cap, ..refused.clone() };
        scene.write(Body::Refused(refused), moment(second * SECOND));
    }
    let rows = scene.ask("SELECT message, resolved, resolution FROM health_alerts");
    assert_eq!(rows.len(), 1);
    assert!(rows[0][0].contains("777 threads refused"), "{rows:?}");
    assert_eq!(rows[0][1..], ["1", "ended"]);
}

#[test]
fn losses_and_faults_are_over_at_once() {
    let mut scene = Scene::new();
    scene.write(samples_of(Kind::Loss).remove(0), moment(SECOND));
    scene.write(health(HealthTopic::Degraded, "log x: no space"), moment(SECOND));
    scene.write(health(HealthTopic::Armed, "armed"), moment(SECOND));
    let expected =
        [["WARNING", "stream ring", "-", "1", "at-once"], ["WARNING", "agent", "-", "1", "at-once"]];
    assert_eq!(scene.ask(ALERTS), expected);
}

#[test]
fn an_agent_that_died_is_told_and_its_alerts_are_looked_after() {
    let mut scene = Scene::new();
    scene.write(alert(1, 100, Severity::Warning), moment(SECOND));
    scene.write(alert(2, 500, Severity::Critical), moment(2 * SECOND));
    scene.was_another_process();
    scene.again("boot-1", has_90);
    scene.write(health(HealthTopic::Armed, "armed"), moment(5 * SECOND));
    let runs = scene.ask("SELECT pid, how, ended_boot_ns FROM runs ORDER BY id");
    assert_eq!(runs[0], ["77", "died", "2000000000"]);
    assert_eq!(runs[1][1..], ["-", "-"]);
    let rows = scene.ask(ALERTS);
    assert_eq!(rows[0][3..], ["0", "-"], "90 threads are not below four fifths of 100");
    assert_eq!(rows[1][3..], ["1", "cleared"], "but of 500");
    assert_eq!(rows[2][..2], ["CRITICAL", "agent"]);
    let message = &scene.ask("SELECT message FROM health_alerts WHERE component = 'agent'")[0][0];
    assert!(
        message.contains("pid 77, ended without a word; last heard of at 2027-01-15T08:00:02.000Z"),
        "{message}"
    );
    // It is told of once, and the open one is the new agent's now: its end closes it.
    scene.write(alert(1, 100, Severity::Warning), moment(6 * SECOND));
    assert_eq!(scene.count("health_alerts WHERE pid = 1"), 1, "seen at the start once more");
    scene.write(cleared(1, 100, true), moment(7 * SECOND));
    assert_eq!(scene.ask(ALERTS)[0][3..], ["1", "ended"]);
    assert_eq!(scene.count("health_alerts WHERE component = 'agent'"), 1);
}

#[test]
fn an_agent_that_stopped_is_no_trouble_and_a_boot_closes_all() {
    let mut scene = Scene::new();
    scene.write(alert(1, 100, Severity::Warning), moment(SECOND));
    scene.write(health(HealthTopic::Stopped, "stopped"), moment(2 * SECOND));
    scene.was_another_process();
    scene.again("boot-2", has_90);
    scene.write(health(HealthTopic::Armed, "armed"), moment(SECOND));
    assert_eq!(scene.ask(ALERTS), [["WARNING", "process python3[1]", "-", "1", "reboot"]]);
    assert_eq!(scene.ask("SELECT how FROM runs"), [["stopped"], ["-"]]);
    assert_eq!(scene.ask("SELECT boot_id FROM boots ORDER BY id"), [["boot-1"], ["boot-2"]]);
}

#[test]
fn a_history_that_is_closed_and_opened_again_is_one_run() {
    let mut scene = Scene::new();
    scene.write(health(HealthTopic::Armed, "armed"), moment(SECOND));
    let config = scene.config.clone();
    let old = std::mem::replace(&mut scene.writer, Writer::new(config, "boot-1".to_owned(), nobody));
    old.finish(moment(2 * SECOND));
    assert_eq!(scene.ask("SELECT how, ended_boot_ns FROM runs"), [["closed", "2000000000"]]);
    scene.write(health(HealthTopic::Degraded, "x"), moment(3 * SECOND));
    assert_eq!(scene.ask("SELECT id, how, ended_ns FROM runs"), [["1", "-", "-"]]);
}

#[test]
fn values_are_written_when_they_are_due() {
    let mut scene = Scene::new();
    scene.again("boot-1", has_90);
    scene.write(alert(1, 80, Severity::Notice), moment(SECOND));
    let metric =
        metrics::Metric { component: "agent".into(), name: "resident_memory", value: 7.0, unit: "bytes" };
    scene.writer.sample(&[metric], moment(2 * SECOND));
    let rows = scene.ask("SELECT component, metric, CAST(value AS INTEGER), unit, time FROM health_metrics");
    assert_eq!(rows[0], ["process python3[1]", "threads", "80", "threads", "2027-01-15T08:00:01.000Z"]);
    assert_eq!(rows[1], ["agent", "resident_memory", "7", "bytes", "2027-01-15T08:00:02.000Z"]);
    assert_eq!(
        rows[2][..3],
        ["process python3[1]", "threads", "90"],
        "its alert is open, so it was looked at"
    );
    assert_eq!(scene.ask("SELECT threads FROM high_water"), [["90"]]);
    let mut pace = Pace::default();
    let due: Vec<bool> = [0, 59, 60, 119, 121].map(|second| pace.is_due(moment(second * SECOND))).to_vec();
    assert_eq!(due, [true, false, true, false, true]);
    pace.missed(moment(121 * SECOND));
    assert!(!pace.is_due(moment(121 * SECOND)) && pace.is_due(moment(122 * SECOND)));
}
