//! Whose turn it is to write to a file. At a reload the output with the new configuration is there before the old one has
//! written its last.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// Held by the one who writes.
pub(super) type Turn = Arc<Mutex<()>>;

static TURNS: Mutex<BTreeMap<PathBuf, Weak<Mutex<()>>>> = Mutex::new(BTreeMap::new());

/// The turn of all in this process who write to `path`.
pub(super) fn of(path: &Path) -> Turn {
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| turn.strong_count() > 0);
    if let Some(turn) = turns.get(path).and_then(Weak::upgrade) {
        return turn;
    }
    let turn = Turn::default();
    turns.insert(path.to_owned(), Arc::downgrade(&turn));
    turn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_and_others_have_others() {
        let (one, two) = (Path::new("/turn/one"), Path::new("/turn/two"));
        let first = of(one);
        assert!(Arc::ptr_eq(&first, &of(one)));
        assert!(!Arc::ptr_eq(&first, &of(two)));
    }
}
