//! Calls: a dotted name before an opening bracket.

use super::{
    clean::CodeLine,
    scopes::{Function, innermost},
};

/// Longest argument text that is kept, bytes.
const MAX_ARGS: usize = 4096;
/// Words that stand before brackets and are no calls.
const KEYWORDS: [&str; 22] = [
    "and", "as", "assert", "await", "class", "def", "del", "elif", "except", "for", "from", "if", "in", "is",
    "lambda", "not", "or", "print", "return", "while", "with", "yield",
];

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What is called, dotted: `threading.Thread`. Of what is called on a result only the end: `.start`.
    pub name: String,
    /// Its arguments as they are written, without what is in strings.
    pub args: String,
    /// Its line.
    pub line: u32,
    /// Line of its closing bracket.
    pub end: u32,
    /// The innermost function that it is in; `None` at the top level of the file.
    pub function: Option<usize>,
    /// What its result is bound to, dotted, if it is; by `=` or by `as`.
    pub bound: Option<String>,
    /// It stands below a `for` or `while` of its function, or in a comprehension.
    pub in_loop: bool,
}

impl Call {
    /// The last part of its name.
    pub fn last(&self) -> &str {
        super::last_part(&self.name)
    }

    /// What it is called on, dotted.
    pub fn receiver(&self) -> Option<&str> {
        self.name.rsplit_once('.').map(|(receiver, _)| receiver).filter(|it| !it.is_empty())
    }

    /// The argument of a keyword.
    pub fn keyword(&self, wanted: &str) -> Option<&str> {
        arguments(&self.args).find_map(|part| {
            let (name, value) = part.split_once('=')?;
            (name.trim() == wanted).then(|| value.trim())
        })
    }

    /// An argument without a keyword, by its place.
    pub fn positional(&self, index: usize) -> Option<&str> {
        arguments(&self.args).filter(|part| !is_keyword(part)).nth(index).map(str::trim)
    }
}

fn is_keyword(part: &str) -> bool {
    part.split_once('=').is_some_and(|(name, rest)| {
        !rest.starts_with('=') && name.trim().chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
    })
}

