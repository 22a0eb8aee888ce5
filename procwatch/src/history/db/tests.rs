use super::*;

fn connection(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

#[test]
fn an_earlier_form_is_brought_to_the_present_one_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("h.db");
    let mut early = connection(&path);
    let steps = [
        "CREATE TABLE a (x); INSERT INTO a VALUES (7)",
        "ALTER TABLE a ADD COLUMN y DEFAULT 8",
        "CREATE TABLE b (z)",
    ];
    migrate(&mut early, &steps[..1]).unwrap();
    assert_eq!(header(&early).unwrap(), (APPLICATION_ID, 1, 1));
    migrate(&mut early, &steps).unwrap();
    assert_eq!(header(&early).unwrap(), (APPLICATION_ID, 3, 2));
    let row: (i64, i64) =
        early.query_row("SELECT x, y FROM a", (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(row, (7, 8));
    // Once more does nothing.
    migrate(&mut early, &steps).unwrap();
    assert_eq!(header(&early).unwrap(), (APPLICATION_ID, 3, 2));
}

#[test]
fn a_step_that_fails_changes_nothing() {
    let mut early = Connection::open_in_memory().unwrap();
    migrate(&mut early, &["CREATE TABLE a (x)"]).unwrap();
    assert!(migrate(&mut early, &["", "CREATE TABLE b (x)", "CREATE TABLE a (x)"]).is_err());
    assert_eq!(header(&early).unwrap(), (APPLICATION_ID, 1, 1));
}

#[test]
fn a_link_is_refused_and_its_target_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("target"), folder.path().join("link.db"));
    fs::write(&target, "keep").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert!(open(&link).is_err() && open_to_read(&link).is_err());
    assert_eq!(fs::read(&target).unwrap(), b"keep");
    // A link on the way to it is the administrator's own.
    std::os::unix::fs::symlink(folder.path(), folder.path().join("way")).unwrap();
    open(&folder.path().join("way/new.db")).unwrap();
    open_to_read(&folder.path().join("new.db")).unwrap();
}

#[test]
fn a_second_one_has_a_name_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("h.db");
    let now = "2026-11-25T03:46:00Z".parse().unwrap();
    let mut names = Vec::new();
    for content in ["one", "two", "three"] {
        fs::write(&path, content).unwrap();
        fs::write(folder.path().join("h.db-wal"), content).unwrap();
        let to = set_aside(&path, "foreign", now).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), content);
        assert_eq!(fs::read_to_string(with_suffix(&to, "-wal")).unwrap(), content);
        names.push(to.file_name().unwrap().to_string_lossy().into_owned());
    }
    assert_eq!(
        names,
        [
            "h.db.foreign-20261125T034600Z",
            "h.db.foreign-20261125T034600Z-2",
            "h.db.foreign-20261125T034600Z-3"
        ]
    );
}

#[test]
fn one_who_may_only_read_the_file_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b?#%.db");
    drop(open(&path).unwrap());
    // The files that go with it stay.
    assert!(with_suffix(&path, "-wal").exists() && with_suffix(&path, "-shm").exists());
    open_to_read(&path).unwrap();
    // An SQL shell may have taken them away.
    drop(connection(&path));
    let uri = immutable(&path);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let sealed = Connection::open_with_flags(uri, flags).unwrap();
    assert_eq!(header(&sealed).unwrap().0, APPLICATION_ID);
}
