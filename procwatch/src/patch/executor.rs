//! `ThreadPoolExecutor(...)` made in each call of a function: each call starts threads of its own. It becomes one executor
//! for all calls, made at the first one.
//!
//! Why it means the same: each call gets an executor with the same arguments, and submits the same tasks to it. Where the
//! call is the context of a `with` block, leaving the block waited for the tasks; then a small executor of the block's own
//! passes them on, and waits for exactly those. What is no longer the same is how many run at once: that is what the
//! change is for, and it is remarked. It is refused where a task could wait for a worker that waits for it.

use super::{
    Finding, NoPatch,
    source::{Change, line_end, line_start},
    syntax::{Id, ROOT, Role, Syntax},
    tasks,
};

const EXECUTOR: &str = "concurrent.futures.ThreadPoolExecutor";
/// With one of these a source tells its threads apart.
const THREAD_NAMES: [&str; 5] = ["local", "current_thread", "get_ident", "get_native_id", "_thread"];
/// Stands for the call that makes the executor, until all else of a definition is as the source wants it.
const CALL: char = '\u{1}';
/// Deepest nesting of an argument.
const MOST_DEPTH: usize = 8;

pub(super) fn rewrite(syntax: &Syntax<'_>, finding: &Finding) -> Result<Change, NoPatch> {
    let made = Made::find(syntax, finding)?;
    made.check_arguments()?;
    if THREAD_NAMES.iter().any(|name| syntax.has_name(name)) {
        return Err(NoPatch::ThreadsMatter);
    }
    tasks::check(syntax, made.function, &made.submissions)?;
    let names = Names::free(syntax, syntax.name_of(made.function).ok_or(NoPatch::UnknownForm)?)?;
    let mut change = Change::default();
    made.import(&mut change)?;
    made.define(&names, &mut change)?;
    let call = if made.waits {
        format!("{}({}())", names.tasks, names.shared)
    } else {
        format!("{}()", names.shared)
    };
    change.replace(syntax.bytes(made.call), call);
    change.remarks.push("all calls share one executor, so no more tasks run at once than it has workers");
    Ok(change)
}

/// The executor that is made in each call.
struct Made<'s, 't> {
    syntax: &'s Syntax<'t>,
    function: Id,
    /// `ThreadPoolExecutor(...)`.
    call: Id,
    /// It is the context of a `with` block.
    waits: bool,
    /// Calls of `submit`, `map` or `run_in_executor` that use it.
    submissions: Vec<Id>,
}

impl<'s, 't> Made<'s, 't> {
    /// The one that is made, or used, on the line of the frame.
    fn find(syntax: &'s Syntax<'t>, finding: &Finding) -> Result<Self, NoPatch> {
        let calls = syntax.within(ROOT).filter(|at| is_executor(syntax, *at));
        let (mut found, mut refused) = (None, None);
        for call in calls {
            let Some(function) = syntax.function_of(call) else {
                let here = syntax.is_on(call, finding.line);
                refused = refused.or(here.then_some(NoPatch::NotPerCall));
                continue;
            };
            if !syntax.is_function_of(finding, function) || !syntax.is_on(function, finding.line) {
                continue;
            }
            let made = Self::of(syntax, function, call);
            let uses = made.as_ref().map(|made| made.submissions.as_slice()).unwrap_or_default();
            let here =
                syntax.is_on(call, finding.line) || uses.iter().any(|at| syntax.is_on(*at, finding.line));
            match made {
                Err(reason) => refused = Some(reason),
                Ok(_) if here && found.is_some() => return Err(NoPatch::Ambiguous),
                Ok(made) if here => found = Some(made),
                Ok(_) => {}
            }
        }
        found.ok_or(refused.unwrap_or(NoPatch::NotThere))
    }

    fn of(syntax: &'s Syntax<'t>, function: Id, call: Id) -> Result<Self, NoPatch> {
        let callee = syntax.field(call, "function").ok_or(NoPatch::UnknownForm)?;
        if !syntax.is_library(callee, EXECUTOR) {
            return Err(NoPatch::Rebound);
        }
        syntax.check_plain_names(function)?;
        let mut made = Self { syntax, function, call, waits: false, submissions: Vec::new() };
        made.follow()?;
        Ok(made)
    }

