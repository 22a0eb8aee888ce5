//! The object's maps by their names, until somebody takes them.

use std::collections::BTreeMap;

use aya::{
    Ebpf,
    maps::{Map, MapData, MapError},
};

use super::{
    KernelError,
    pins::{PinError, State},
};

/// Maps that nobody has taken.
pub(super) struct Maps(BTreeMap<String, Map>);

impl Maps {
    /// Those of an object that was loaded.
    pub(super) fn of_object(ebpf: &mut Ebpf) -> Self {
        let names: Vec<String> = ebpf.maps().map(|(name, _)| name.to_owned()).collect();
        let maps = names.into_iter().filter_map(|name| {
            let map = ebpf.take_map(&name)?;
            Some((name, map))
        });
        Self(maps.collect())
    }

    /// Those that are pinned.
    pub(super) fn of_state(state: &State) -> Result<Self, KernelError> {
        let mut maps = BTreeMap::new();
        for (name, path) in state.maps()? {
            let map = MapData::from_pin(&path).and_then(Map::from_map_data);
            maps.insert(name, map.map_err(|source| KernelError::Map { name: "pinned", source })?);
        }
        Ok(Self(maps))
    }

    /// Pins those that agent and programs share. The object's constants are known by its programs alone, and a dot, as in
    /// their names, is not allowed there.
    pub(super) fn pin(&self, state: &State) -> Result<(), PinError> {
        for (name, map) in self.0.iter().filter(|(name, _)| !name.starts_with('.')) {
            let path = state.map(name);
            map.pin(&path).map_err(|source| PinError::Object { path, source })?;
        }
        Ok(())
    }

    /// The map of that name, once.
    pub(super) fn take<M>(&mut self, name: &'static str) -> Result<M, KernelError>
    where
        M: TryFrom<Map, Error = MapError>,
    {
        let map = self.0.remove(name).ok_or(KernelError::Missing(name))?;
        map.try_into().map_err(|source| KernelError::Map { name, source })
    }

    /// The ring of that name. Once.
    pub(super) fn take_ring(&mut self, name: &'static str) -> Result<MapData, KernelError> {
        match self.0.remove(name) {
            Some(Map::RingBuf(data)) => Ok(data),
            _ => Err(KernelError::Missing(name)),
        }
    }
}
