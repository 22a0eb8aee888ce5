//! What may be run by a shared executor: tasks that end by themselves, and need no other task of it to be run.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    NoPatch,
    syntax::{Id, ROOT, Role, Syntax},
};

/// Checks what `submissions`, calls in `function`, submit, and all functions of this source that it may reach.
pub(super) fn check(syntax: &Syntax<'_>, function: Id, submissions: &[Id]) -> Result<(), NoPatch> {
    let definitions = definitions(syntax);
    let mut reach = Reach { syntax, definitions: &definitions, seen: BTreeSet::new(), next: Vec::new() };
    for submission in submissions {
        let task = task_of(syntax, *submission).ok_or(NoPatch::TaskUnknown)?;
        if !is_known(syntax, task, &definitions) {
            return Err(NoPatch::TaskUnknown);
        }
        // What the task is handed it may call back.
        reach.note_names(syntax.field(*submission, "arguments").ok_or(NoPatch::TaskUnknown)?);
        if syntax.kind(task) == "lambda" {
            reach.look_at(task)?;
        }
    }
    while let Some(definition) = reach.next.pop() {
        reach.look_at(definition)?;
    }
    let name = syntax.name_of(function).ok_or(NoPatch::UnknownForm)?;
    if reach.seen.contains(name) { Err(NoPatch::TaskReenters) } else { Ok(()) }
}

/// Functions and classes of the source by their names.
type Definitions<'t> = BTreeMap<&'t str, Vec<Id>>;

fn definitions<'t>(syntax: &Syntax<'t>) -> Definitions<'t> {
    let mut found = Definitions::new();
    for at in syntax.within(ROOT) {
        if matches!(syntax.kind(at), "function_definition" | "class_definition")
            && let Some(name) = syntax.name_of(at)
        {
            found.entry(name).or_default().push(at);
        }
    }
    found
}

/// What a call of `submit`, `map` or `run_in_executor` runs.
fn task_of(syntax: &Syntax<'_>, submission: Id) -> Option<Id> {
    let attribute = syntax.field(submission, "function")?;
    let method = syntax.text(syntax.field(attribute, "attribute")?);
    let place = usize::from(method == "run_in_executor");
    let task = syntax.parts(syntax.field(submission, "arguments")?).nth(place)?;
    (syntax.kind(task) != "keyword_argument").then_some(task)
}

/// A function of this source, of an imported module, or a builtin one.
fn is_known(syntax: &Syntax<'_>, task: Id, definitions: &Definitions<'_>) -> bool {
    match syntax.kind(task) {
        "lambda" => true,
        "identifier" => {
            let name = syntax.text(task);
            let mut bindings = syntax.mentions(name, ROOT).filter(|at| syntax.role(*at) == Role::Bound);
            let Some(binding) = bindings.next() else { return !syntax.has_wildcard_import() };
            let by_definition = definitions.get(name).is_some_and(|all| {
                all.len() == 1 && syntax.field(all[0], "name") == Some(binding) && bindings.next().is_none()
            });
            by_definition || syntax.import_of(name).is_some()
        }
        "attribute" => {
            let Some((root, rest)) = syntax.text(task).split_once('.') else { return false };
            let own_method =
                matches!(root, "self" | "cls") && definitions.get(rest).is_some_and(|all| all.len() == 1);
            own_method || syntax.import_of(root).is_some()
        }
        _ => false,
    }
}

/// The functions that tasks may reach by their names.
struct Reach<'s, 't> {
    syntax: &'s Syntax<'t>,
    definitions: &'s Definitions<'t>,
    seen: BTreeSet<&'t str>,
    next: Vec<Id>,
}

impl Reach<'_, '_> {
    /// Attributes as well: any object may be of a class of this source.
    fn note_names(&mut self, place: Id) {
        for at in self.syntax.within(place).filter(|at| self.syntax.kind(*at) == "identifier") {
            if let Some((name, all)) = self.definitions.get_key_value(self.syntax.text(at))
                && self.seen.insert(name)
            {
                self.next.extend(all);
            }
        }
    }

    fn look_at(&mut self, place: Id) -> Result<(), NoPatch> {
        self.note_names(place);
        let syntax = self.syntax;
        for at in syntax.within(place) {
            match syntax.kind(at) {
                "call" if waits(syntax, at) => return Err(NoPatch::TaskWaits),
                "while_statement" if never_ends(syntax, at) => return Err(NoPatch::TaskWaits),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether a call waits for something that another task may have to do.
fn waits(syntax: &Syntax<'_>, call: Id) -> bool {
    let Some(function) = syntax.field(call, "function") else { return false };
    let name =
        syntax.field(function, "attribute").map_or_else(|| syntax.text(function), |it| syntax.text(it));
    let without_arguments =
        || syntax.field(call, "arguments").is_some_and(|it| syntax.parts(it).next().is_none());
    match name {
        "result" | "wait" | "wait_for" | "acquire" | "as_completed" | "getattr" | "eval" | "exec"
        | "globals" => true,
        // Of a queue or a thread; a dictionary and a text give arguments to theirs.
        "get" | "join" => without_arguments(),
        _ => false,
    }
}

/// `while True:` that nothing leaves.
fn never_ends(syntax: &Syntax<'_>, statement: Id) -> bool {
    let forever =
        syntax.field(statement, "condition").is_some_and(|it| matches!(syntax.text(it), "True" | "1"));
    let leaves = |at| matches!(syntax.kind(at), "break_statement" | "return_statement" | "raise_statement");
    forever && !syntax.within(statement).any(leaves)
}
