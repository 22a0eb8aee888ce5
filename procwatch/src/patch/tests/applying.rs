//! Files as they are found and left.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        process::CommandExt as _,
    },
};

use super::*;
use crate::patch::scene::Python;

const SOURCE: &str = "\
import psutil

def scan(wanted):
    for proc in psutil.process_iter():
        if proc.pid in wanted:
            print(proc.name())
";

fn request(python: &Python, file: &Path) -> Request {
    let finding = Finding { file: file.to_owned(), ..finding("psutil-process-iter", 4, "scan") };
    Request { process: python.key(), finding }
}

fn proposed(python: &Python) -> Proposal {
    propose(&request(python, &python.file())).unwrap()
}

fn at(second: &str) -> Timestamp {
    format!("2026-11-25T01:02:{second}Z").parse().unwrap()
}

/// Names, contents, owners and modes of all that is in a folder.
fn picture(folder: &Path) -> BTreeMap<String, (Vec<u8>, u32, u32, u32)> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let (name, data) = (entry.file_name().into_string().unwrap(), entry.metadata().unwrap());
            let content = fs::read(entry.path()).unwrap_or_default();
            (name, (content, data.mode(), data.uid(), data.gid()))
        })
        .collect()
}

#[test]
fn what_is_proposed_is_shown_and_changes_nothing() {
    let python = Python::sleeping(SOURCE);
    let before = picture(python.folder());
    let proposal = proposed(&python);
    assert_eq!(proposal.before, SOURCE.as_bytes());
    let name = python.file().canonicalize().unwrap();
    let wanted = format!(
        "--- {name}\n+++ {name}\n\
@@ -1,6 +1,10 @@
 import psutil
 
 def scan(wanted):
-    for proc in psutil.process_iter():
-        if proc.pid in wanted:
+    for pid in psutil.pids():
+        if pid in wanted:
+            try:
+                proc = psutil.Process(pid)
+            except psutil.NoSuchProcess:
+                continue
             print(proc.name())
",
        name = name.display()
    );
    assert_eq!(proposal.diff(), wanted);
    assert_eq!(proposal.shown(), wanted);
    assert_eq!(picture(python.folder()), before);
}

#[test]
fn applying_keeps_a_backup_the_mode_and_the_times() {
    let python = Python::prepared(SOURCE, |file, _| {
        fs::set_permissions(file, fs::Permissions::from_mode(0o751)).unwrap();
    });
    let old = fs::metadata(python.file()).unwrap();
    let proposal = proposed(&python);
    let applied = apply_at(&proposal, at("03")).unwrap();
    assert_eq!(applied.file, python.file().canonicalize().unwrap());
    assert!(applied.backup.ends_with("leak.py.procwatch-20261125T010203Z.bak"), "{applied:?}");
    let files = picture(python.folder());
    assert_eq!(files.len(), 2, "{files:?}");
    let (uid, gid) = (old.uid(), old.gid());
    assert_eq!(files["leak.py"], (proposal.after.clone(), 0o100_751, uid, gid));
    assert_eq!(files["leak.py.procwatch-20261125T010203Z.bak"], (SOURCE.into(), 0o100_751, uid, gid));
    assert_eq!(fs::metadata(&applied.backup).unwrap().modified().unwrap(), old.modified().unwrap());
    // Now the file is newer than the process.
    assert!(matches!(apply_at(&proposal, at("04")), Err(PatchError::Refused(NoPatch::NewerThanProcess))));
    assert_eq!(picture(python.folder()), files);
}

/// Applies after `disturb` and checks that the folder is as it was left then.
fn refused(disturb: impl FnOnce(&Python, &mut Proposal)) -> PatchError {
    let python = Python::sleeping(SOURCE);
    let mut proposal = proposed(&python);
    disturb(&python, &mut proposal);
    let before = picture(python.folder());
    let error = apply_at(&proposal, at("03")).unwrap_err();
    assert_eq!(picture(python.folder()), before, "{error}");
    error
}

#[test]
fn whatever_fails_leaves_everything_as_it_was() {
    let error = refused(|_, proposal| proposal.after.extend_from_slice(b"def f(:\n"));
    assert!(
        matches!(&error, PatchError::DoesNotCompile(why) if why.as_bytes().starts_with(b"SyntaxError")),
        "{error}"
    );
    let error = refused(|python, _| fs::write(python.file(), "x = 1\n").unwrap());
    assert!(matches!(error, PatchError::Refused(NoPatch::NewerThanProcess)), "{error}");
    let error = refused(|_, proposal| proposal.before.push(b' '));
    assert!(matches!(error, PatchError::Changed), "{error}");
    let error = refused(|python, _| {
        fs::write(python.folder().join("leak.py.procwatch-20261125T010203Z.bak"), "other").unwrap();
    });
    assert!(matches!(error, PatchError::BackupExists), "{error}");
    let error = refused(|python, _| {
        symlink("/no/such", python.folder().join("leak.py.procwatch-20261125T010203Z.bak")).unwrap();
    });
    assert!(matches!(error, PatchError::BackupExists), "{error}");
    let error = refused(|python, _| {
        fs::set_permissions(python.folder(), fs::Permissions::from_mode(0o777)).unwrap();
    });
    assert!(matches!(error, PatchError::WritableByOthers("the folder of the source")), "{error}");
    let error = refused(|python, _| {
        let file = python.file();
        fs::rename(&file, python.folder().join("moved.py")).unwrap();
        symlink("moved.py", file).unwrap();
    });
    assert!(matches!(error, PatchError::Refused(NoPatch::NewerThanProcess)), "{error}");
    let error = refused(|_, proposal| proposal.request.process.start.0 += 1_000_000_000);
    assert!(matches!(error, PatchError::Refused(NoPatch::Gone)), "{error}");
}

