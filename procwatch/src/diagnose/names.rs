//! Threads by their names.

use std::{collections::HashMap, fs, io, time::Instant};

use super::report::NameGroup;
use crate::text::Text;

/// Most threads whose names are read.
pub(super) const MAX_THREADS: usize = 10_000;

/// The names of a process' threads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Groups, largest first.
    pub groups: Vec<NameGroup>,
    /// Threads that were looked at.
    pub looked_at: usize,
    /// Some were not.
    pub is_cut: bool,
}

/// Reads the name of each thread once.
///
/// # Errors
/// When the process is gone or may not be looked at.
pub(super) fn read(pid: u32, deadline: Instant) -> io::Result<Names> {
    let mut names = Vec::new();
    let mut is_cut = false;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        if names.len() >= MAX_THREADS || Instant::now() >= deadline {
            is_cut = true;
            break;
        }
        // A thread may end meanwhile.
        if let Ok(mut name) = fs::read(task?.path().join("comm")) {
            name.pop_if(|last| *last == b'\n');
            names.push(name);
        }
    }
    Ok(Names { groups: grouped(&names), looked_at: names.len(), is_cut })
}

/// Groups names that differ only by their numbers, largest first.
pub(super) fn grouped(names: &[Vec<u8>]) -> Vec<NameGroup> {
    let mut counts: HashMap<Vec<u8>, Members<'_>> = HashMap::new();
    for name in names {
        let members =
            counts.entry(without_numbers(name)).or_insert(Members { count: 0, first: name, same: true });
        members.count += 1;
        members.same &= members.first == name;
    }
    let shown = |(pattern, members): (Vec<u8>, Members<'_>)| NameGroup {
        // Where all have the same number it is a part of the name.
        name: Text::new(if members.same { members.first.to_owned() } else { pattern }),
        count: members.count,
    };
    let mut groups: Vec<NameGroup> = counts.into_iter().map(shown).collect();
    groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.as_bytes().cmp(b.name.as_bytes())));
    groups
}

/// Those that differ only by their numbers.
struct Members<'a> {
    count: u32,
    first: &'a [u8],
    /// They do not differ at all.
    same: bool,
}

/// Each run of digits becomes `N`.
fn without_numbers(name: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(name.len());
    let mut in_number = false;
    for byte in name {
        let is_digit = byte.is_ascii_digit();
        match (is_digit, in_number) {
            (true, false) => pattern.push(b'N'),
            (true, true) => {}
            (false, _) => pattern.push(*byte),
        }
        in_number = is_digit;
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(names: &[&str]) -> Vec<(String, u32)> {
        let names: Vec<Vec<u8>> = names.iter().map(|it| it.as_bytes().to_vec()).collect();
        grouped(&names).into_iter().map(|it| (it.name.to_string(), it.count)).collect()
    }

    #[test]
    fn numbers_do_not_tell_names_apart() {
        let groups = shown(&[
            "worker-1",
            "main",
            "worker-22",
            "pool-1-thread-2",
            "pool-1-thread-3",
            "pool-9-thread-1",
        ]);
        let wanted = [("pool-N-thread-N", 3), ("worker-N", 2), ("main", 1)];
        assert_eq!(groups, wanted.map(|(name, count)| (name.to_owned(), count)));
    }

    #[test]
    fn a_number_that_all_have_is_a_part_of_the_name() {
        assert_eq!(shown(&["python3", "python3"]), [("python3".to_owned(), 2)]);
    }

    #[test]
    fn hostile_names_are_escaped() {
        assert_eq!(shown(&["a\x1b[2J", "a\x1b[3J"]), [("a\\x1b[NJ".to_owned(), 2)]);
    }

    #[test]
    fn own_threads_have_names() {
        let names = read(std::process::id(), Instant::now() + std::time::Duration::from_secs(5)).unwrap();
        assert!(names.looked_at > 0 && !names.is_cut);
        assert!(read(u32::MAX, Instant::now()).is_err());
    }
}
