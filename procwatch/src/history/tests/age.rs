//! What is old, or too much; and clocks that are set.

use super::*;

#[test]
fn what_is_old_goes_by_the_kernels_clock() {
    let mut scene = Scene::with(|config| config.keep = Duration::from_hours(2));
    scene.write(alert(1, 80, Severity::Notice), moment(SECOND));
    scene.write(alert(2, 80, Severity::Notice), moment(2 * SECOND));
    scene.write(cleared(2, 80, true), moment(HOUR));
    // A clock that jumps ahead by a day, and back by one, makes nothing older.
    for day in [24, -24] {
        scene.write(
            health(HealthTopic::Degraded, "x"),
            ahead(moment(HOUR + 90 * SECOND), SignedDuration::from_hours(day)),
        );
    }
    assert_eq!(scene.count("records"), 5);
    scene.write(health(HealthTopic::Degraded, "y"), moment(2 * HOUR + 3 * SECOND));
    assert_eq!(
        scene.ask("SELECT kind FROM records ORDER BY id"),
        [["cleared"], ["health"], ["health"], ["health"]]
    );
    assert_eq!(
        scene.ask("SELECT pid FROM health_alerts WHERE pid IS NOT NULL"),
        [["1"]],
        "that of 1 is open still"
    );
}

#[test]
fn a_jump_of_the_clock_deletes_nothing_of_earlier_boots() {
    let mut scene = Scene::with(|config| config.keep = Duration::from_hours(2));
    scene.write(alert(1, 80, Severity::Notice), moment(HOUR));
    scene.was_another_process();
    scene.again("boot-2", nobody);
    // The next boot begins half an hour later, with a clock that is a day ahead for its first minutes.
    let now = |boot_ns| ahead(moment(boot_ns), SignedDuration::from_mins(90));
    let wrong = |boot_ns| ahead(now(boot_ns), SignedDuration::from_hours(24));
    for minutes in [1, 3, 5] {
        scene.write(health(HealthTopic::Degraded, "x"), wrong(minutes * 60 * SECOND));
    }
    assert_eq!(scene.count("records WHERE boot = 1"), 1);
    scene.write(health(HealthTopic::Degraded, "x"), now(7 * 60 * SECOND));
    scene.write(health(HealthTopic::Degraded, "x"), now(80 * 60 * SECOND));
    assert_eq!(scene.count("records WHERE boot = 1"), 1, "110 minutes old");
    scene.write(health(HealthTopic::Degraded, "x"), now(100 * 60 * SECOND));
    assert_eq!(scene.count("records WHERE boot = 1"), 0, "130 minutes old");
    assert_eq!(scene.ask("SELECT boot_id FROM boots"), [["boot-2"]], "nothing is left of it");
}

#[test]
fn order_and_borders_survive_a_clock_that_is_set_back() {
    let mut scene = Scene::new();
    scene.write(alert(1, 80, Severity::Notice), moment(SECOND));
    scene.write(alert(2, 80, Severity::Notice), ahead(moment(2 * SECOND), SignedDuration::from_hours(-24)));
    scene.write(alert(3, 80, Severity::Notice), ahead(moment(3 * SECOND), SignedDuration::from_hours(24)));
    scene.write(alert(4, 80, Severity::Notice), moment(4 * SECOND));
    let pids = |query: &Query| {
        let lines = scene.read(query, "boot-1", moment(5 * SECOND)).0;
        let pid =
            |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap()["pid"].as_u64().unwrap();
        lines.iter().map(pid).collect::<Vec<_>>()
    };
    assert_eq!(pids(&Query::default()), [1, 2, 3, 4]);
    assert_eq!(
        pids(&Query { since: Some(Border::Ago(Duration::from_secs(3))), ..Query::default() }),
        [2, 3, 4]
    );
}

#[test]
fn the_oldest_goes_when_it_is_too_much() {
    let mut scene = Scene::with(|config| config.max_size = 512 << 10);
    let mut largest = 0;
    for second in 0..40 {
        let bodies = (0..100).map(|pid| alert(100 * second as u32 + pid, 80, Severity::Notice)).collect();
        scene.try_write(bodies, moment(second * SECOND)).unwrap();
        scene.sql("PRAGMA wal_checkpoint(TRUNCATE)");
        largest = largest.max(fs::metadata(scene.path()).unwrap().len());
    }
    assert!(largest <= 640 << 10, "{largest}");
    let kept = scene.count("records");
    assert!((100..1000).contains(&kept), "{kept}");
    let rows = scene.ask("SELECT min(boot_ns), max(boot_ns) FROM records");
    assert!(rows[0][0].parse::<u64>().unwrap() > 20 * SECOND, "the oldest went: {rows:?}");
    assert_eq!(rows[0][1], (39 * SECOND).to_string());
    let rows = scene.ask("SELECT min(boot_ns) FROM high_water");
    assert!(rows[0][0].parse::<u64>().unwrap() > 20 * SECOND, "with what they are about: {rows:?}");
    assert_eq!(scene.ask("PRAGMA integrity_check"), [["ok"]]);
}
