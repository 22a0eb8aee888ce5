//! A folder of plain files instead of one of kernel objects.

use std::{fs, os::unix::fs::symlink};

use super::*;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn folder(&self) -> PinFolder {
        PinFolder(self.0.path().join(FOLDER))
    }

    fn file(&self, path: &str) {
        let path = self.0.path().join(FOLDER).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    fn refused(&self) -> String {
        let of_states = self.folder().states().unwrap_err().to_string();
        assert_eq!(self.folder().remove().unwrap_err().to_string(), of_states);
        assert_eq!(self.folder().begin(1).unwrap_err().to_string(), of_states);
        of_states.replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn marks(folder: &PinFolder) -> Vec<u64> {
    folder.states().unwrap().iter().map(State::mark).collect()
}

#[test]
fn a_state_is_there_when_it_is_whole_and_takes_the_place_of_others() {
    let place = Place::new();
    let folder = place.folder();
    assert!(marks(&folder).is_empty());
    let half = folder.begin(0xab).unwrap();
    fs::write(half.state().map("CONTROL"), "").unwrap();
    fs::write(half.state().link("task_newtask"), "").unwrap();
    assert!(marks(&folder).is_empty());
    let state = half.finish().unwrap();
    assert_eq!(state.path, place.0.path().join("procwatch/state-00000000000000ab"));
    assert_eq!(folder.states().unwrap(), std::slice::from_ref(&state));
    assert_eq!(state.maps().unwrap(), [("CONTROL".to_owned(), state.map("CONTROL"))]);
    assert_eq!((state.links().unwrap().len(), state.programs().unwrap().len()), (1, 0));
    assert!(state.since().is_some());

    let half = folder.begin(0xcd).unwrap();
    assert_eq!(marks(&folder), [0xab], "until the new one is whole");
    half.finish().unwrap();
    assert_eq!(marks(&folder), [0xcd]);
}

#[test]
fn half_made_ones_go() {
    let place = Place::new();
    drop(place.folder().begin(1).unwrap());
    place.file("half-0000000000000002/maps/CONTROL");
    place.file("state-0000000000000003/maps/CONTROL");
    assert_eq!(marks(&place.folder()), [3]);
    let half = place.folder().begin(4).unwrap();
    assert!(!place.0.path().join("procwatch/half-0000000000000002").exists());
    drop(half);
    assert_eq!(marks(&place.folder()), [3]);
    assert!(place.folder().remove().unwrap());
    assert!(!place.0.path().join(FOLDER).exists());
    assert!(!place.folder().remove().unwrap());
}

#[test]
fn what_is_not_ours_is_left_alone_and_named() {
    for (path, message) in [
        ("other", "procwatch/other: is not of procwatch"),
        ("state-12/maps/A", "procwatch/state-12: is not of procwatch"),
        ("state-0000000000000001/maps/A/b", "procwatch/state-0000000000000001/maps/A: is no kernel object"),
        (
            "state-0000000000000001/rest/b",
            "procwatch/state-0000000000000001/rest: is no part of what procwatch keeps",
        ),
        ("half-0000000000000001/maps", "procwatch/half-0000000000000001/maps: is no folder"),
    ] {
        let place = Place::new();
        place.file("state-0000000000000009/maps/CONTROL");
        place.file(path);
        let advice = "; procwatch leaves it alone, remove it by hand if nobody needs it";
        assert_eq!(place.refused(), format!("{message}{advice}"));
        assert!(place.0.path().join("procwatch/state-0000000000000009/maps/CONTROL").exists());
    }
    let place = Place::new();
    symlink("/", place.0.path().join(FOLDER)).unwrap();
    assert!(place.refused().starts_with("procwatch: is no folder"), "{}", place.refused());
}