    /// Follows the executor from where it is made to all of its uses.
    fn follow(&mut self) -> Result<(), NoPatch> {
        let syntax = self.syntax;
        let parent = syntax.parent(self.call).ok_or(NoPatch::UnknownForm)?;
        match syntax.kind(parent) {
            "as_pattern" => {
                let item = syntax.parent(parent).filter(|at| syntax.kind(*at) == "with_item");
                let block = syntax
                    .ancestors(item.ok_or(NoPatch::UnknownForm)?)
                    .find(|at| syntax.kind(*at) == "with_statement");
                let block = block.filter(|at| !syntax.has_word(*at, "async")).ok_or(NoPatch::UnknownForm)?;
                let target = syntax.field(parent, "alias").and_then(|it| syntax.parts(it).next());
                let body = syntax.field(block, "body").ok_or(NoPatch::UnknownForm)?;
                self.waits = true;
                // A callback runs before the worker ends, but maybe after the task counts as done.
                if syntax.within(self.function).any(|at| syntax.text(at) == "add_done_callback") {
                    return Err(NoPatch::TaskWaits);
                }
                self.follow_variable(target.ok_or(NoPatch::UnknownForm)?, body)
            }
            "assignment" if syntax.field(parent, "type").is_none() => {
                let target = syntax.field(parent, "left").ok_or(NoPatch::UnknownForm)?;
                self.follow_variable(target, self.function)
            }
            _ => {
                let submission = self.submission(self.call)?;
                self.submissions.push(submission);
                Ok(())
            }
        }
    }

    /// The variable is bound here alone, and used in `within` alone, to submit.
    fn follow_variable(&mut self, target: Id, within: Id) -> Result<(), NoPatch> {
        let syntax = self.syntax;
        if syntax.kind(target) != "identifier" {
            return Err(NoPatch::ExecutorEscapes);
        }
        for at in syntax.mentions(syntax.text(target), self.function).filter(|at| *at != target) {
            let known = syntax.contains(within, at) && syntax.role(at) == Role::Read;
            let submission = if known { self.submission(at) } else { Err(NoPatch::ExecutorEscapes) };
            self.submissions.push(submission?);
        }
        if self.submissions.is_empty() { Err(NoPatch::UnknownForm) } else { Ok(()) }
    }

    /// The call that submits to the executor, where the executor stands at `at`.
    fn submission(&self, at: Id) -> Result<Id, NoPatch> {
        let syntax = self.syntax;
        let parent = syntax.parent(at).ok_or(NoPatch::ExecutorEscapes)?;
        let called = |function| {
            syntax.parent(function).filter(|call| syntax.field(*call, "function") == Some(function))
        };
        let name = |attribute| syntax.field(attribute, "attribute").map(|it| syntax.text(it));
        let call = match syntax.kind(parent) {
            "attribute" if matches!(name(parent), Some("submit" | "map")) => called(parent),
            "argument_list" if syntax.parts(parent).next() == Some(at) => {
                syntax.parent(parent).filter(|call| {
                    let function =
                        syntax.field(*call, "function").filter(|it| syntax.kind(*it) == "attribute");
                    function.and_then(name) == Some("run_in_executor")
                })
            }
            _ => None,
        };
        call.ok_or(NoPatch::ExecutorEscapes)
    }

    /// They are what the executor is known to take, and the same in each call.
    fn check_arguments(&self) -> Result<(), NoPatch> {
        let syntax = self.syntax;
        let arguments = syntax.field(self.call, "arguments").ok_or(NoPatch::UnknownForm)?;
        if syntax.kind(arguments) != "argument_list" || syntax.text(arguments).contains(['\n', '#']) {
            return Err(NoPatch::UnknownForm);
        }
        for (index, argument) in syntax.parts(arguments).enumerate() {
            let (known, value) = match syntax.kind(argument) {
                "keyword_argument" => {
                    let name = syntax.field(argument, "name").map(|it| syntax.text(it));
                    let known = matches!(name, Some("max_workers" | "thread_name_prefix"));
                    (known, syntax.field(argument, "value").ok_or(NoPatch::UnknownForm)?)
                }
                _ => (index < 2, argument),
            };
            if !known || !is_constant(syntax, value, 0) {
                return Err(NoPatch::NotConstant);
            }
        }
        Ok(())
    }

