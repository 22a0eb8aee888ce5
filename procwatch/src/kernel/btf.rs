//! Looks up member offsets and argument counts in the kernel's BTF.
//!
//! aya parses BTF for its own needs but does not tell offsets. This walker reads the raw bytes in place: one pass
//! notes where each type begins, and lookups follow ids from there.

use std::{io, path::Path};

use thiserror::Error;

const MAGIC: u16 = 0xeb9f;
const KIND_PTR: u8 = 2;
const KIND_STRUCT: u8 = 4;
const KIND_UNION: u8 = 5;
const KIND_TYPEDEF: u8 = 8;
const KIND_VOLATILE: u8 = 9;
const KIND_CONST: u8 = 10;
const KIND_RESTRICT: u8 = 11;
const KIND_FUNC: u8 = 12;
const KIND_FUNC_PROTO: u8 = 13;
const KIND_TYPE_TAG: u8 = 18;

/// Why the kernel's BTF could not be read.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The file could not be read.
    #[error("{path}: {source}; this kernel was built without BTF (CONFIG_DEBUG_INFO_BTF)")]
    Read {
        /// The file.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is not BTF as this version knows it.
    #[error("the kernel's BTF is malformed: {0}")]
    Malformed(&'static str),
}

/// The kernel's type information.
pub struct KernelTypes {
    data: Vec<u8>,
    strings: usize,
    /// Where each type begins in `data`; the first has id 1.
    types: Vec<u32>,
    /// Hash of kind and name, and index in `types`, of all that is looked up by name; sorted.
    names: Vec<(u32, u32)>,
}

/// The fixed part of a type.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    info: u32,
    /// Its size, or the type it refers to.
    refers: u32,
}

impl Type {
    const fn kind(self) -> u8 {
        (self.info >> 24 & 0x1f) as u8
    }

    const fn vlen(self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// Members' offsets carry a bit-field size in their upper byte.
    const fn has_bitfields(self) -> bool {
        self.info >> 31 == 1
    }

    /// Bytes of the part that follows the fixed one; `None` for a kind that is not known.
    const fn tail_len(self) -> Option<usize> {
        Some(match self.kind() {
            2 | 7..=12 | 16 | 18 => 0,
            1 | 14 | 17 => 4,
            3 => 12,
            KIND_STRUCT | KIND_UNION | 15 | 19 => self.vlen() * 12,
            6 | 13 => self.vlen() * 8,
            _ => return None,
        })
    }
}

impl KernelTypes {
    /// Reads `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// When the kernel has no BTF, or one that cannot be understood.
    pub fn from_running_kernel() -> Result<Self, BtfError> {
        let path = Path::new("/sys/kernel/btf/vmlinux");
        let data = std::fs::read(path)
            .map_err(|source| BtfError::Read { path: path.display().to_string(), source })?;
        Self::parse(data)
    }

    /// Indexes raw BTF.
    ///
    /// # Errors
    /// [`BtfError::Malformed`].
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let header = |at| u32_at(&data, at).ok_or(BtfError::Malformed("header is cut"));
        if header(0)? as u16 != MAGIC {
            return Err(BtfError::Malformed("wrong magic number"));
        }
        let header_len = header(4)? as usize;
        let begin = header_len + header(8)? as usize;
        let end = begin + header(12)? as usize;
        let strings = header_len + header(16)? as usize;
        if end > data.len() || strings > data.len() {
            return Err(BtfError::Malformed("sections reach beyond the end"));
        }
        let mut btf = Self { data, strings, types: Vec::new(), names: Vec::new() };
        btf.index(begin, end)?;
        Ok(btf)
    }

    fn index(&mut self, begin: usize, end: usize) -> Result<(), BtfError> {
        let mut at = begin;
        // A type has 12 bytes at the least, and about 24 on average.
        self.types.reserve((end - begin) / 24);
        while at < end {
            let kind = self.type_at(at).ok_or(BtfError::Malformed("a type is cut"))?;
            let tail = kind.tail_len().ok_or(BtfError::Malformed("a type of unknown kind"))?;
            if is_looked_up(kind.kind()) {
                self.names.push((hash(kind.kind(), self.name(kind.name)), self.types.len() as u32));
            }
            self.types.push(at as u32);
            at += 12 + tail;
        }
        self.names.sort_unstable();
        Ok(())
    }

