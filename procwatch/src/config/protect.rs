//! `protect = […]`: whom nothing but alerts and a diagnosis is ever done to.

use glob::Pattern;
use toml::{Spanned, de::DeValue};

use super::{
    Program,
    names::{fits, read_comm, read_path_pattern},
    read::Reader,
};
use crate::text::Text;

/// Most entries of one file.
const MOST: usize = 64;

/// Names and programs of processes to which nothing but alerts and a diagnosis is ever done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protect {
    /// Names, exact.
    pub comms: Vec<Text>,
    /// Patterns for paths of programs.
    pub exes: Vec<Pattern>,
}

impl Protect {
    /// Whether it protects that process.
    pub fn fits(&self, program: &Program) -> bool {
        self.has_comm(program.comm.as_bytes())
            || program.exe.as_ref().is_some_and(|exe| fits(&self.exes, exe.as_bytes()))
    }

    /// Whether it protects processes of that name.
    pub fn has_comm(&self, name: &[u8]) -> bool {
        self.comms.iter().any(|comm| comm.as_bytes() == name)
    }

    /// Takes on what a later file protects.
    pub(super) fn add(&mut self, later: Self) {
        self.comms.extend(later.comms);
        self.exes.extend(later.exes);
    }
}

/// A list of names, and of patterns for paths: what has a `/` is one of these.
pub(super) fn read_protect(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Protect {
    let mut protect = Protect::default();
    let entries =
        reader.list(value, "protect", MOST, "[\"postgres\", \"/opt/backup/*\"]").unwrap_or_default();
    for (entry, number) in entries.into_iter().zip(1..) {
        let field = format!("protect[{number}]");
        if entry.get_ref().as_str().is_some_and(|text| text.contains('/')) {
            protect.exes.extend(read_path_pattern(reader, entry, &field, "/opt/backup/*"));
        } else {
            protect.comms.extend(read_comm(reader, entry, &field));
        }
    }
    protect
}