    /// Imports what the definitions need beside the module's first import.
    fn import(&self, change: &mut Change) -> Result<(), NoPatch> {
        let (syntax, text) = (self.syntax, self.syntax.source());
        let is_import = |at: &Id| matches!(syntax.kind(*at), "import_statement" | "import_from_statement");
        let first = syntax.children(ROOT).find(is_import).ok_or(NoPatch::UnknownForm)?;
        let at = syntax.bytes(first).start;
        if line_start(text, at) != at {
            return Err(NoPatch::UnknownForm);
        }
        let mut needed = vec!["os"];
        if self.waits {
            needed.insert(0, "concurrent.futures");
        }
        for module in needed {
            let (root, _) = module.split_once('.').unwrap_or((module, ""));
            let imported = syntax.import_whole(module).filter(|_| syntax.import_of(root).is_some());
            // An import that comes later may be too late for the first call, and one more does no harm.
            if imported.is_some_and(|import| import < self.function) {
                continue;
            }
            if imported.is_none() && syntax.mentions(root, ROOT).next().is_some() {
                return Err(NoPatch::Rebound);
            }
            change.insert(at, format!("import {module}{}", line_end(text, at)));
        }
        Ok(())
    }

    /// Defines the shared executor before the statement of the module that has the function in it.
    fn define(&self, names: &Names, change: &mut Change) -> Result<(), NoPatch> {
        let (syntax, text) = (self.syntax, self.syntax.source());
        let statement = syntax.ancestors(self.function).filter(|at| *at != ROOT).last();
        let at = syntax.bytes(statement.unwrap_or(self.function)).start;
        if line_start(text, at) != at {
            return Err(NoPatch::UnknownForm);
        }
        let mut lines = names.definition();
        if self.waits {
            lines += &names.waiting();
        }
        let (unit, end) = (indent_unit(syntax, self.function), line_end(text, at));
        let lines = lines.replace("    ", unit.ok_or(NoPatch::UnknownForm)?).replace('\n', end);
        let lines = lines.replace(CALL, syntax.text(self.call));
        change.insert(syntax.before_comments(at, ""), lines);
        Ok(())
    }
}

/// Whether a node is a call of something named as the executor.
fn is_executor(syntax: &Syntax<'_>, at: Id) -> bool {
    let Some(function) = syntax.field(at, "function").filter(|_| syntax.kind(at) == "call") else {
        return false;
    };
    let last = syntax.text(function).rsplit('.').next().unwrap_or_default();
    last == "ThreadPoolExecutor" || (last.len() > 1 && syntax.is_library(function, EXECUTOR))
}

/// One step of indentation: how far the function's body stands in.
fn indent_unit<'t>(syntax: &Syntax<'t>, function: Id) -> Option<&'t str> {
    let text = syntax.source();
    let lead = |at: Id| {
        let start = syntax.bytes(at).start;
        let lead = &text[line_start(text, start)..start];
        lead.len() - lead.trim_start_matches([' ', '\t']).len()
    };
    let first = syntax.parts(syntax.field(function, "body")?).next()?;
    let start = syntax.bytes(first).start;
    let inner = super::source::indentation(text, start)?;
    inner.get(lead(function)..).filter(|unit| !unit.is_empty())
}

