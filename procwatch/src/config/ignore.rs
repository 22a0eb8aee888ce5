//! `ignore = { … }` of a placement rule: who is left alone all the same.

use glob::Pattern;
use toml::{Spanned, de::DeValue};

use super::{
    names::{fits, read_pattern},
    read::Reader,
};
use crate::{
    cgroup::CgroupPath,
    text::{Comm, Text},
};

/// Most patterns of each sort.
const MOST: usize = 64;

/// Patterns of shells (`*`, `?`, `[a-z]`): a process that one of them fits is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    /// For names of units: any part of the path of the process' cgroup.
    pub units: Vec<Pattern>,
    /// For names of processes, at most 15 bytes.
    pub comms: Vec<Pattern>,
    /// For paths of programs.
    pub exes: Vec<Pattern>,
}

impl Ignore {
    /// Whether there are patterns that only a program, once it runs, can fit.
    pub const fn is_by_program(&self) -> bool {
        !self.comms.is_empty() || !self.exes.is_empty()
    }

    /// The part of the path that is ignored, if one is.
    pub fn unit<'a>(&self, cgroup: &'a CgroupPath) -> Option<&'a str> {
        cgroup.names().find(|name| fits(&self.units, name.as_bytes()))
    }

    /// Whether a process of that name is ignored.
    pub fn comm(&self, comm: Comm) -> bool {
        fits(&self.comms, comm.as_bytes())
    }

    /// Whether that program is ignored.
    pub fn exe(&self, exe: &Text) -> bool {
        fits(&self.exes, exe.as_bytes())
    }
}

/// A table with lists of patterns.
pub(super) fn read(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, field: &str) -> Option<Ignore> {
    const EXAMPLE: &str = "ignore = { comms = [\"backup\"] }";
    let table = reader.table(value, field, EXAMPLE)?;
    let prefix = format!("{field}.");
    reader.check_keys(table, &prefix, &["units", "comms", "exes"]);
    let mut patterns = |key: &str, example: &str| match table.get(key) {
        Some(value) => read_patterns(reader, value, &format!("{prefix}{key}"), example),
        None => Some(Vec::new()),
    };
    let units = patterns("units", "\"backup-*.service\"");
    let comms = patterns("comms", "\"backup\"");
    let exes = patterns("exes", "\"/opt/backup/*\"");
    Some(Ignore { units: units?, comms: comms?, exes: exes? })
}

fn read_patterns(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    field: &str,
    example: &str,
) -> Option<Vec<Pattern>> {
    let entries = reader.list(value, field, MOST, &format!("[{example}]"))?;
    let example = example.trim_matches('"');
    let numbered = entries.into_iter().zip(1..);
    numbered
        .map(|(entry, number)| read_pattern(reader, entry, &format!("{field}[{number}]"), example))
        // All are read, so that all that is wrong is told.
        .collect::<Vec<_>>()
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn patterns_fit_units_names_and_programs() {
        let patterns = |text: &str| vec![Pattern::new(text).unwrap()];
        let ignore =
            Ignore { units: patterns("b*.scope"), comms: patterns("back?p"), exes: patterns("/opt/*") };
        let path = |text: &str| CgroupPath::parse(text).unwrap();
        assert_eq!(ignore.unit(&path("/user.slice/b-1.scope/x")), Some("b-1.scope"));
        assert_eq!(ignore.unit(&path("/user.slice/ab.scope")), None);
        assert!(ignore.comm(samples::comm("backup")) && !ignore.comm(samples::comm("backups")));
        assert!(ignore.exe(&"/opt/a/b".into()) && !ignore.exe(&"/usr/opt/a".into()));
        assert!(ignore.is_by_program() && !Ignore::default().is_by_program());
    }
}
