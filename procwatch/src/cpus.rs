//! Sets of CPUs, in the notation that the kernel and systemd share: `0-1,4,8-19`.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

/// The highest number a CPU can have: no kernel is built for more than 8192 of them (`NR_CPUS`).
pub const MAX_CPU: u32 = 8191;

/// Why a text is no list of CPUs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CpuListError {
    /// Nothing there.
    #[error("names no CPU")]
    Empty,
    /// A part between two commas is neither a number nor a range.
    #[error("\"{}\" is neither a CPU nor a range of CPUs", crate::text::escape(.0.as_bytes()))]
    Part(String),
    /// There is no CPU of that number on any machine.
    #[error("CPU {0} is out of range, the highest possible is {MAX_CPU}")]
    High(String),
    /// A range runs backwards.
    #[error("the range {0}-{1} runs backwards, right is {1}-{0}")]
    Backwards(u32, u32),
    /// A CPU is named a second time.
    #[error("CPU {0} is named twice")]
    Twice(u32),
}

/// A set of CPUs by their numbers. Shown as the kernel shows it: ranges where possible, rising; nothing when empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(BTreeSet<u32>);

impl CpuSet {
    /// Reads a list that a person wrote: numbers and ranges `LOW-HIGH` between commas, no spaces, each CPU once.
    ///
    /// # Errors
    /// [`CpuListError`], of the first part that is wrong.
    pub fn parse(text: &str) -> Result<Self, CpuListError> {
        if text.is_empty() {
            return Err(CpuListError::Empty);
        }
        let mut cpus = BTreeSet::new();
        for part in text.split(',') {
            let (low, high) = parse_part(part)?;
            for cpu in low..=high {
                if !cpus.insert(cpu) {
                    return Err(CpuListError::Twice(cpu));
                }
            }
        }
        Ok(Self(cpus))
    }

    /// Reads a file of the kernel's: the same with a line break at its end, and nothing but that for no CPU at all.
    ///
    /// # Errors
    /// [`CpuListError`], when it is no list of the kernel's.
    pub fn parse_kernel(text: &str) -> Result<Self, CpuListError> {
        match text.trim_end() {
            "" => Ok(Self::default()),
            list => Self::parse(list),
        }
    }

    /// Whether there is none in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are in it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether all of them are in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Whether this one is in it.
    pub fn contains(&self, cpu: u32) -> bool {
        self.0.contains(&cpu)
    }

    /// Those that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(&self.0 & &other.0)
    }

    /// Those that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }

    /// Their numbers, rising.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }

    /// The same as runs without a gap, first and last CPU of each.
    fn ranges(&self) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for cpu in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == cpu => *last = cpu,
                _ => ranges.push((cpu, cpu)),
            }
        }
        ranges
    }
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.ranges().into_iter().map(|(first, last)| match last - first {
            0 => first.to_string(),
            _ => format!("{first}-{last}"),
        });
        f.pad(&parts.collect::<Vec<_>>().join(","))
    }
}

impl Serialize for CpuSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CpuSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse_kernel(&text).map_err(D::Error::custom)
    }
}

/// First and last CPU of one part of a list.
fn parse_part(part: &str) -> Result<(u32, u32), CpuListError> {
    let (low, high) = part.split_once('-').unwrap_or((part, part));
    let number = |text: &str| {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CpuListError::Part(part.to_owned()));
        }
        let cpu = text.parse().ok().filter(|cpu| *cpu <= MAX_CPU);
        cpu.ok_or_else(|| CpuListError::High(text.to_owned()))
    };
    match (number(low)?, number(high)?) {
        (low, high) if low > high => Err(CpuListError::Backwards(low, high)),
        range => Ok(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(text: &str) -> CpuSet {
        CpuSet::parse(text).unwrap()
    }

    #[test]
    fn lists_are_read_and_written_like_the_kernels() {
        for (text, shown) in [
            ("0", "0"),
            ("0-1,4,8-19", "0-1,4,8-19"),
            ("3,2,1", "1-3"),
            ("5-5", "5"),
            ("8191", "8191"),
            ("007", "7"),
        ] {
            assert_eq!(set(text).to_string(), shown, "{text}");
        }
        assert_eq!(CpuSet::parse_kernel("0-3\n"), Ok(set("0-3")));
        assert_eq!(CpuSet::parse_kernel("\n").unwrap().to_string(), "");
        assert_eq!(format!("{:5}|", set("0-1")), "0-1  |");
    }

    #[test]
    fn what_is_no_list_says_why() {
        for (text, part) in [
            ("", "names no CPU"),
            (",", "\"\" is neither"),
            ("0,", "\"\" is neither"),
            ("0 1", "\"0 1\" is neither"),
            (" 0", "\" 0\" is neither"),
            ("+1", "\"+1\" is neither"),
            ("-1", "\"-1\" is neither"),
            ("1-", "\"1-\" is neither"),
            ("1-2-3", "\"1-2-3\" is neither"),
            ("all", "\"all\" is neither"),
            ("0-7:2/4", "\"0-7:2/4\" is neither"),
            ("\u{0663}", "is neither"),
            ("a\u{1b}[2J", "a\\x1b[2J"),
            ("8192", "CPU 8192 is out of range, the highest possible is 8191"),
            ("0-99999999999", "CPU 99999999999 is out of range"),
            ("19-4", "the range 19-4 runs backwards, right is 4-19"),
            ("0-3,2", "CPU 2 is named twice"),
        ] {
            let error = CpuSet::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn sets_are_compared_and_cut() {
        assert!(set("1-2").is_subset(&set("0-3")) && !set("1-4").is_subset(&set("0-3")));
        assert_eq!(set("0-3").intersection(&set("2-5")), set("2-3"));
        assert_eq!(set("0-3").difference(&set("2-5")), set("0-1"));
        assert!(set("0").intersection(&set("1")).is_empty());
        assert_eq!((set("4-19").len(), set("4-19").contains(20)), (16, false));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(cpus in proptest::collection::btree_set(0..=MAX_CPU, 1..40)) {
            let cpus: CpuSet = cpus.into_iter().collect();
            prop_assert_eq!(CpuSet::parse(&cpus.to_string()), Ok(cpus));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-0-9, :/a\u{ff}]{0,24}") {
            if let Ok(cpus) = CpuSet::parse(&text) {
                prop_assert!(!cpus.is_empty() && cpus.iter().all(|cpu| cpu <= MAX_CPU));
                prop_assert_eq!(set(&cpus.to_string()), cpus);
            }
        }

        #[test]
        fn a_set_is_its_part_in_another_and_the_rest(
            a in proptest::collection::btree_set(0_u32..64, 0..64),
            b in proptest::collection::btree_set(0_u32..64, 0..64),
        ) {
            let (a, b): (CpuSet, CpuSet) = (a.into_iter().collect(), b.into_iter().collect());
            let (inner, rest) = (a.intersection(&b), a.difference(&b));
            prop_assert!(inner.is_subset(&a) && inner.is_subset(&b) && rest.intersection(&b).is_empty());
            prop_assert_eq!(inner.iter().chain(rest.iter()).collect::<CpuSet>(), a);
        }
    }
}
