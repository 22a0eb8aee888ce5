//! Python source as the text that it is: its functions, classes and calls, by a scanner that runs nothing of it.
//!
//! It is no parser. It knows strings, comments, brackets, indentation and names, which is enough to say which call
//! stands in which function. What it does not understand it passes over.

mod calls;
mod clean;
mod creations;
mod scopes;

pub use self::{
    calls::Call,
    creations::{Creation, Kind},
    scopes::{Class, Function},
};

/// Longest file that is read, bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// One file, scanned.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// Its lines as they are.
    pub lines: Vec<String>,
    /// Functions, in the order of their first lines.
    pub functions: Vec<Function>,
    /// Classes, in the same order.
    pub classes: Vec<Class>,
    /// Calls, in the order of their first lines.
    pub calls: Vec<Call>,
    /// Those calls, and those classes, that make threads.
    pub creations: Vec<Creation>,
    /// Modules that it imports, dotted; relative ones begin with dots.
    pub imports: Vec<String>,
}

impl Module {
    /// Scans a file.
    pub fn scan(text: &str) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let code = clean::clean(text);
        let scopes::Scopes { functions, classes, imports } = scopes::scopes(&code);
        let calls = calls::calls(&code, &functions);
        let creations = creations::creations(&calls, &classes, &functions);
        Self { lines, functions, classes, calls, creations, imports }
    }

    /// A line as it is written, without its indentation; counted from 1.
    pub fn line(&self, number: u32) -> Option<&str> {
        self.lines.get((number as usize).checked_sub(1)?).map(|line| line.trim())
    }

    /// The innermost function that has this line.
    pub fn function_at(&self, line: u32) -> Option<usize> {
        scopes::innermost(&self.functions, line)
    }

    /// Functions by the last part of their name.
    pub fn functions_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.functions
            .iter()
            .enumerate()
            .filter(move |(_, function)| function.name == name)
            .map(|(index, _)| index)
    }

    /// Calls that stand in a function itself, not in one nested in it; `None` for the file's top level.
    pub fn calls_in(&self, function: Option<usize>) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.function == function)
    }
}

/// The last part of a dotted name.
pub fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
