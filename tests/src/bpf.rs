//! What an agent has in the kernel, by the numbers that the kernel gave: other agents' objects do not matter.

use std::{collections::BTreeSet, fs};

use aya::{
    maps::loaded_maps,
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

    /// How many of these the kernel still has.
    pub fn left(&self) -> usize {
        let all = Self::all();
        self.programs.intersection(&all.programs).count()
            + self.links.intersection(&all.links).count()
            + self.maps.intersection(&all.maps).count()
    }
}
