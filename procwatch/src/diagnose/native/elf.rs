//! The files of a process' mappings, as far as unwinding and naming need them.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use object::{
    Object as _, ObjectSection as _, ObjectSegment, ReadCache, ReadRef, SegmentFlags,
    elf::{FileHeader64, PF_X},
    endian::Endianness,
    read::elf::ElfFile,
};

use crate::diagnose::maps::Mapping;

/// Largest section that is read, bytes.
const MAX_SECTION: u64 = 32 << 20;
/// Largest vdso that is read, bytes.
const MAX_VDSO: u64 = 64 << 10;
/// Longest build id that is told, bytes.
const MAX_BUILD_ID: usize = 64;

/// A section at the address that its file gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) address: u64,
    pub(super) data: Vec<u8>,
}

/// What is known of one mapped file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Elf {
    pub(super) eh_frame: Option<Section>,
    pub(super) eh_frame_hdr: Option<Section>,
    pub(super) debug_frame: Option<Vec<u8>>,
    pub(super) build_id: Option<String>,
    pub(super) is_go: bool,
    /// Offset in the file, offset of its end, and address, of each part that is loaded and may be run. Parts share pages.
    code: Vec<(u64, u64, u64)>,
}

impl Elf {
    /// Reads the file of a mapping, or from the process' memory where there is none.
    pub(super) fn of(pid: u32, mapping: &Mapping) -> io::Result<Self> {
        if mapping.path == "[vdso]" {
            let mut bytes = vec![0; (mapping.end - mapping.start).min(MAX_VDSO) as usize];
            File::open(format!("/proc/{pid}/mem"))?.read_exact_at(&mut bytes, mapping.start)?;
            return Self::parse(bytes.as_slice()).map_err(io::Error::other);
        }
        // The very file that is mapped, also when it was deleted or replaced since, and in any mount namespace.
        let name = format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.start, mapping.end);
        let file = File::open(name)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        Self::parse(&ReadCache::new(file)).map_err(io::Error::other)
    }

    fn parse<'data, R: ReadRef<'data>>(data: R) -> object::Result<Self> {
        let elf = ElfFile::<'data, FileHeader64<Endianness>, R>::parse(data)?;
        let section = |name: &str| {
            let section = elf.section_by_name(name).filter(|section| section.size() <= MAX_SECTION)?;
            Some(Section { address: section.address(), data: section.data().ok()?.to_owned() })
        };
        let build_id = elf.build_id().ok().flatten();
        Ok(Self {
            eh_frame: section(".eh_frame"),
            eh_frame_hdr: section(".eh_frame_hdr"),
            debug_frame: section(".debug_frame").map(|section| section.data),
            build_id: build_id.map(|id| hex(&id[..id.len().min(MAX_BUILD_ID)])),
            is_go: elf.section_by_name(".go.buildinfo").is_some()
                || elf.section_by_name(".gopclntab").is_some(),
            code: elf.segments().filter_map(|segment| code(&segment)).collect(),
        })
    }

    /// What is added to the file's addresses where this mapping is.
    pub(super) fn bias(&self, mapping: &Mapping) -> Option<u64> {
        let page = |address: u64| address & !0xfff;
        let holds = |(start, end, _): &&(u64, u64, u64)| (page(*start)..*end).contains(&mapping.offset);
        let (start, _, address) = self.code.iter().find(holds)?;
        let first = address.wrapping_sub(*start).wrapping_add(mapping.offset);
        Some(mapping.start.wrapping_sub(first))
    }
}

fn code<'data>(segment: &impl ObjectSegment<'data>) -> Option<(u64, u64, u64)> {
    let SegmentFlags::Elf { p_flags } = segment.flags() else {
        return None;
    };
    let (offset, size) = segment.file_range();
    (p_flags & PF_X != 0).then(|| (offset, offset.saturating_add(size), segment.address()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::maps::mappings;

    #[test]
    fn this_program_can_be_unwound() {
        let pid = std::process::id();
        let mappings = mappings(pid).unwrap();
        let here = this_program_can_be_unwound as fn() as usize as u64;
        let mapping = mappings.iter().find(|it| (it.start..it.end).contains(&here)).unwrap();
        let elf = Elf::of(pid, mapping).unwrap();
        assert!(elf.eh_frame.is_some() && !elf.is_go && elf.bias(mapping).is_some());
    }

    #[test]
    fn the_vdso_is_read_from_memory() {
        let pid = std::process::id();
        let vdso = mappings(pid).unwrap().into_iter().find(|it| it.path == "[vdso]").unwrap();
        assert!(Elf::of(pid, &vdso).unwrap().build_id.is_some());
    }

    #[test]
    fn bias_is_by_the_part_that_is_loaded() {
        let elf = Elf { code: vec![(0, 0x800, 0), (0x1234, 0x5000, 0x2234)], ..Elf::default() };
        let mapping = Mapping {
            start: 0x7000_2000,
            end: 0x7000_6000,
            offset: 0x1000,
            is_executable: true,
            path: String::new(),
        };
        assert_eq!(elf.bias(&mapping), Some(0x7000_0000));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Elf::parse(&b"\x7fELF nonsense"[..]).is_err());
        assert!(Elf::parse(&[][..]).is_err());
    }
}
