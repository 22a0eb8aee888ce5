use std::{
    cell::Cell,
    fs::{self, OpenOptions},
    io::Read as _,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use flate2::read::GzDecoder;
use jiff::ToSpan as _;
use proptest::prelude::*;

use super::*;
use crate::{
    config::Sync,
    record::Record,
    samples,
    sink::listener::{Listener as _, Told},
};

thread_local! {
    static NOW: Cell<Timestamp> = Cell::new("2026-11-22T15:00:00Z".parse().unwrap());
}

fn now() -> Timestamp {
    NOW.get()
}

/// A log in a folder of its own, whose clock stands still until it is moved.
struct Scene {
    folder: tempfile::TempDir,
    config: LogConfig,
    writer: Writer,
}

impl Scene {
    fn new(change: impl FnOnce(&mut LogConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = LogConfig {
            path: folder.path().join("log/it.jsonl"),
            max_size: 1000,
            disk_limit: 10_000,
            compress: false,
            ..LogConfig::default()
        };
        change(&mut config);
        let writer = Writer::new(config.clone(), now);
        Self { folder, config, writer }
    }

    /// As after an agent that died.
    fn again(&mut self) {
        self.writer = Writer::new(self.config.clone(), now);
    }

    fn write(&mut self, line: &str) {
        self.writer.write(&[format!("{line}\n").as_bytes()], false).unwrap();
    }

    fn put(&self, content: &str) {
        fs::create_dir_all(self.config.path.parent().unwrap()).unwrap();
        fs::write(&self.config.path, content).unwrap();
    }

    fn content(&self) -> String {
        fs::read_to_string(&self.config.path).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("log")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join("log").join(name)
    }
}

fn line(number: usize, len: usize) -> String {
    format!("{{\"time\":\"{}\",\"n\":{number},\"x\":\"{}\"}}", now(), "y".repeat(len))
}

#[test]
fn lines_are_appended_and_a_large_file_is_put_aside() {
    let mut scene = Scene::new(|_| {});
    let lines: Vec<String> = (0..25).map(|number| line(number, 50)).collect();
    for line in &lines {
        scene.write(line);
    }
    assert_eq!(scene.names(), ["it.000001.jsonl", "it.000002.jsonl", "it.jsonl"]);
    let mut all = String::new();
    for name in scene.names() {
        let content = fs::read_to_string(scene.at(&name)).unwrap();
        assert!((1..=1000).contains(&content.len()), "{name}: {}", content.len());
        all += &content;
    }
    assert_eq!(all, lines.join("\n") + "\n", "in their order, none twice, none missing");
}

#[test]
fn an_old_file_is_put_aside_and_its_age_survives_the_agent() {
    let mut scene = Scene::new(|config| config.max_age = Duration::from_hours(2));
    scene.write(&line(1, 1));
    NOW.set(now() + 90.minutes());
    scene.again();
    scene.write(&line(2, 1));
    assert_eq!(scene.names(), ["it.jsonl"], "90 minutes are no two hours");
    NOW.set(now() + 31.minutes());
    scene.again();
    scene.write(&line(3, 1));
    assert_eq!(scene.names(), ["it.000001.jsonl", "it.jsonl"]);
    assert!(scene.content().contains("\"n\":3") && !scene.content().contains("\"n\":2"));
}

#[test]
fn a_clock_that_is_set_back_or_forward_loses_nothing() {
    let mut scene = Scene::new(|config| config.max_age = Duration::from_hours(2));
    scene.write(&line(1, 1));
    NOW.set(now() + 24.hours());
    scene.write(&line(2, 1));
    NOW.set(now() - 24.hours());
    scene.write(&line(3, 1));
    assert_eq!(scene.names(), ["it.000001.jsonl", "it.jsonl"]);
    // The file begins in a day by its own word; from now on it is two hours, and not 26.
    NOW.set(now() + 119.minutes());
    scene.write(&line(4, 1));
    NOW.set(now() + 2.minutes());
    scene.write(&line(5, 1));
    assert_eq!(scene.names(), ["it.000001.jsonl", "it.000002.jsonl", "it.jsonl"]);
}

#[test]
fn files_put_aside_are_compressed_and_read_the_same() {
    let mut scene = Scene::new(|config| config.compress = true);
    let lines: Vec<String> = (0..25).map(|number| line(number, 50)).collect();
    for line in &lines {
        scene.write(line);
        scene.writer.wait_for_compression();
    }
    assert_eq!(scene.names(), ["it.000001.jsonl.gz", "it.000002.jsonl.gz", "it.jsonl"]);
    let mut all = String::new();
    for name in ["it.000001.jsonl.gz", "it.000002.jsonl.gz"] {
        let packed = fs::File::open(scene.at(name)).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&packed.metadata().unwrap()) & 0o777, 0o640);
        GzDecoder::new(packed).read_to_string(&mut all).unwrap();
    }
    assert_eq!(all + &scene.content(), lines.join("\n") + "\n");
}