    fn name(&self, name: u32) -> &[u8] {
        let begin = self.data.get(self.strings + name as usize..).unwrap_or_default();
        begin.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        Some(Type {
            at,
            name: u32_at(&self.data, at)?,
            info: u32_at(&self.data, at + 4)?,
            refers: u32_at(&self.data, at + 8)?,
        })
    }

    fn by_id(&self, id: u32) -> Option<Type> {
        let at = *self.types.get((id as usize).checked_sub(1)?)?;
        self.type_at(at as usize)
    }

    fn is_named(&self, name: u32, wanted: &str) -> bool {
        let at = self.strings + name as usize;
        self.data.get(at..at + wanted.len()) == Some(wanted.as_bytes())
            && self.data.get(at + wanted.len()) == Some(&0)
    }

    /// The first type of that kind and name. One look for each name would take longer than all else at the start.
    fn find(&self, kind: u8, name: &str) -> Option<Type> {
        let wanted = hash(kind, name.as_bytes());
        let first = self.names.partition_point(|(hash, _)| *hash < wanted);
        self.names[first..]
            .iter()
            .take_while(|(hash, _)| *hash == wanted)
            .filter_map(|(_, index)| self.type_at(self.types[*index as usize] as usize))
            .find(|found| found.kind() == kind && self.is_named(found.name, name))
    }

    /// Byte offset of `member` in `struct name`, looking into anonymous members too. `None` when there is no such
    /// structure or member, or when it is a bit-field.
    pub fn member_offset(&self, name: &str, member: &str) -> Option<u32> {
        self.member_in(self.find(KIND_STRUCT, name)?, member, 8)
    }

    fn member_in(&self, outer: Type, member: &str, depth: u32) -> Option<u32> {
        for index in 0..outer.vlen() {
            let at = outer.at + 12 + index * 12;
            let name = u32_at(&self.data, at)?;
            let type_id = u32_at(&self.data, at + 4)?;
            let raw = u32_at(&self.data, at + 8)?;
            let (bits, bitfield) =
                if outer.has_bitfields() { (raw & 0x00ff_ffff, raw >> 24) } else { (raw, 0) };
            if self.is_named(name, member) {
                return (bitfield == 0 && bits % 8 == 0).then_some(bits / 8);
            }
            if name == 0
                && depth > 0
                && let Some(inner) = self.resolve(type_id)
                && matches!(inner.kind(), KIND_STRUCT | KIND_UNION)
                && let Some(found) = self.member_in(inner, member, depth - 1)
            {
                return Some(bits / 8 + found);
            }
        }
        None
    }

    /// Follows qualifiers, tags and typedefs.
    fn resolve(&self, id: u32) -> Option<Type> {
        let mut found = self.by_id(id)?;
        for _ in 0..16 {
            match found.kind() {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    found = self.by_id(found.refers)?;
                }
                _ => return Some(found),
            }
        }
        None
    }

    /// The id by which a program is loaded for the tracepoint `name`.
    pub(super) fn tracepoint_id(&self, name: &str) -> Option<u32> {
        self.id(KIND_TYPEDEF, &format!("btf_trace_{name}"))
    }

    /// The id by which a program is loaded for the kernel's function `name`.
    pub(super) fn function_id(&self, name: &str) -> Option<u32> {
        self.id(KIND_FUNC, name)
    }

    fn id(&self, kind: u8, name: &str) -> Option<u32> {
        let found = self.find(kind, name)?;
        // Types stand in the order of their places.
        self.types.binary_search(&(found.at as u32)).ok().map(|index| index as u32 + 1)
    }

    /// How many arguments the tracepoint `name` passes. `None` when the kernel has no such tracepoint.
    pub fn tracepoint_args(&self, name: &str) -> Option<usize> {
        let typedef = self.find(KIND_TYPEDEF, &format!("btf_trace_{name}"))?;
        let pointer = self.by_id(typedef.refers).filter(|found| found.kind() == KIND_PTR)?;
        let proto = self.by_id(pointer.refers).filter(|found| found.kind() == KIND_FUNC_PROTO)?;
        // The first parameter is the tracepoint's private data.
        proto.vlen().checked_sub(1)
    }
}