#[test]
fn a_file_that_others_may_write_is_left_alone() {
    for mode in [0o646, 0o606] {
        let python = Python::prepared(SOURCE, |file, _| {
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        });
        let error = apply_at(&proposed(&python), at("03")).unwrap_err();
        assert!(matches!(error, PatchError::WritableByOthers("the source")), "{error}");
        assert_eq!(picture(python.folder()).len(), 1);
    }
}

#[test]
fn a_link_is_followed_to_what_it_means_and_stays_a_link() {
    let python =
        Python::prepared(SOURCE, |file, _| symlink("leak.py", file.with_file_name("link.py")).unwrap());
    let proposal = propose(&request(&python, &python.folder().join("link.py"))).unwrap();
    assert_eq!(proposal.file, python.file().canonicalize().unwrap());
    apply_at(&proposal, at("03")).unwrap();
    assert!(fs::symlink_metadata(python.folder().join("link.py")).unwrap().is_symlink());
    assert_eq!(fs::read(python.file()).unwrap(), proposal.after);
}

#[test]
fn a_relative_path_is_relative_to_the_process() {
    let python = Python::sleeping(SOURCE);
    let proposal = propose(&request(&python, Path::new("leak.py"))).unwrap();
    assert_eq!(proposal.file, python.file().canonicalize().unwrap());
}

#[test]
fn only_regular_files_are_opened() {
    let python = Python::prepared(SOURCE, |file, _| {
        fs::write(file.with_file_name("large.py"), vec![b'#'; (1 << 20) + 1]).unwrap();
        nix::unistd::mkfifo(&file.with_file_name("pipe.py"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    });
    let refusal = |file: &Path| propose(&request(&python, file)).unwrap_err();
    assert_eq!(refusal(&python.folder().join("pipe.py")), NoPatch::NotAFile);
    assert_eq!(refusal(&python.folder().join("large.py")), NoPatch::NotAFile);
    assert_eq!(refusal(Path::new("/dev/zero")), NoPatch::NotAFile);
    assert_eq!(refusal(Path::new("/proc/self/status")), NoPatch::ForeignFileSystem);
    assert_eq!(refusal(python.folder()), NoPatch::NotAFile);
    assert_eq!(refusal(Path::new("/no/such.py")), NoPatch::Unreadable);
    assert_eq!(refusal(Path::new("<frozen importlib>")), NoPatch::Unreadable);
}

#[test]
fn root_acts_with_the_rights_of_the_process() {
    const NOBODY: u32 = 65534;
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED root_acts_with_the_rights_of_the_process: only root can start others' processes");
        return;
    }
    if fs::metadata(real_python()).is_err() || !everyone_may_run(&real_python()) {
        println!("SKIPPED root_acts_with_the_rights_of_the_process: nobody may not run this python3");
        return;
    }
    let of_nobody = |owner: Option<u32>| {
        Python::prepared(SOURCE, |file, command| {
            std::os::unix::fs::chown(file, owner, owner).unwrap();
            std::os::unix::fs::chown(file.parent().unwrap(), Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY);
        })
    };
    let python = of_nobody(Some(NOBODY));
    let proposal = proposed(&python);
    apply_at(&proposal, at("03")).unwrap();
    for (name, (_, mode, uid, gid)) in picture(python.folder()) {
        assert_eq!((mode & 0o777, uid, gid), (0o644, NOBODY, NOBODY), "{name}");
    }
    // A process can name any file: root's stays root's.
    let python = of_nobody(None);
    let error = apply_at(&proposed(&python), at("03")).unwrap_err();
    assert!(matches!(error, PatchError::OwnedByAnother { owner: 0, process: NOBODY }), "{error}");
    // And what it may not read is not read.
    assert_eq!(propose(&request(&python, Path::new("/etc/shadow"))), Err(NoPatch::Unreadable));
}

/// Whether each folder on the way may be passed by everyone.
fn everyone_may_run(program: &Path) -> bool {
    program.ancestors().all(|path| fs::metadata(path).is_ok_and(|it| it.mode() & 0o001 != 0))
}