#[test]
fn what_a_dead_agent_left_half_compressed_is_done_again() {
    let mut scene = Scene::new(|config| config.compress = true);
    scene.put("");
    fs::write(scene.at("it.000001.jsonl"), "one\n").unwrap();
    fs::write(scene.at("it.000001.jsonl.gz.tmp"), "hal").unwrap();
    fs::write(scene.at("it.000002.jsonl"), "two\n").unwrap();
    fs::write(scene.at("it.000002.jsonl.gz"), "whole").unwrap();
    fs::write(scene.at("it.000003.jsonl.old"), "not ours").unwrap();
    fs::write(scene.at("it.1.jsonl"), "nor is this").unwrap();
    scene.write("three");
    scene.writer.wait_for_compression();
    assert_eq!(
        scene.names(),
        ["it.000001.jsonl.gz", "it.000002.jsonl.gz", "it.000003.jsonl.old", "it.1.jsonl", "it.jsonl"]
    );
    assert_eq!(fs::read(scene.at("it.000002.jsonl.gz")).unwrap(), b"whole", "that was done already");
    let mut one = String::new();
    GzDecoder::new(fs::File::open(scene.at("it.000001.jsonl.gz")).unwrap()).read_to_string(&mut one).unwrap();
    assert_eq!(one, "one\n");
}

#[test]
fn all_files_together_keep_to_the_limit_and_the_oldest_go() {
    let mut scene = Scene::new(|config| config.disk_limit = 4000);
    for number in 0..100 {
        scene.write(&line(number, 50));
        let sizes = scene.names().into_iter().map(|name| fs::metadata(scene.at(&name)).unwrap().len());
        assert!(sizes.sum::<u64>() <= 4000, "{number}: {:?}", scene.names());
    }
    let names = scene.names();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(names[0], "it.000007.jsonl");
    assert!(scene.content().contains("\"n\":99"));
}

#[test]
fn a_line_that_a_crash_left_unfinished_is_cut_or_completed() {
    for (before, after, note) in [
        ("{\"a\":1}\n{\"b\":", "{\"a\":1}\n", Some("an unfinished line of 5 bytes was cut off at the end")),
        ("{\"a\":1}\n{\"b\":2}", "{\"a\":1}\n{\"b\":2}\n", Some("the last line was completed")),
        ("{\"a\":", "", Some("an unfinished line of 5 bytes was cut off at the end")),
        (
            "{\"a\":1}\n\u{0}\u{0}\u{0}",
            "{\"a\":1}\n",
            Some("an unfinished line of 3 bytes was cut off at the end"),
        ),
        ("{\"a\":1}\n", "{\"a\":1}\n", None),
        ("", "", None),
    ] {
        let mut scene = Scene::new(|_| {});
        scene.put(before);
        scene.write("{}");
        assert_eq!(scene.content(), format!("{after}{{}}\n"), "{before:?}");
        assert_eq!(scene.writer.notes(), note.into_iter().collect::<Vec<_>>());
        assert!(scene.writer.notes().is_empty(), "once");
    }
}

#[test]
fn a_file_without_any_line_is_not_emptied() {
    let mut scene = Scene::new(|config| (config.max_size, config.disk_limit) = (8 << 20, 32 << 20));
    scene.put(&"x".repeat(5 << 20));
    scene.write("{}");
    assert!(scene.content().ends_with("xx\n{}\n"));
}

#[test]
fn nothing_is_taken_from_a_file_of_somebody_elses() {
    let mut scene = Scene::new(|_| {});
    scene.put("SQLite format 3\0\n{\0\0");
    scene.write("{}");
    assert_eq!(scene.content(), "SQLite format 3\0\n{\0\0\n{}\n");
}