/// Whether an expression has the same value whenever it is asked for.
fn is_constant(syntax: &Syntax<'_>, value: Id, depth: usize) -> bool {
    if depth > MOST_DEPTH {
        return false;
    }
    let all = || syntax.parts(value).all(|part| is_constant(syntax, part, depth + 1));
    match syntax.kind(value) {
        "integer" | "float" | "none" | "true" | "false" => true,
        "string" => syntax.plain_string(value).is_some(),
        "parenthesized_expression"
        | "binary_operator"
        | "boolean_operator"
        | "unary_operator"
        | "argument_list" => all(),
        "identifier" => is_constant_of_module(syntax, value, depth),
        "call" => {
            let function = syntax.field(value, "function");
            let arguments = syntax.field(value, "arguments");
            let known = function.is_some_and(|it| {
                let builtin = ["min", "max"].contains(&syntax.text(it));
                let free = || syntax.mentions(syntax.text(it), ROOT).all(|at| syntax.role(at) == Role::Read);
                syntax.is_library(it, "os.cpu_count") || (builtin && free())
            });
            known && arguments.is_some_and(|it| is_constant(syntax, it, depth + 1))
        }
        _ => false,
    }
}

/// `WORKERS = 4` at the module's top, and never anything else.
fn is_constant_of_module(syntax: &Syntax<'_>, name: Id, depth: usize) -> bool {
    let text = syntax.text(name);
    let assignment = syntax.mentions(text, ROOT).find_map(|at| {
        let assignment = syntax.parent(at).filter(|it| syntax.field(*it, "left") == Some(at))?;
        let statement = syntax.parent(assignment).filter(|_| syntax.kind(assignment) == "assignment")?;
        (syntax.parent(statement) == Some(ROOT)).then_some((at, assignment))
    });
    assignment.is_some_and(|(target, assignment)| {
        let value = syntax.field(assignment, "right");
        syntax.is_bound_once(text, target) && value.is_some_and(|it| is_constant(syntax, it, depth + 1))
    })
}

/// What the shared executor's parts are called.
struct Names {
    /// The function that gives it.
    shared: String,
    /// Where it is kept.
    kept: String,
    /// The class of a block's own tasks.
    tasks: String,
}

impl Names {
    /// Names after the function's that the source does not use.
    fn free(syntax: &Syntax<'_>, function: &str) -> Result<Self, NoPatch> {
        // Without its underscores, because a name with two at its beginning means something else in a class.
        let stem = function.trim_matches('_');
        if stem.is_empty() {
            return Err(NoPatch::UnknownForm);
        }
        (1..10)
            .map(|number| {
                let number = if number == 1 { String::new() } else { number.to_string() };
                let shared = format!("_{stem}_executor{number}");
                let (kept, tasks) =
                    (format!("_{stem}_executors{number}"), format!("_{}Tasks{number}", camel(stem)));
                Self { shared, kept, tasks }
            })
            .find(|it| ![&it.shared, &it.kept, &it.tasks].iter().any(|name| syntax.has_name(name)))
            .ok_or(NoPatch::UnknownForm)
    }

    fn definition(&self) -> String {
        let Self { shared, kept, .. } = self;
        format!(
            "{kept} = {{}}\n\n\ndef {shared}():\n    \
             # One for all calls. By process, because a forked child has none of its parent's threads.\n    \
             pid = os.getpid()\n    \
             if pid not in {kept}:\n    \
             \u{20}   {kept}.setdefault(pid, {CALL})\n    \
             return {kept}[pid]\n\n\n"
        )
    }

    fn waiting(&self) -> String {
        let tasks = &self.tasks;
        format!(
            "class {tasks}(concurrent.futures.Executor):\n    \
             # The tasks of one with block: leaving it waits for them, and for no others.\n    \
             def __init__(self, executor):\n    \
             \u{20}   self._executor = executor\n    \
             \u{20}   self._futures = []\n\n    \
             def submit(self, fn, /, *args, **kwargs):\n    \
             \u{20}   future = self._executor.submit(fn, *args, **kwargs)\n    \
             \u{20}   self._futures.append(future)\n    \
             \u{20}   return future\n\n    \
             def shutdown(self, wait=True, *, cancel_futures=False):\n    \
             \u{20}   concurrent.futures.wait(self._futures)\n\n\n"
        )
    }
}

/// `handle_request` as `HandleRequest`.
fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
            first + letters.as_str()
        })
        .collect()
}
