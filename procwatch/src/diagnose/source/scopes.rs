//! Functions and classes by indentation.

use super::clean::CodeLine;

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its own name.
    pub name: String,
    /// As Python names it: `Class.method`, `outer.<locals>.inner`.
    pub qualname: String,
    /// Line of its `def`, counted from 1.
    pub def: u32,
    /// Its last line.
    pub end: u32,
    /// Names of its decorators, dotted.
    pub decorators: Vec<String>,
    /// The class that it is a method of.
    pub class: Option<String>,
}

/// A class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its own name.
    pub name: String,
    /// Names of its bases, dotted.
    pub bases: Vec<String>,
    /// Line of its `class`.
    pub line: u32,
    /// Its last line.
    pub end: u32,
}

#[derive(Debug, Default)]
pub(super) struct Scopes {
    pub(super) functions: Vec<Function>,
    pub(super) classes: Vec<Class>,
    pub(super) imports: Vec<String>,
}

/// A block that is open.
struct Open {
    indent: usize,
    part: String,
    is_class: bool,
    /// Its place in the list of its kind.
    index: usize,
}

pub(super) fn innermost(functions: &[Function], line: u32) -> Option<usize> {
    let holds = |function: &Function| (function.def..=function.end).contains(&line);
    let all = functions.iter().enumerate().filter(|(_, function)| holds(function));
    all.max_by_key(|(_, function)| function.def).map(|(index, _)| index)
}

pub(super) fn scopes(code: &[CodeLine]) -> Scopes {
    let mut scopes = Scopes::default();
    let mut open: Vec<Open> = Vec::new();
    let mut decorators = Vec::new();
    let mut last = 0;
    for (index, line) in code.iter().enumerate() {
        let number = index as u32 + 1;
        let text = line.text.trim();
        if text.is_empty() {
            continue;
        }
        if line.goes_on {
            last = number;
            continue;
        }
        let indent = line.indent();
        while open.last().is_some_and(|block| block.indent >= indent) {
            close(&mut scopes, &mut open, last);
        }
        last = number;
        if let Some(decorator) = text.strip_prefix('@') {
            decorators.push(dotted(decorator).to_owned());
            continue;
        }
        let decorators = std::mem::take(&mut decorators);
        if let Some(rest) = text.strip_prefix("async def ").or_else(|| text.strip_prefix("def ")) {
            open_function(&mut scopes, &mut open, indent, (number, dotted(rest.trim())), decorators);
        } else if let Some(rest) = text.strip_prefix("class ") {
            let bases = bases(&logical(code, index));
            open_class(&mut scopes, &mut open, indent, (number, dotted(rest.trim())), bases);
        } else {
            import(text, &mut scopes.imports);
        }
    }
    while !open.is_empty() {
        close(&mut scopes, &mut open, last);
    }
    scopes
}

fn close(scopes: &mut Scopes, open: &mut Vec<Open>, last: u32) {
    match open.pop() {
        Some(block) if block.is_class => scopes.classes[block.index].end = last,
        Some(block) => scopes.functions[block.index].end = last,
        None => {}
    }
}

fn open_function(
    scopes: &mut Scopes,
    open: &mut Vec<Open>,
    indent: usize,
    (def, name): (u32, &str),
    decorators: Vec<String>,
) {
    let mut qualname = String::new();
    for block in open.iter() {
        qualname.push_str(&block.part);
        qualname.push_str(if block.is_class { "." } else { ".<locals>." });
    }
    qualname.push_str(name);
    let class = open.last().filter(|block| block.is_class).map(|block| block.part.clone());
    let index = scopes.functions.len();
    scopes.functions.push(Function { name: name.to_owned(), qualname, def, end: def, decorators, class });
    open.push(Open { indent, part: name.to_owned(), is_class: false, index });
}

fn open_class(
    scopes: &mut Scopes,
    open: &mut Vec<Open>,
    indent: usize,
    (line, name): (u32, &str),
    bases: Vec<String>,
) {
    let index = scopes.classes.len();
    scopes.classes.push(Class { name: name.to_owned(), bases, line, end: line });
    open.push(Open { indent, part: name.to_owned(), is_class: true, index });
}

/// The dotted name that a text begins with.
pub(super) fn dotted(text: &str) -> &str {
    let end = text.find(|c: char| c != '.' && c != '_' && !c.is_ascii_alphanumeric());
    &text[..end.unwrap_or(text.len())]
}

/// A line with those that go on from it.
fn logical(code: &[CodeLine], first: usize) -> String {
    let rest = code[first + 1..].iter().take_while(|line| line.goes_on);
    let mut text = code[first].text.clone();
    rest.for_each(|line| text.push_str(&line.text));
    text
}

/// What stands in the brackets of a `class` line, without keywords.
fn bases(text: &str) -> Vec<String> {
    let Some((_, rest)) = text.split_once('(') else {
        return Vec::new();
    };
    let inner = rest.rsplit_once(')').map_or(rest, |(inner, _)| inner);
    let parts = inner.split(',').map(str::trim).filter(|part| !part.contains('='));
    parts.map(dotted).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn import(text: &str, imports: &mut Vec<String>) {
    if let Some(rest) = text.strip_prefix("import ") {
        imports.extend(rest.split(',').map(|part| dotted(part.trim()).to_owned()));
    } else if let Some(rest) = text.strip_prefix("from ")
        && let Some((from, names)) = rest.split_once(" import ")
    {
        let from = dotted(from.trim());
        imports.push(from.to_owned());
        // What is imported may be a module itself.
        let names = names.trim().trim_matches(['(', ')']).split(',').map(|part| dotted(part.trim()));
        let dot = if from.ends_with('.') { "" } else { "." };
        imports.extend(names.filter(|name| !name.is_empty()).map(|name| format!("{from}{dot}{name}")));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::clean::clean, *};

    const CODE: &str = "\
import os, sys as system
from . import near
from app.pool import (run,
                      stop)

class A(threading.Thread, metaclass=M):
    @staticmethod
    @app.route('/')
    def run(self):
        def inner():
            pass

        return inner

async def main():
    f(
1)
x = 1
";

    #[test]
    fn functions_have_the_names_that_python_gives_them() {
        let scopes = scopes(&clean(CODE));
        let named: Vec<_> =
            scopes.functions.iter().map(|it| (it.qualname.as_str(), it.def, it.end)).collect();
        assert_eq!(named, [("A.run", 9, 13), ("A.run.<locals>.inner", 10, 11), ("main", 15, 17)]);
        assert_eq!(scopes.functions[0].decorators, ["staticmethod", "app.route"]);
        assert_eq!(scopes.functions[0].class.as_deref(), Some("A"));
        assert_eq!(scopes.functions[1].class, None);
        let class = Class { name: "A".into(), bases: vec!["threading.Thread".into()], line: 6, end: 13 };
        assert_eq!(scopes.classes, [class]);
    }

    #[test]
    fn the_innermost_function_counts() {
        let functions = scopes(&clean(CODE)).functions;
        assert_eq!(
            [9, 11, 13, 16, 18].map(|line| innermost(&functions, line)),
            [Some(0), Some(1), Some(0), Some(2), None]
        );
    }

    #[test]
    fn imports_are_listed() {
        let found = scopes(&clean(CODE)).imports;
        assert_eq!(found, ["os", "sys", ".", ".near", "app.pool", "app.pool.run"]);
    }
}
