//! What the start needed and the idle agent does not is handed back to the kernel.

use std::{ffi::c_void, ptr};

use procfs::process::{MMPermissions, MMapPath, MemoryMap, Process};
use rustix::mm::{Advice, madvise};

/// Has all threads share one heap. To be called before there are any.
///
/// The threads of the outputs allocate rarely and little, but each would have a heap of its own, and keep what it once
/// touched of it.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers; the limit is on heaps that are yet to be made.
    unsafe {
        // It fails for an unknown parameter only, and costs some memory then.
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Hands back the heap that loading needed.
///
/// The kernel's types are some 200,000 small pieces once aya has read them. Freed, they would stay in the allocator's
/// lists for as long as the agent lives: 17.5 MB of the 25 MB that it held.
pub fn give_back_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers, and only returns pages that hold no live allocation.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Records after which the heap is handed back again.
const EACH: u64 = 1024;

/// Keeps the heap small while the agent works.
///
/// What the start left free is 14 MB of holes, pages that were handed back. Each record takes its few bytes from another
/// hole, and its page stays: the agent would grow by them although it holds no more than before.
#[derive(Debug, Default)]
pub struct HeapCare {
    done_at: u64,
}

impl HeapCare {
    /// So many records were told by now, and nothing waits to be done.
    pub fn at_rest(&mut self, records: u64) {
        if records >= self.done_at + EACH {
            self.done_at = records;
            give_back_heap();
        }
    }
}

/// Hands back the pages of code and constants. Most of what ran until now (reading the configuration, the kernel's types,
/// loading) never runs again; the rest comes back from the page cache when it is next needed, at one minor fault for each
/// 64 KiB.
pub fn give_back_code() {
    let code = match unwritten() {
        Ok(code) => code,
        Err(error) => return tracing::debug!("code stays in memory: {error}"),
    };
    for map in code {
        let (from, to) = map.address;
        let start = ptr::with_exposed_provenance_mut::<c_void>(from as usize);
        // SAFETY: a private mapping of a file that is not written to, neither now nor while it was loaded, so its pages
        // are those of the file: what is read there after this is what was read before. Nothing that Rust could change
        // is in it.
        let done = unsafe { madvise(start, (to - from) as usize, Advice::LinuxDontNeed) };
        if let Err(error) = done {
            tracing::debug!("code stays in memory: {error}");
        }
    }
}

/// The mappings of program and libraries that nothing was ever written to: code, and what begins at the file's beginning,
/// which is constants. What the loader relocates and then protects stands further behind and is none of them.
fn unwritten() -> procfs::ProcResult<Vec<MemoryMap>> {
    let (read, private) = (MMPermissions::READ, MMPermissions::PRIVATE);
    let code = read | private | MMPermissions::EXECUTE;
    let is_unwritten = |map: &MemoryMap| {
        let is_file = matches!(map.pathname, MMapPath::Path(_));
        is_file && (map.perms == code || map.perms == read | private && map.offset == 0)
    };
    Ok(Process::myself()?.maps()?.into_iter().filter(is_unwritten).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_still_there() {
        let before = unwritten().unwrap();
        assert!(before.len() >= 2, "code and constants: {before:?}");
        give_back_code();
        assert_eq!(unwritten().unwrap(), before);
    }
}