#[test]
fn a_file_that_somebody_else_puts_aside_or_deletes_is_begun_anew() {
    let mut scene = Scene::new(|_| {});
    scene.write("one");
    fs::rename(&scene.config.path, scene.at("it.jsonl.1")).unwrap();
    scene.write("two");
    assert_eq!(
        (&*scene.content(), &*fs::read_to_string(scene.at("it.jsonl.1")).unwrap()),
        ("two\n", "one\n")
    );
    fs::remove_file(&scene.config.path).unwrap();
    scene.write("three");
    assert_eq!(scene.content(), "three\n");
    // copytruncate of logrotate.
    OpenOptions::new().write(true).truncate(true).open(&scene.config.path).unwrap();
    scene.write("four");
    assert_eq!(scene.content(), "four\n");
    // The whole folder.
    fs::remove_dir_all(scene.config.path.parent().unwrap()).unwrap();
    scene.write("five");
    assert_eq!(scene.content(), "five\n");
}

#[test]
fn a_name_without_extension_is_as_good() {
    let mut scene = Scene::new(|config| {
        config.path.set_extension("");
        config.max_size = 10;
    });
    for line in ["one-one", "two-two", "three"] {
        scene.write(line);
    }
    assert_eq!(scene.names(), ["it", "it.000001", "it.000002"]);
}

#[test]
fn a_file_that_may_not_be_written_costs_lines_and_no_more() {
    let mut scene = Scene::new(|_| {});
    fs::create_dir_all(&scene.config.path).unwrap();
    let failure = scene.writer.write(&[b"one\n", b"two\n"], false).unwrap_err();
    assert_eq!(failure.dropped, 2);
    fs::remove_dir(&scene.config.path).unwrap();
    scene.write("three");
    assert_eq!(scene.content(), "three\n");
}

fn told(number: u64) -> Arc<Told> {
    let mut record: Record = samples::all().remove(7);
    record.boot_ns = number;
    Told::new(record).unwrap()
}

#[test]
fn the_listener_writes_what_is_wanted_and_finishes() {
    let folder = tempfile::tempdir().unwrap();
    for sync in [Sync::Never, Sync::Always, Sync::Alert] {
        let path = folder.path().join(format!("{sync:?}.jsonl"));
        let config = LogConfig { path: path.clone(), sync, ..LogConfig::default() };
        let (complaints, mut complained) = Complaints::channel();
        let mut log = Box::new(open(&config, &complaints).unwrap());
        assert_eq!((log.name(), log.stream_kinds()), ("log", 0));
        let mut expected = Vec::new();
        for number in 0..500 {
            let told = told(number);
            log.on(&told);
            expected.extend_from_slice(&told.line);
            log.on(&Told::new(samples::all().remove(2)).unwrap());
        }
        let counts = log.status();
        assert_eq!((counts.dropped, counts.failed), (0, 0));
        log.finish();
        assert_eq!(fs::read(&path).unwrap(), expected, "alerts, and no exec");
        assert!(complained.try_recv().is_err());
    }
}

#[test]
fn what_cannot_be_opened_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (complaints, _complained) = Complaints::channel();
    let open = |path: PathBuf| open(&LogConfig { path, ..LogConfig::default() }, &complaints);
    assert!(open(folder.path().to_owned()).is_err(), "a folder");
    assert!(open(folder.path().join("no/such/folder")).is_err());
    assert!(open("/dev/full".into()).is_err(), "a device");
}

proptest! {
    /// Whatever an end looks like, the next lines are whole, and what was whole before stays.
    #[test]
    fn any_end_is_mended(whole in 0_usize..4, rest in "[\\PC\u{0}]{0,40}") {
        let mut scene = Scene::new(|config| (config.max_size, config.disk_limit) = (1 << 20, 4 << 20));
        let lines = "{\"n\":1}\n".repeat(whole);
        scene.put(&format!("{lines}{rest}"));
        scene.write("{\"new\":1}");
        let content = scene.content();
        prop_assert!(content.starts_with(&lines));
        prop_assert_eq!(content.lines().last(), Some("{\"new\":1}"));
        prop_assert!(content.ends_with('\n'));
    }
}
