//! What a diagnosis says.

use schemars::JsonSchema;
use serde::Serialize;

use crate::text::{Comm, Text};

/// Who creates the threads of a process.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Diagnosis {
    /// The process.
    pub process: Process,
    /// What it runs on.
    pub runtime: Runtime,
    /// What that means for the answer, when it means something.
    pub runtime_note: Option<String>,
    /// Which code creates its threads; null when none was found.
    pub cause: Option<Cause>,
    /// Other places that create threads, or may, in the order of weight.
    pub others: Vec<Cause>,
    /// Known patterns that were found.
    pub hints: Vec<Hint>,
    /// Its threads by name, most first; numbers in names are `N`.
    pub names: Vec<NameGroup>,
    /// Its threads by their frames, most first; where frames could be read.
    pub stacks: Vec<StackGroup>,
    /// Stacks of creations as the kernel saw them, most first.
    pub creators: Vec<CreatorGroup>,
    /// What the kernel counted; null when it was not asked.
    pub counted: Option<Counted>,
    /// The state after the look.
    pub now: Now,
    /// How the look went.
    pub work: Work,
}

/// The process.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Start on `CLOCK_BOOTTIME`, ns, to a clock tick.
    pub start_ns: u64,
    /// Real uid.
    pub uid: u32,
    /// Name of the real uid, if it has one.
    pub user: Option<Text>,
    /// Name, escaped.
    pub comm: Comm,
    /// Executable, escaped.
    pub exe: Option<Text>,
    /// Arguments, each escaped.
    pub argv: Vec<Text>,
    /// The rule on threads that holds for it, in words; null when no configuration could be read.
    pub rule: Option<String>,
    /// Threads before the look.
    pub threads: u32,
    /// Time since its start, ns.
    pub age_ns: u64,
}

/// What a process runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// Machine code.
    Native,
    /// `CPython`.
    Python,
    /// Go.
    Go,
    /// A Java virtual machine.
    Jvm,
    /// Node.js.
    Node,
}

impl Runtime {
    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Python => "Python",
            Self::Go => "Go",
            Self::Jvm => "JVM",
            Self::Node => "Node.js",
        }
    }
}

/// How a cause was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// The kernel counted creations by this code.
    Counted,
    /// A thread was seen inside the creation.
    Seen,
    /// It fits what was seen; see the evidence.
    Inferred,
}

impl How {
    /// The same word as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Seen => "seen",
            Self::Inferred => "inferred",
        }
    }
}

/// Code that creates threads.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Cause {
    /// How it was found.
    pub how: How,
    /// Source file, escaped, where it is known.
    pub file: Option<Text>,
    /// Line in it, counted from 1.
    pub line: Option<u32>,
    /// That line, escaped, where it could be read.
    pub code: Option<Text>,
    /// Function, escaped.
    pub function: Option<Text>,
    /// Program or library that the function is in, escaped; for machine code.
    pub module: Option<Text>,
    /// Offset in that file; for machine code.
    pub offset: Option<u64>,
    /// Build id of that file, hexadecimal.
    pub build_id: Option<String>,
    /// Threads created by it, as the kernel counted.
    pub count: Option<u64>,
    /// The same as a share of all that were counted, 0 to 1.
    pub share: Option<f64>,
    /// The count was shared out by samples, because stacks could not be told apart by frame pointers.
    pub estimated: bool,
    /// What speaks for it, escaped.
    pub evidence: Vec<String>,
}

/// A known pattern that makes threads without bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Hint {
    /// Name of the pattern, such as `executor-per-call`.
    pub name: String,
    /// Source file where it stands, escaped; where that is known.
    pub file: Option<Text>,
    /// Line in it, counted from 1.
    pub line: Option<u32>,
    /// Function that it is in, escaped.
    pub function: Option<Text>,
    /// What was counted or seen, escaped.
    pub evidence: Vec<String>,
}

/// Threads of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NameGroup {
    /// The name, escaped; numbers in it are `N`.
    pub name: Text,
    /// How many.
    pub count: u32,
}

/// Threads with the same frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StackGroup {
    /// How many.
    pub count: u32,
    /// The frames, innermost first; at most twelve.
    pub frames: Vec<StackFrame>,
}

/// Creations with the same stack.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CreatorGroup {
    /// Threads created.
    pub count: u64,
    /// The same as a share of all that were counted, 0 to 1.
    pub share: f64,
    /// Threads refused.
    pub refused: u64,
    /// The count was shared out by samples.
    pub estimated: bool,
    /// The frames, innermost first.
    pub frames: Vec<StackFrame>,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
pub struct StackFrame {
    /// Function, escaped; empty when it has no name.
    pub function: Text,
    /// Source file, escaped.
    pub file: Option<Text>,
    /// Line in it.
    pub line: Option<u32>,
    /// Program or library, escaped; for machine code.
    pub module: Option<Text>,
    /// Offset in that file.
    pub offset: Option<u64>,
    /// Build id of that file, hexadecimal.
    pub build_id: Option<String>,
}

/// What the kernel counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counted {
    /// Creations above the floor.
    pub creations: u64,
    /// Creations whose stack was not kept.
    pub unkept: u64,
    /// Stacks that were sampled whole.
    pub samples: u64,
}

/// The state after the look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Now {
    /// Threads.
    pub threads: u32,
}

/// How the look went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Work {
    /// How long it took, ms.
    pub took_ms: u64,
    /// How long the process was stopped for it, ms. It is read as it runs, so this is 0.
    pub stopped_ms: u64,
    /// Looks at its frames.
    pub looks: u32,
    /// What was left out or could not be done, escaped.
    pub cut: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_described_in_words() {
        let schema = schemars::schema_for!(Diagnosis);
        let root = schema.as_value();
        let definitions = root["$defs"].as_object().unwrap();
        for (name, definition) in
            definitions.iter().map(|(name, it)| (name.as_str(), it)).chain([("root", root)])
        {
            let properties = definition["properties"].as_object();
            for (property, value) in properties.into_iter().flatten() {
                assert!(value.get("description").is_some(), "{name}.{property}");
            }
        }
        assert!(definitions.contains_key("Hint"));
    }
}
