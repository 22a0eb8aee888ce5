//! Files that are none, that go bad, and texts that mean harm.

use std::os::unix::fs::FileExt as _;

use super::*;

/// Makes a file that is no history, with what runs SQL there.
type Make = fn(&Scene, &dyn Fn(&Scene, &str));

#[test]
fn a_file_that_is_no_history_is_set_aside() {
    let foreign = |scene: &Scene, sql: &str| {
        fs::create_dir_all(scene.path().parent().unwrap()).unwrap();
        scene.sql(sql);
    };
    let cases: [(&str, Make, &str); 5] = [
        (
            "corrupt",
            |scene, _| scene.put(&[b"no database at all ".as_slice(); 300].concat()),
            "not a database",
        ),
        ("foreign", |scene, foreign| foreign(scene, "CREATE TABLE mine (x)"), "some other program"),
        (
            "foreign",
            |scene, foreign| foreign(scene, "PRAGMA application_id = 7; CREATE TABLE a (x)"),
            "some other program",
        ),
        (
            "later",
            |scene, foreign| {
                foreign(
                    scene,
                    "PRAGMA application_id = 0x70776864; PRAGMA user_version = 99; CREATE TABLE a (x)",
                );
            },
            "a later procwatch wrote it (form 99",
        ),
        ("corrupt", |scene, _| scene.put(&[b"SQLite format 3\0".as_slice(), &[0xa5; 8000]].concat()), ""),
    ];
    for (what, make, why) in cases {
        let mut scene = Scene::new();
        make(&scene, &foreign);
        let before = fs::read(scene.path()).unwrap();
        scene.write(alert(1, 80, Severity::Notice), moment(SECOND));
        let aside = scene.set_aside();
        assert_eq!(aside.len(), 1, "{what} {why}: {aside:?}");
        let name = aside[0].file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(name, format!("history.db.{what}-20270115T080001Z"));
        assert_eq!(fs::read(&aside[0]).unwrap(), before, "nothing of it was changed");
        let notes = scene.writer.notes();
        assert!(notes.len() == 1 && notes[0].contains(why) && notes[0].contains(&name), "{notes:?}");
        assert_eq!(scene.count("records"), 1);
    }
}

#[test]
fn a_header_that_forbids_to_write_is_damage() {
    let mut scene = Scene::new();
    let mut bytes = good().to_vec();
    // The version that a writer must know.
    bytes[18] = 9;
    scene.put(&bytes);
    scene.write(alert(1, 80, Severity::Notice), moment(0));
    assert_eq!(scene.count("records"), 1);
    assert!(!scene.set_aside().is_empty(), "it is kept");
}

#[test]
fn a_file_that_goes_bad_while_it_is_written_is_set_aside() {
    let mut scene = Scene::new();
    let bodies = |count| (0..count).map(|pid| alert(pid, 80, Severity::Notice)).collect::<Vec<_>>();
    scene.try_write(bodies(300), moment(SECOND)).unwrap();
    scene.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    // All but the first page is noise.
    let mut bytes = fs::read(scene.path()).unwrap();
    bytes[4096..].fill(0xa5);
    let file = fs::OpenOptions::new().write(true).open(scene.path()).unwrap();
    file.write_all_at(&bytes[4096..], 4096).unwrap();
    drop(file);
    scene.writer = Writer::new(scene.config.clone(), "boot-1".to_owned(), nobody);
    scene.try_write(bodies(3), moment(2 * SECOND)).unwrap();
    assert_eq!(scene.count("records"), 3, "the batch is in the new file, once");
    let notes = scene.writer.notes();
    assert!(notes.len() == 1 && notes[0].contains("history.db.corrupt-20270115T080002Z"), "{notes:?}");
    // A disk that goes on like that does not fill up with it.
    for second in 3..12 {
        scene.writer = Writer::new(scene.config.clone(), "boot-1".to_owned(), nobody);
        scene.put(b"bad");
        scene.write(alert(1, 80, Severity::Notice), moment(second * SECOND));
    }
    let mut corrupt = scene.set_aside();
    corrupt.retain(|path| path.extension().is_some_and(|it| it.to_string_lossy().ends_with('Z')));
    assert_eq!(corrupt.len(), 4, "{corrupt:?}");
}

#[test]
fn a_file_that_is_taken_away_is_made_again() {
    let mut scene = Scene::new();
    scene.write(alert(1, 80, Severity::Notice), moment(SECOND));
    fs::remove_dir_all(scene.path().parent().unwrap()).unwrap();
    scene.write(alert(2, 80, Severity::Notice), moment(2 * SECOND));
    assert_eq!(scene.ask("SELECT pid FROM records"), [["2"]]);
}

#[test]
fn a_file_that_cannot_be_written_costs_the_batch_and_no_more() {
    let mut scene = Scene::new();
    fs::create_dir_all(scene.path()).unwrap();
    let error = scene.try_write(vec![alert(1, 80, Severity::Notice)], moment(SECOND)).unwrap_err();
    assert!(matches!(error, OpenError::Io(_)), "{error}");
    fs::remove_dir(scene.path()).unwrap();
    scene.write(alert(2, 80, Severity::Notice), moment(2 * SECOND));
    assert_eq!(scene.ask("SELECT pid FROM records"), [["2"]]);
}

