use std::{fs, time::Duration};

use jiff::tz::TimeZone;

use super::*;
use crate::{
    history::tests::{HOUR, SECOND, Scene, alert, cleared, health, moment, samples_of},
    record::{Alert, Body, Bound, Diagnosed, Growth, HealthTopic, Kind, Process},
    samples,
};

fn gather(scene: &Scene, since: Border) -> Report {
    let reader = Reader::open_at(scene.path(), moment(10 * HOUR), "boot-1").unwrap();
    gather::gather(&reader, since, None).unwrap()
}

/// A day with something of everything; the agent dies in it once.
fn eventful() -> Scene {
    let mut scene = Scene::new();
    scene.write(alert(9, 80, Severity::Notice), moment(SECOND));
    scene.was_another_process();
    scene.again("boot-1", |_| None);
    scene.write(health(HealthTopic::Armed, "armed"), moment(HOUR));
    for (second, pid, level, severity) in [
        (1, 1, 80, Severity::Notice),
        (2, 1, 100, Severity::Warning),
        (3, 2, 80, Severity::Notice),
        (4, 1, 500, Severity::Critical),
    ] {
        scene.write(alert(pid, level, severity), moment(HOUR + second * SECOND));
    }
    scene.write(cleared(1, 500, false), moment(HOUR + 64 * SECOND));
    scene.write(cleared(2, 80, true), moment(HOUR + 5 * SECOND));
    let Body::Alert(burst) = alert(3, 90, Severity::Warning) else { unreachable!() };
    let growth = Growth::new(10, 0, 90, SECOND / 2, None);
    scene.write(Body::Alert(Alert { bound: Bound::Burst, growth: Some(growth), ..burst }), moment(2 * HOUR));
    for kind in [Kind::Decision, Kind::Outcome, Kind::Hold, Kind::Action, Kind::Diagnosis, Kind::Loss] {
        for body in samples_of(kind) {
            scene.write(body, moment(3 * HOUR));
        }
    }
    scene.write(health(HealthTopic::Degraded, "log x: no space"), moment(4 * HOUR));
    scene.write(health(HealthTopic::Degraded, "log x: no space"), moment(5 * HOUR));
    scene
}

#[test]
fn a_day_is_told_in_words() {
    let report = gather(&eventful(), Border::Ago(Duration::from_hours(10)));
    let mut out = Vec::new();
    text::write(&report, &TimeZone::UTC, false, &mut out).unwrap();
    let told = String::from_utf8(out).unwrap();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let expected = format!(
        "\
procwatch report: {}, 2027-01-15 08:00:00 to 2027-01-15 18:00:00 (10h00m)
agent     2 starts; ended without a word 1 time; 19 records
  BEGAN                PID  VERSION  END
  2027-01-15 08:00:01   77  0.1.0    died, heard of last 2027-01-15 08:00:01
  2027-01-15 09:00:00  {pid}  0.1.0    runs
alerts    6: 1 critical, 2 warning, 3 notice; 3 not over
  PROGRAM  USER   PROCESSES  NOTICE  WARNING  CRITICAL  EMERGENCY  MOST  LONGEST
  python3  alice          4       3        2         1          0   500  1m00s
extremes  longest alert 1m00s (python3[1], warning level 500); fastest growth 80 threads in 500ms (python3[3]); \
slowest alert told after 85.0µs
threads   512 threads at most, python3[4242] of alice
",
        host.trim_end(),
        pid = format_args!("{:>3}", std::process::id()),
    );
    let seen: String = told.split_inclusive('\n').take(expected.lines().count()).collect();
    assert_eq!(squeezed(&seen), squeezed(&expected));
    let rest = &told[seen.len()..];
    for line in [
        "  512 python3[4242] alice 2027-01-15 11:00:00",
        "causes 1 place in code that makes threads",
        "  1 /opt/leak.py:12 in scan: Thread(target=scan).start() (counted, 98 %)",
        "actions 3 actions",
        "  throttle verified 1",
        "  kill refused (session-leader) 1",
        "  undo throttle verified 1",
        "placed 1 moved, 0 failed, 1 would have been in mode enforce",
        "held 1 inside; p50",
        "lost 120 of the stream ring",
        "faults 2 complaints",
        "  2 2027-01-15 13:00:00 degraded: log x: no space",
    ] {
        let line = line.replace("degraded: ", "");
        assert!(squeezed(rest).contains(&squeezed(&line)), "{line}\n{rest}");
    }
    assert!(told.lines().all(|line| line == line.trim_end()));
}

