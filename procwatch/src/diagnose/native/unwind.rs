//! Stacks from samples: by the unwind tables of the files that are mapped.

use std::{collections::HashMap, time::Instant};

use framehop::{
    ExplicitModuleSectionInfo, Module, Unwinder as _,
    x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64},
};

use super::elf::Elf;
use crate::{creators::StackSample, diagnose::maps::Mapping};

/// Deepest stack that is followed.
const MAX_FRAMES: usize = 64;
/// Most unwind tables that are held, bytes.
const MAX_TABLES: usize = 128 << 20;

/// Unwinds samples of one process.
pub(super) struct Unwinder<'a> {
    pid: u32,
    mappings: &'a [Mapping],
    /// Files by the first mapping of each.
    elves: HashMap<u64, Option<Elf>>,
    tables: UnwinderX86_64<Vec<u8>>,
    cache: CacheX86_64,
    table_bytes: usize,
}

impl<'a> Unwinder<'a> {
    pub(super) fn new(pid: u32, mappings: &'a [Mapping]) -> Self {
        Self {
            pid,
            mappings,
            elves: HashMap::new(),
            tables: UnwinderX86_64::new(),
            cache: CacheX86_64::new(),
            table_bytes: 0,
        }
    }

    /// Addresses to look names up by, innermost first.
    pub(super) fn unwind(&mut self, sample: &StackSample, deadline: Instant) -> Vec<u64> {
        // Files are read as stacks lead to them: each turn may find one more.
        loop {
            let frames = self.walk(sample);
            let known = self.elves.len();
            for address in &frames {
                self.load(*address);
            }
            if self.elves.len() == known || Instant::now() >= deadline {
                return frames;
            }
        }
    }

    fn walk(&mut self, sample: &StackSample) -> Vec<u64> {
        let mut read = |address: u64| {
            let from = usize::try_from(address.checked_sub(sample.sp).ok_or(())?).map_err(|_| ())?;
            let bytes = sample.stack.get(from..from.checked_add(8).ok_or(())?).ok_or(())?;
            bytes.try_into().map(u64::from_le_bytes).map_err(|_| ())
        };
        let registers = UnwindRegsX86_64::new(sample.ip, sample.sp, sample.bp);
        let mut frames = self.tables.iter_frames(sample.ip, registers, &mut self.cache, &mut read);
        let mut addresses = Vec::new();
        while addresses.len() < MAX_FRAMES
            && let Ok(Some(frame)) = frames.next()
        {
            addresses.push(frame.address_for_lookup());
        }
        // What leads to no code was read from what is no return address.
        let good = addresses.iter().take_while(|address| super::is_code(self.mappings, **address)).count();
        addresses.truncate(good);
        addresses
    }

    /// Makes the file known that an address is in.
    fn load(&mut self, address: u64) {
        let holds = |it: &&Mapping| it.is_executable && (it.start..it.end).contains(&address);
        let Some(mapping) = self.mappings.iter().find(holds) else {
            return;
        };
        if self.elves.contains_key(&mapping.start) {
            return;
        }
        let mut elf = Elf::of(self.pid, mapping).ok();
        if let Some(elf) = &mut elf {
            self.add(mapping, elf);
        }
        self.elves.insert(mapping.start, elf);
    }

    fn add(&mut self, mapping: &Mapping, elf: &mut Elf) {
        let Some(bias) = elf.bias(mapping) else {
            return;
        };
        let (table, index, debug) = (elf.eh_frame.take(), elf.eh_frame_hdr.take(), elf.debug_frame.take());
        let len =
            |section: &Option<super::elf::Section>| section.as_ref().map_or(0, |section| section.data.len());
        self.table_bytes += len(&table) + len(&index) + debug.as_ref().map_or(0, Vec::len);
        if self.table_bytes > MAX_TABLES {
            return;
        }
        let range =
            |section: &super::elf::Section| section.address..section.address + section.data.len() as u64;
        let sections = ExplicitModuleSectionInfo {
            base_svma: 0,
            eh_frame_svma: table.as_ref().map(range),
            eh_frame: table.map(|section| section.data),
            eh_frame_hdr_svma: index.as_ref().map(range),
            eh_frame_hdr: index.map(|section| section.data),
            debug_frame: debug,
            ..ExplicitModuleSectionInfo::default()
        };
        self.tables.add_module(Module::new(mapping.path.clone(), mapping.start..mapping.end, bias, sections));
        // Rules that were made up without the table.
        self.cache = CacheX86_64::new();
    }

    /// The build id of the file that an address is in.
    pub(super) fn build_id(&mut self, address: u64) -> Option<String> {
        self.load(address);
        let mapping = self.mappings.iter().find(|it| (it.start..it.end).contains(&address))?;
        self.elves.get(&mapping.start)?.as_ref()?.build_id.clone()
    }
}
