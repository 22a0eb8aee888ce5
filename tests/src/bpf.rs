//! What an agent has in the kernel, by the numbers that the kernel gave: other agents' objects do not matter.

use std::{collections::BTreeSet, fs};

use aya::{
    maps::{HashMap, Map, MapData, MapInfo, loaded_maps},
    programs::{loaded_links, loaded_programs},
};

/// Programs, links and maps in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelObjects {
    /// Ids of programs.
    pub programs: BTreeSet<u32>,
    /// Ids of links.
    pub links: BTreeSet<u32>,
    /// Ids of maps.
    pub maps: BTreeSet<u32>,
}

impl KernelObjects {
    /// Those that a process has open.
    pub fn of_process(pid: u32) -> Self {
        let mut held = Self::default();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap() {
            // A descriptor may be closed meanwhile.
            let info = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
            for line in info.lines() {
                let Some((name, value)) = line.split_once(':') else {
                    continue;
                };
                let ids = match name {
                    "prog_id" => &mut held.programs,
                    "link_id" => &mut held.links,
                    "map_id" => &mut held.maps,
                    _ => continue,
                };
                ids.insert(value.trim().parse().unwrap());
            }
        }
        held
    }

    /// Those that are in the kernel now.
    fn all() -> Self {
        Self {
            programs: loaded_programs().flatten().map(|it| it.id()).collect(),
            links: loaded_links().flatten().map(|it| it.id()).collect(),
            maps: loaded_maps().flatten().map(|it| it.id()).collect(),
        }
    }

    /// Fills one of these maps, whose keys are process ids, with processes that there cannot be. Returns how many fitted in.
    pub fn fill(&self, name: &str) -> u32 {
        let is_meant = |id: &u32| MapInfo::from_id(*id).is_ok_and(|map| map.name_as_str() == Some(name));
        let id = self.maps.iter().copied().find(is_meant).expect("it has this map");
        let map = Map::HashMap(MapData::from_id(id).unwrap());
        let mut map: HashMap<_, u32, [u64; 2]> = HashMap::try_from(map).unwrap();
        let fits = |pid: &u32| map.insert(pid, [1, 0], 0).is_ok();
        (1 << 30..1 << 31).take_while(fits).count() as u32
    }

    /// How many of these the kernel still has.
    pub fn left(&self) -> usize {
        let all = Self::all();
        self.programs.intersection(&all.programs).count()
            + self.links.intersection(&all.links).count()
            + self.maps.intersection(&all.maps).count()
    }
}