/// The kinds that anything is looked up of by name.
const fn is_looked_up(kind: u8) -> bool {
    matches!(kind, KIND_STRUCT | KIND_TYPEDEF | KIND_FUNC)
}

/// FNV-1a.
fn hash(kind: u8, name: &[u8]) -> u32 {
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    name.iter().fold(mix(0x811c_9dc5, &kind), mix)
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// BTF by hand: types are appended raw, strings are collected.
    struct Builder {
        types: Vec<u32>,
        strings: Vec<u8>,
    }

    impl Builder {
        fn new() -> Self {
            Self { types: Vec::new(), strings: vec![0] }
        }

        fn name(&mut self, name: &str) -> u32 {
            let at = self.strings.len() as u32;
            self.strings.extend_from_slice(name.as_bytes());
            self.strings.push(0);
            at
        }

        fn structure(&mut self, name: u32, kind: u8, members: &[(u32, u32, u32)]) {
            self.types.extend([name, u32::from(kind) << 24 | members.len() as u32, 64]);
            for (name, type_id, bits) in members {
                self.types.extend([*name, *type_id, *bits]);
            }
        }

        fn build(self) -> Vec<u8> {
            let len = self.types.len() as u32 * 4;
            let mut words = vec![u32::from(MAGIC) | 1 << 16, 24, 0, len, len, self.strings.len() as u32];
            words.extend(self.types);
            let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
            bytes.extend(self.strings);
            bytes
        }
    }

    #[test]
    fn finds_members_also_in_anonymous_ones() {
        let mut btf = Builder::new();
        let (task, pid, inner) = (btf.name("task_struct"), btf.name("pid"), btf.name("inner"));
        btf.types.extend([0, 1 << 24, 4, 32]); // 1: int
        btf.structure(0, KIND_UNION, &[(inner, 1, 64)]); // 2: anonymous
        btf.structure(task, KIND_STRUCT, &[(pid, 1, 32), (0, 2, 128)]); // 3
        let types = KernelTypes::parse(btf.build()).unwrap();
        assert_eq!(types.member_offset("task_struct", "pid"), Some(4));
        assert_eq!(types.member_offset("task_struct", "inner"), Some(24));
        assert_eq!(types.member_offset("task_struct", "absent"), None);
        assert_eq!(types.member_offset("task", "pid"), None);
    }

    #[test]
    fn finds_ids_by_kind_and_name() {
        let mut btf = Builder::new();
        let (fork, hook) = (btf.name("fork"), btf.name("btf_trace_fork"));
        btf.types.extend([0, 13 << 24, 0]); // 1: a prototype
        btf.types.extend([hook, u32::from(KIND_TYPEDEF) << 24, 1]); // 2
        btf.types.extend([fork, u32::from(KIND_FUNC) << 24, 1]); // 3
        let types = KernelTypes::parse(btf.build()).unwrap();
        assert_eq!((types.tracepoint_id("fork"), types.function_id("fork")), (Some(2), Some(3)));
        assert_eq!((types.tracepoint_id("exec"), types.function_id("btf_trace_fork")), (None, None));
    }

    #[test]
    fn the_running_kernel_is_understood() {
        let Ok(types) = KernelTypes::from_running_kernel() else {
            return;
        };
        assert!(types.member_offset("mm_struct", "arg_start").is_some());
        assert_eq!(types.tracepoint_args("task_newtask"), Some(2));
        assert_eq!(types.tracepoint_args("no_such_tracepoint"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(words in proptest::collection::vec(any::<u32>(), 0..64)) {
            let mut bytes = vec![0x9f, 0xeb, 1, 0];
            bytes.extend(words.into_iter().flat_map(|word| (word & 0xff).to_ne_bytes()));
            if let Ok(types) = KernelTypes::parse(bytes) {
                let _ = types.member_offset("a", "b");
                let _ = types.tracepoint_args("a");
            }
        }
    }
}
