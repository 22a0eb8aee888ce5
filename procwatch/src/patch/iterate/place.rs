//! Where in the loop's body the object is made: as late as can be, behind tests of the pid alone.

use super::{
    super::{
        NoPatch,
        source::{Change, indentation, line_end, line_start},
        syntax::Id,
    },
    Walk,
};

/// Deepest nesting of branches that is followed.
const MOST_BRANCHES: usize = 16;

impl<'t> Walk<'_, 't> {
    /// Makes the object as late in `block` as can be. Whether that saves any.
    pub(super) fn place(
        &self,
        block: Id,
        pid: &str,
        change: &mut Change,
        depth: usize,
    ) -> Result<bool, NoPatch> {
        if !self.needs_object(block) {
            return Ok(true);
        }
        let mut guarded = false;
        let statements: Vec<Id> = self.syntax.parts(block).collect();
        for (index, statement) in statements.iter().copied().enumerate() {
            if self.is_guard(statement) {
                guarded = true;
                continue;
            }
            let later = statements[index + 1..].iter().any(|it| self.needs_object(*it));
            if !later
                && depth < MOST_BRANCHES
                && let Some(branches) = self.branches(statement)
            {
                let (inside, outside): (Vec<_>, Vec<_>) =
                    branches.blocks.into_iter().partition(|it| self.needs_object(*it));
                let mut saved = guarded || branches.may_pass || !outside.is_empty();
                for block in inside {
                    saved |= self.place(block, pid, change, depth + 1)?;
                }
                return Ok(saved);
            }
            self.make_before(statement, pid, change)?;
            return Ok(guarded);
        }
        Err(NoPatch::UnknownForm)
    }

    /// An `if` that looks at the pid alone, and leaves the round or does nothing.
    fn is_guard(&self, statement: Id) -> bool {
        let does_nothing = |block: Id| {
            self.syntax
                .parts(block)
                .all(|it| matches!(self.syntax.kind(it), "continue_statement" | "pass_statement"))
        };
        self.syntax.kind(statement) == "if_statement"
            && self.branches(statement).is_some_and(|it| it.blocks.into_iter().all(does_nothing))
    }

    /// The blocks of a statement of which at most one is run, and which look at no more than the pid before that.
    fn branches(&self, statement: Id) -> Option<Branches> {
        let syntax = self.syntax;
        let others = || syntax.fields(statement, "alternative");
        match syntax.kind(statement) {
            "if_statement" => {
                let clauses: Vec<Id> = [statement].into_iter().chain(others()).collect();
                let mut conditions = clauses.iter().filter_map(|at| syntax.field(*at, "condition"));
                let has_else = others().any(|at| syntax.kind(at) == "else_clause");
                let block = |at| syntax.field(at, "consequence").or_else(|| syntax.field(at, "body"));
                let blocks = clauses.iter().copied().map(block).collect::<Option<_>>()?;
                let pure = conditions.all(|at| self.is_pure(at));
                pure.then_some(Branches { blocks, may_pass: !has_else })
            }
            // What was made in it is not looked at behind it, and nothing is done at its end.
            "try_statement" => {
                let body = syntax.field(statement, "body")?;
                let plain = syntax
                    .parts(statement)
                    .filter(|at| *at != body)
                    .all(|at| syntax.kind(at) == "except_clause" && !self.needs_object(at));
                plain.then(|| Branches { blocks: vec![body], may_pass: false })
            }
            _ => None,
        }
    }

    /// No effect, whatever it is asked about, and no need of the object.
    fn is_pure(&self, condition: Id) -> bool {
        let syntax = self.syntax;
        let is_pure = |at: Id| match syntax.kind(at) {
            "call" => {
                let function = syntax.field(at, "function").map(|it| syntax.text(it));
                function.is_some_and(|it| ["os.getpid", "os.getppid", "len", "int", "str"].contains(&it))
            }
            "subscript" => self.pids.binary_search(&at).is_ok(),
            "await" | "yield" | "named_expression" | "lambda" | "interpolation" | "comment" => false,
            kind => !kind.ends_with("comprehension") && kind != "generator_expression",
        };
        !self.needs_object(condition) && [condition].into_iter().chain(syntax.within(condition)).all(is_pure)
    }

    /// Makes the object on lines of its own before a statement and the comments that belong to it.
    fn make_before(&self, statement: Id, pid: &str, change: &mut Change) -> Result<(), NoPatch> {
        let (syntax, text) = (self.syntax, self.syntax.source());
        let start = syntax.bytes(statement).start;
        let indent = indentation(text, start).ok_or(NoPatch::UnknownForm)?;
        let (first, _) = syntax.lines(statement);
        if first == syntax.lines(self.statement).0 {
            return Err(NoPatch::UnknownForm);
        }
        let unit = self.indent_unit()?;
        let end = line_end(text, start);
        let (variable, module) = (self.variable(), self.module);
        let mut lines =
            vec![format!("{indent}try:"), format!("{indent}{unit}{variable} = {module}.Process({pid})")];
        if let Some(attrs) = &self.attrs {
            lines.push(format!("{indent}{unit}{variable}.info = {variable}.as_dict({})", attrs.arguments));
        }
        lines.push(format!("{indent}except {module}.NoSuchProcess:"));
        lines.push(format!("{indent}{unit}continue"));
        let made: String = lines.into_iter().map(|line| line + end).collect();
        change.insert(syntax.before_comments(line_start(text, start), indent), made);
        Ok(())
    }

    /// One step of indentation: how far the loop's body stands in.
    fn indent_unit(&self) -> Result<&'t str, NoPatch> {
        let (syntax, text) = (self.syntax, self.syntax.source());
        let outer = indentation(text, syntax.bytes(self.statement).start).ok_or(NoPatch::UnknownForm)?;
        let first = syntax.parts(self.body).next().ok_or(NoPatch::UnknownForm)?;
        let inner = indentation(text, syntax.bytes(first).start).ok_or(NoPatch::UnknownForm)?;
        inner.strip_prefix(outer).filter(|unit| !unit.is_empty()).ok_or(NoPatch::UnknownForm)
    }
}

struct Branches {
    blocks: Vec<Id>,
    /// None of them may be run.
    may_pass: bool,
}