/// Splits at the commas that are within no brackets.
fn arguments(args: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    args.split(move |c: char| {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
    .filter(|part| !part.trim().is_empty())
}

pub(super) fn calls(code: &[CodeLine], functions: &[Function]) -> Vec<Call> {
    let loops = loops(code);
    let mut calls = Vec::new();
    let mut statement = 0;
    for (index, line) in code.iter().enumerate() {
        if !line.goes_on {
            statement = index;
        }
        let text = line.text.as_str();
        for (column, _) in text.match_indices('(') {
            let Some(name) = name_before(&text[..column]) else {
                continue;
            };
            let number = index as u32 + 1;
            let (args, end) = arguments_of(code, index, column + 1);
            let function = innermost(functions, number);
            calls.push(Call {
                bound: bound(&code[statement].text, text, column - name.len()),
                in_loop: loops[index] || args_loop(code, statement, index),
                name: name.to_owned(),
                args,
                line: number,
                end,
                function,
            });
        }
    }
    calls
}

/// The dotted name that a text ends with.
fn name_before(text: &str) -> Option<&str> {
    let trimmed = text.trim_end();
    let is_part = |c: char| c == '.' || c == '_' || c.is_ascii_alphanumeric();
    let start = trimmed.rfind(|c: char| !is_part(c)).map_or(0, |at| at + 1);
    let name = &trimmed[start..];
    let word = text[..start].trim_end();
    let is_definition = ["def", "class"].iter().any(|keyword| word.ends_with(keyword));
    let is_name = !name.is_empty()
        && name != "."
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !KEYWORDS.contains(&name)
        && !is_definition;
    is_name.then_some(name)
}

/// What stands between a bracket and the one that closes it, and the line of that one.
fn arguments_of(code: &[CodeLine], first: usize, column: usize) -> (String, u32) {
    let mut args = String::new();
    let mut depth = 1;
    for (index, line) in code.iter().enumerate().skip(first) {
        let from = if index == first { column } else { 0 };
        if index > first && !line.goes_on {
            break;
        }
        for c in line.text[from..].chars() {
            match c {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return (args, index as u32 + 1);
            }
            if args.len() < MAX_ARGS {
                args.push(c);
            }
        }
        args.push(' ');
    }
    (args, first as u32 + 1)
}

/// What a statement binds the value of the call to that begins at `column` of `line`.
fn bound(statement: &str, line: &str, column: usize) -> Option<String> {
    // `with F() as name:`
    if let Some((_, after)) = line.get(column..)?.split_once(") as ") {
        let name = super::scopes::dotted(after);
        return (!name.is_empty()).then(|| name.to_owned());
    }
    let (target, value) = statement.split_once('=')?;
    if value.starts_with('=') || target.contains('(') {
        return None;
    }
    let target = target.split(':').next()?.trim();
    let is_name = target.chars().all(|c| c == '.' || c == '_' || c.is_ascii_alphanumeric());
    (is_name && !target.is_empty()).then(|| target.to_owned())
}

/// Which lines stand below a `for` or `while` of the same function.
fn loops(code: &[CodeLine]) -> Vec<bool> {
    let mut open: Vec<(usize, bool)> = Vec::new();
    let mut all = Vec::with_capacity(code.len());
    for line in code {
        let text = line.text.trim();
        if !text.is_empty() && !line.goes_on {
            let indent = line.indent();
            while open.last().is_some_and(|(at, _)| *at >= indent) {
                open.pop();
            }
            let starts = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
            if starts(&["for ", "while ", "while(", "async for "]) {
                open.push((indent, true));
                // The head itself runs in each round, too.
                all.push(true);
                continue;
            }
            if starts(&["def ", "async def ", "class "]) {
                open.push((indent, false));
            }
        }
        all.push(open.last().is_some_and(|(_, is_loop)| *is_loop));
    }
    all
}

/// Whether a statement has a comprehension in it.
fn args_loop(code: &[CodeLine], statement: usize, line: usize) -> bool {
    code[statement..=line].iter().any(|line| {
        let text = line.text.trim_start();
        !text.starts_with("for ") && text.contains(" for ") && text.contains(" in ")
    })
}

#[cfg(test)]
mod tests {
    use super::{super::Module, *};

    fn scan(code: &str) -> Vec<Call> {
        Module::scan(code).calls
    }

    #[test]
    fn calls_have_their_whole_name_and_arguments() {
        let calls =
            scan("t = threading.Thread(target=work, args=(1,\n  2)).start()\nif (a): f (b)\ndef g(x): pass");
        let named: Vec<_> = calls.iter().map(|it| (it.name.as_str(), it.line, it.end)).collect();
        assert_eq!(named, [("threading.Thread", 1, 2), (".start", 2, 2), ("f", 3, 3)]);
        assert_eq!(calls[0].keyword("target"), Some("work"));
        assert_eq!(calls[0].keyword("args"), Some("(1,   2)"));
        assert_eq!(calls[2].positional(0), Some("b"));
    }

    #[test]
    fn a_result_is_bound_by_name() {
        let bound = |code: &str| scan(code)[0].bound.clone();
        assert_eq!(bound("self.pool = Pool(4)").as_deref(), Some("self.pool"));
        assert_eq!(bound("with Pool(4) as pool:").as_deref(), Some("pool"));
        assert_eq!(bound("x: Pool = Pool()").as_deref(), Some("x"));
        assert_eq!(bound("Pool(a=1)"), None);
    }

    #[test]
    fn loops_end_with_their_function() {
        let code = "while True:\n    a()\n    def f():\n        b()\nc()\n[d() for x in y]\n";
        assert_eq!(scan(code).iter().map(|it| it.in_loop).collect::<Vec<_>>(), [true, false, false, true]);
    }

    #[test]
    fn positional_arguments_are_counted_without_keywords() {
        let calls = scan("loop.run_in_executor(None, f, g(1, 2), k=3)");
        assert_eq!(calls[0].positional(1), Some("f"));
        assert_eq!(calls[0].positional(2), Some("g(1, 2)"));
        assert_eq!(calls[0].positional(3), None);
    }
}
