//! Maps that are used as sets, or whose entries are told apart by key alone.

use std::{collections::HashSet, hash::Hash};

use aya::{
    Pod,
    maps::{HashMap, MapData, MapError},
};

/// Removes the entries whose keys are not wanted.
///
/// # Errors
/// When an entry cannot be removed; that it has gone by itself is no error.
pub(super) fn retain<K: Pod, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    is_wanted: impl Fn(&K) -> bool,
) -> Result<(), MapError> {
    // A program that removes an entry ends the walk or begins it anew: what is there afterwards is looked at again.
    for _ in 0..WALKS {
        let keys: Vec<K> = map.keys().collect::<Result<_, _>>()?;
        let mut is_done = true;
        for key in keys.iter().filter(|key| !is_wanted(key)) {
            is_done = false;
            match map.remove(key) {
                Err(error) if map.get(key, 0).is_ok() => return Err(error),
                _ => {}
            }
        }
        if is_done {
            break;
        }
    }
    Ok(())
}

/// More than one that removes and one that finds nothing left, for what programs add meanwhile.
const WALKS: usize = 4;

/// Makes a set hold exactly `keys`.
///
/// # Errors
/// When it is too small for them.
pub(super) fn replace<K: Pod + Eq + Hash>(
    set: &mut HashMap<MapData, K, u8>,
    keys: &[K],
) -> Result<(), MapError> {
    let wanted: HashSet<&K> = keys.iter().collect();
    retain(set, |key| wanted.contains(key))?;
    keys.iter().try_for_each(|key| set.insert(key, 0, 0))
}