/// Without the number of spaces, which depends on how long a pid is.
fn squeezed(text: &str) -> String {
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n")
        .collect::<String>()
        .trim_end()
        .to_owned()
}

#[test]
fn a_quiet_hour_is_told_too() {
    let report = gather(&eventful(), Border::Ago(Duration::from_hours(1)));
    let mut out = Vec::new();
    text::write(&report, &TimeZone::UTC, false, &mut out).unwrap();
    let told = String::from_utf8(out).unwrap();
    for line in [
        "1 start; 0 records",
        "alerts    none",
        "threads   none told of",
        "placed    nobody",
        "lost      nothing",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    let page = html::page(&report, &TimeZone::UTC);
    assert!(!page.contains("<svg"), "nothing to plot");
}

#[test]
fn the_page_has_plots_and_nothing_from_elsewhere() {
    let report = gather(&eventful(), Border::Ago(Duration::from_hours(10)));
    let page = html::page(&report, &TimeZone::UTC);
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    for part in [
        "alerts over time",
        "most threads",
        "threads, as told and seen",
        "died, heard of last",
        "<td>python3</td>",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for foreign in ["http://", "https://", "<script", "<link", "src=", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("default-src 'none'"));
    assert_balanced(&page);
}

/// Each element that is opened is closed in its turn.
fn assert_balanced(page: &str) {
    let mut open = Vec::new();
    for tag in page.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap();
        let name = tag.split_whitespace().next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else if !tag.ends_with('/') && !["!DOCTYPE", "meta"].contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, [""; 0]);
}

#[test]
fn hostile_text_stays_text() {
    const EVIL: &str = "\"><script>alert('x')</script>&\u{1b}[2J\u{202e}";
    let mut scene = Scene::new();
    let Body::Alert(mut evil) = alert(1, 100, Severity::Warning) else { unreachable!() };
    evil.process.comm = samples::comm("<b>\"'&\u{1b}[2J");
    evil.process.user = Some(EVIL.into());
    let process: Process = evil.process.clone();
    scene.write(Body::Alert(evil.clone()), moment(HOUR));
    scene.write(Body::Alert(evil), moment(2 * HOUR));
    let Body::Diagnosis(found) = samples_of(Kind::Diagnosis).remove(0) else { unreachable!() };
    scene.write(
        Body::Diagnosis(Box::new(Diagnosed { headline: EVIL.to_owned(), process, ..*found })),
        moment(2 * HOUR),
    );
    scene.write(health(HealthTopic::Degraded, EVIL), moment(3 * HOUR));
    let Body::Decision(decision) = samples_of(Kind::Decision).remove(0) else { unreachable!() };
    scene.write(
        Body::Decision(crate::record::Decision { target: EVIL.to_owned(), ..decision }),
        moment(3 * HOUR),
    );
    // As somebody would who may write to the file.
    scene.sql("UPDATE high_water SET comm = '<svg onload=x>', user = '<i>\u{1b}'; UPDATE runs SET version = '<u>\u{1b}'");
    let report = gather(&scene, Border::Ago(Duration::from_hours(10)));
    let page = html::page(&report, &TimeZone::UTC);
    assert_balanced(&page);
    assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains("<svg onload"), "{page}");
    assert!(!page.contains("<i>") && !page.contains("<u>"));
    let mut out = Vec::new();
    text::write(&report, &TimeZone::UTC, true, &mut out).unwrap();
    for text in [page, String::from_utf8(out).unwrap()] {
        assert!(text.chars().all(|c| !c.is_control() || c == '\n') && !text.contains('\u{202e}'), "{text:?}");
    }
}

#[test]
fn a_page_is_written_whole_or_not_at_all() {
    let report = gather(&eventful(), Border::Ago(Duration::from_hours(10)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.html");
    fs::write(&path, "old").unwrap();
    html::write(&report, &TimeZone::UTC, &path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), html::page(&report, &TimeZone::UTC));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    assert!(html::write(&report, &TimeZone::UTC, &folder.path().join("no/such.html")).is_err());
}
