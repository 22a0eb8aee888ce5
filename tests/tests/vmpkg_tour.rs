//! All of it on a fresh machine, by the script that the README shows.

use std::{fs, path::Path};

use procwatch_tests::{
    needs,
    service::{Installed, PACKAGE, PROGRAM, call},
};

#[test]
fn what_happens_is_told_everywhere() {
    needs!(Vm);
    let script = tempfile::NamedTempFile::new().unwrap();
    fs::write(script.path(), include_str!("../tour.sh")).unwrap();
    let output = call("bash", &[script.path().to_str().unwrap(), PACKAGE]);
    // What it leaves, as it says; nothing if it could not even install.
    if Path::new(PROGRAM).exists() {
        drop(Installed::found());
    }
    let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{said}");
    println!("{told}");
}
