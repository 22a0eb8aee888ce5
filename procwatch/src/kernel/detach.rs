//! Takes what is pinned out of the kernel, and sees that it is gone.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use aya::{
    maps::MapInfo,
    programs::{ProgramInfo, loaded_programs},
};

use super::{
    KernelError,
    pins::{PinFolder, State},
};

/// How long the kernel may take to free what nobody names any more: it waits for grace periods.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detached {
    /// Whether there was anything.
    pub was_pinned: bool,
    /// Programs and maps that are still there, because somebody else has them open.
    pub left: Vec<String>,
}

/// Programs and maps by their numbers in the kernel, each with its name.
#[derive(Debug, Default)]
struct Objects {
    programs: BTreeMap<u32, String>,
    maps: BTreeMap<u32, String>,
}

/// What is to be taken out of the kernel.
#[derive(Debug)]
pub struct Removal {
    folder: PinFolder,
    objects: Objects,
}

impl Removal {
    /// Notes what is pinned in the folder. An agent may run, and may take it away itself.
    ///
    /// # Errors
    /// When there is something in the folder that is not ours.
    pub fn begin(folder: PinFolder) -> Result<Self, KernelError> {
        let mut objects = Objects::default();
        for state in folder.states()? {
            objects.note(&state)?;
        }
        Ok(Self { folder, objects })
    }

    /// Removes all that is still pinned, and waits until all that was is gone. No agent may run.
    ///
    /// # Errors
    /// When there is something in the folder that is not ours, and then nothing is removed; or when it cannot be removed.
    pub fn finish(self) -> Result<Detached, KernelError> {
        let Self { folder, mut objects } = self;
        let was_pinned = folder.remove()? || !objects.is_empty();
        let begun = Instant::now();
        loop {
            objects.keep_those_that_are_there();
            if objects.is_empty() || begun.elapsed() > PATIENCE {
                return Ok(Detached { was_pinned, left: objects.names() });
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Objects {
    /// What cannot be opened has no number to wait for.
    fn note(&mut self, state: &State) -> Result<(), KernelError> {
        for (name, path) in state.programs()? {
            self.programs.extend(ProgramInfo::from_pin(path).ok().map(|info| (info.id(), name)));
        }
        for (name, path) in state.maps()? {
            self.maps.extend(MapInfo::from_pin(path).ok().map(|info| (info.id(), name)));
        }
        Ok(())
    }

    fn keep_those_that_are_there(&mut self) {
        let loaded: Vec<u32> = loaded_programs().filter_map(|info| Some(info.ok()?.id())).collect();
        self.programs.retain(|id, _| loaded.contains(id));
        self.maps.retain(|id, _| MapInfo::from_id(*id).is_ok());
    }

    fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.maps.is_empty()
    }

    fn names(self) -> Vec<String> {
        let programs = self.programs.into_values().map(|name| format!("program {name}"));
        programs.chain(self.maps.into_values().map(|name| format!("map {name}"))).collect()
    }
}