#[test]
fn hostile_text_is_text_in_every_column() {
    let mut scene = Scene::new();
    let evil = "'); DROP TABLE records; --\u{1b}[2J<script>\u{202e}\0\n";
    let body = |pid| {
        let Body::Alert(mut alert) = alert(pid, 80, Severity::Notice) else { unreachable!() };
        alert.process.comm = samples::comm("x'\u{1b}[2J\n<b>&");
        alert.process.user = Some(evil.into());
        alert.process.cgroup = Some(evil.into());
        alert.exe = Some(evil.into());
        alert.rule = evil.to_owned();
        alert.command.argv = Some(vec![evil.into()]);
        Body::Alert(alert)
    };
    let Body::Diagnosis(found) = samples_of(Kind::Diagnosis).remove(0) else { unreachable!() };
    let diagnosed = Diagnosed { headline: evil.to_owned(), ..*found };
    let bodies = vec![body(4242), Body::Diagnosis(Box::new(diagnosed)), health(HealthTopic::Degraded, evil)];
    scene.try_write(bodies, moment(SECOND)).unwrap();
    assert_eq!(scene.count("records"), 3);
    for table in ["records", "health_alerts", "health_metrics", "high_water"] {
        for row in scene.ask(&format!("SELECT * FROM {table}")) {
            for column in row {
                assert!(!column.chars().any(char::is_control), "{table}: {column:?}");
            }
        }
    }
    let (lines, account) = scene.read(&Query::default(), "boot-1", moment(2 * SECOND));
    assert_eq!((lines.len(), account.damaged), (3, 0));
}

#[test]
fn a_row_that_is_no_record_is_passed_over() {
    let mut scene = Scene::new();
    scene.write(alert(1, 80, Severity::Notice), moment(SECOND));
    scene.write(alert(2, 80, Severity::Notice), moment(2 * SECOND));
    for line in ["'{\"kind\":\"alert\"'", "x'00ff'", "17", "'{\"kind\":\"spoon\"}'"] {
        scene.sql(&format!("UPDATE records SET line = {line} WHERE id = 1"));
        let (lines, account) = scene.read(&Query::default(), "boot-1", moment(3 * SECOND));
        assert_eq!((lines.len(), account), (1, Account { records: 1, damaged: 1 }), "{line}");
    }
}

#[test]
fn what_is_no_history_is_not_read() {
    let scene = Scene::new();
    let why = |path: &Path| read(path, &Query::default(), "b", moment(0)).unwrap_err().to_string();
    assert!(why(scene.path()).contains("there is no history yet"), "{}", why(scene.path()));
    scene.put(b"");
    assert!(why(scene.path()).contains("there is no history yet"), "one that is just made");
    Connection::open(scene.path()).unwrap().pragma_update(None, "journal_mode", "WAL").unwrap();
    assert!(fs::metadata(scene.path()).unwrap().len() > 0);
    assert!(why(scene.path()).contains("there is no history yet"), "the same a moment later");
    scene.put(b"hello, this is no database");
    assert!(why(scene.path()).contains("not a database"), "{}", why(scene.path()));
    let foreign = scene.path().with_file_name("f.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE a (x)").unwrap();
    assert!(why(&foreign).contains("is no history of procwatch"), "{}", why(&foreign));
    assert!(
        why(scene.path().parent().unwrap()).contains("history")
            || why(scene.path().parent().unwrap()).contains("lib")
    );
}

/// A good history of a few kilobytes.
fn good() -> &'static [u8] {
    static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BYTES.get_or_init(|| {
        let mut scene = Scene::new();
        for second in 0..30 {
            scene.write(alert(1, 80, Severity::Notice), moment(second * SECOND));
        }
        let config = scene.config.clone();
        std::mem::replace(&mut scene.writer, Writer::new(config, String::new(), nobody)).finish(moment(HOUR));
        fs::read(scene.path()).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is damaged, reading ends with records or an error, and so does writing: with a new file if need be.
    #[test]
    fn damage_is_survived(
        at in proptest::collection::vec((0..60_000_usize, any::<u8>()), 1..40),
        cut in proptest::option::of(0..60_000_usize),
    ) {
        let mut bytes = good().to_vec();
        for (at, byte) in at {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut % bytes.len());
        }
        let mut scene = Scene::new();
        scene.put(&bytes);
        if let Ok((lines, account)) = read(scene.path(), &Query::default(), "boot-1", moment(HOUR)) {
            prop_assert_eq!(lines.len() as u64, account.records);
        }
        let written = scene.try_write(vec![alert(2, 100, Severity::Warning)], moment(2 * HOUR));
        prop_assert!(written.is_ok(), "{:?}", written);
    }
}
