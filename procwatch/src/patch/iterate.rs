//! `for proc in psutil.process_iter(...)`: makes and asks a `Process` for each process of the machine, in each round.
//! It becomes a walk over `psutil.pids()` that makes the `Process` behind those tests that need the pid alone.
//!
//! Why it means the same: `process_iter` yields in the order of pids, and passes over a process that has gone before its
//! object was made; so does the walk. It also keeps its objects from one walk to the next. Nobody notices that as long as
//! nothing is asked of an object that remembers (`cpu_percent`, `exe`), and no object leaves the loop. Only tests are
//! moved before the making of the object, never anything with an effect.

mod place;

use super::{
    Finding, NoPatch,
    source::Change,
    syntax::{Id, ROOT, Role, Syntax},
};

/// Methods that tell of the process now, and remember nothing from one call to the next.
const METHODS: [&str; 33] = [
    "name",
    "cmdline",
    "ppid",
    "parent",
    "parents",
    "status",
    "username",
    "uids",
    "gids",
    "terminal",
    "cwd",
    "nice",
    "ionice",
    "rlimit",
    "cpu_affinity",
    "cpu_num",
    "num_threads",
    "num_fds",
    "threads",
    "cpu_times",
    "memory_info",
    "memory_full_info",
    "memory_percent",
    "memory_maps",
    "open_files",
    "create_time",
    "environ",
    "children",
    "io_counters",
    "num_ctx_switches",
    "send_signal",
    "terminate",
    "kill",
];
/// What `attrs` may ask for, by the same measure.
const ATTRS: [&str; 23] = [
    "pid",
    "name",
    "cmdline",
    "ppid",
    "status",
    "username",
    "uids",
    "gids",
    "terminal",
    "cwd",
    "nice",
    "ionice",
    "cpu_affinity",
    "cpu_num",
    "num_threads",
    "num_fds",
    "threads",
    "cpu_times",
    "memory_info",
    "memory_percent",
    "create_time",
    "io_counters",
    "num_ctx_switches",
];

pub(super) fn rewrite(syntax: &Syntax<'_>, finding: &Finding) -> Result<Change, NoPatch> {
    let walk = Walk::find(syntax, finding)?;
    let pid = walk.free_name()?;
    let mut change = Change::default();
    if !walk.place(walk.body, &pid, &mut change, 0)? {
        return Err(NoPatch::NothingSaved);
    }
    change.replace(syntax.bytes(walk.target), pid.as_str());
    change.replace(syntax.bytes(walk.call), format!("{}.pids()", walk.module));
    for expression in &walk.pids {
        change.replace(syntax.bytes(*expression), pid.as_str());
    }
    change.remarks.push("the processes that the tests of the pid leave out are not looked at any more");
    Ok(change)
}

/// The loop.
struct Walk<'s, 't> {
    syntax: &'s Syntax<'t>,
    statement: Id,
    /// The loop variable.
    target: Id,
    /// `psutil.process_iter(...)`.
    call: Id,
    body: Id,
    /// What psutil is called here.
    module: &'t str,
    /// Arguments that go to `as_dict`.
    attrs: Option<Attrs<'t>>,
    /// Expressions that want the pid alone, in their order.
    pids: Vec<Id>,
    /// Mentions that want the object, in their order.
    objects: Vec<Id>,
}

struct Attrs<'t> {
    names: Vec<&'t str>,
    /// As written, behind `attrs=`.
    arguments: String,
}

/// What a mention of the loop variable wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// The pid; the expression that says so.
    Pid(Id),
    /// The object.
    Object,
}

impl<'s, 't> Walk<'s, 't> {
    fn find(syntax: &'s Syntax<'t>, finding: &Finding) -> Result<Self, NoPatch> {
        let mut loops = syntax.within(ROOT).filter(|at| {
            syntax.kind(*at) == "for_statement" && syntax.is_on(*at, finding.line) && is_walk(syntax, *at)
        });
        // The innermost one.
        let statement = loops.next_back().ok_or(NoPatch::NotThere)?;
        match syntax.function_of(statement) {
            Some(function) if syntax.is_function_of(finding, function) => {}
            None if finding.function.as_bytes() == b"<module>" => {}
            _ => return Err(NoPatch::NotThere),
        }
        let field = |name| syntax.field(statement, name).ok_or(NoPatch::UnknownForm);
        let (target, call, body) = (field("left")?, field("right")?, field("body")?);
        if syntax.has_word(statement, "async") || syntax.kind(target) != "identifier" {
            return Err(NoPatch::UnknownForm);
        }
        let function = syntax.field(call, "function").ok_or(NoPatch::UnknownForm)?;
        let module = syntax.text(function).split('.').next().unwrap_or_default();
        if !syntax.is_library(function, "psutil.process_iter") {
            return Err(NoPatch::Rebound);
        }
        if module == syntax.text(function) {
            return Err(NoPatch::UnknownForm);
        }
        let attrs = read_attrs(syntax, call)?;
        let (pids, objects) = (Vec::new(), Vec::new());
        let mut walk = Self { syntax, statement, target, call, body, module, attrs, pids, objects };
        walk.sort_uses()?;
        Ok(walk)
    }

    fn variable(&self) -> &'t str {
        self.syntax.text(self.target)
    }

    /// Looks at each mention of the loop variable: in the loop's body only, and nowhere bound anew.
    fn sort_uses(&mut self) -> Result<(), NoPatch> {
        let (syntax, name) = (self.syntax, self.variable());
        let scope = syntax.scope_of(self.statement);
        if matches!(syntax.kind(scope), "class_definition" | "lambda") {
            return Err(NoPatch::UnknownForm);
        }
        syntax.check_plain_names(scope)?;
        for at in syntax.mentions(name, scope).filter(|at| *at != self.target) {
            if !syntax.contains(self.body, at) {
                self.check_other_loop(at)?;
            } else if syntax.scope_of(at) != scope || self.is_in_comprehension(at) {
                return Err(NoPatch::ObjectEscapes);
            } else {
                match self.use_at(at)? {
                    Use::Pid(expression) => self.pids.push(expression),
                    Use::Object => self.objects.push(at),
                }
            }
        }
        Ok(())
    }

    /// Outside of this loop the name may stand in another loop that binds it.
    fn check_other_loop(&self, mention: Id) -> Result<(), NoPatch> {
        let syntax = self.syntax;
        let binds = |at: Id| {
            syntax.field(at, "left").is_some_and(|left| syntax.text(left) == self.variable())
                && (syntax.field(at, "left") == Some(mention)
                    || syntax.field(at, "body").is_some_and(|body| syntax.contains(body, mention)))
        };
        let own = syntax
            .ancestors(mention)
            .take_while(|at| syntax.kind(*at) != "function_definition")
            .any(|at| at != self.statement && syntax.kind(at) == "for_statement" && binds(at));
        // A loop around this one that binds the same name would see what this one leaves in it.
        let around =
            syntax.ancestors(self.statement).any(|at| syntax.kind(at) == "for_statement" && binds(at));
        if own && !around { Ok(()) } else { Err(NoPatch::ObjectEscapes) }
    }

    fn is_in_comprehension(&self, mention: Id) -> bool {
        let outer = self.body;
        let inside = self.syntax.ancestors(mention).take_while(|at| *at != outer);
        inside.into_iter().any(|at| {
            let kind = self.syntax.kind(at);
            kind.ends_with("comprehension") || kind == "generator_expression"
        })
    }

    fn use_at(&self, mention: Id) -> Result<Use, NoPatch> {
        let syntax = self.syntax;
        let attribute = syntax.parent(mention).filter(|at| syntax.field(*at, "object") == Some(mention));
        let attribute = attribute.ok_or(NoPatch::ObjectEscapes)?;
        let name = syntax.field(attribute, "attribute").map(|it| syntax.text(it)).unwrap_or_default();
        let around = syntax.parent(attribute).ok_or(NoPatch::ObjectEscapes)?;
        let is_called = syntax.field(around, "function") == Some(attribute);
        match name {
            "pid" => self.plain(attribute).map(Use::Pid),
            "info" => {
                let attrs = self.attrs.as_ref().ok_or(NoPatch::ObjectEscapes)?;
                let key = self.key_of(around, attribute);
                if key == Some("pid") && attrs.names.contains(&"pid") {
                    return self.plain(around).map(Use::Pid);
                }
                Ok(Use::Object)
            }
            method if is_called && METHODS.contains(&method) => Ok(Use::Object),
            _ => Err(NoPatch::ObjectEscapes),
        }
    }

    /// The one key of a subscript that is a plain text.
    fn key_of(&self, subscript: Id, value: Id) -> Option<&'t str> {
        let mut keys = self.syntax.fields(subscript, "subscript");
        let key = keys.next().filter(|_| self.syntax.field(subscript, "value") == Some(value))?;
        self.syntax.plain_string(key).filter(|_| keys.next().is_none())
    }

    /// An expression that is read, and that no f-string shows with its own text (`{proc.pid=}`).
    fn plain(&self, expression: Id) -> Result<Id, NoPatch> {
        let syntax = self.syntax;
        let shown = syntax
            .ancestors(expression)
            .take_while(|at| *at != self.body)
            .any(|at| syntax.kind(at) == "interpolation" && syntax.has_word(at, "="));
        if shown || syntax.role(expression) != Role::Read {
            Err(NoPatch::ObjectEscapes)
        } else {
            Ok(expression)
        }
    }

    fn needs_object(&self, within: Id) -> bool {
        let range = self.syntax.within(within);
        let first = self.objects.partition_point(|at| *at < range.start);
        self.objects.get(first).is_some_and(|at| *at < range.end)
    }

    /// A name for the pid that the source does not use, where the walk's names are.
    fn free_name(&self) -> Result<String, NoPatch> {
        let scope = self.syntax.scope_of(self.statement);
        let outermost =
            self.syntax.ancestors(scope).filter(|at| self.syntax.kind(*at) == "function_definition");
        let around = outermost.last().unwrap_or(scope);
        let is_free = |name: &String| self.syntax.mentions(name, around).next().is_none();
        ["pid".to_owned(), format!("{}_pid", self.variable()), "process_pid".to_owned()]
            .into_iter()
            .find(is_free)
            .ok_or(NoPatch::UnknownForm)
    }
}

/// Whether a loop goes over what is called `process_iter`, whoever's that is.
fn is_walk(syntax: &Syntax<'_>, statement: Id) -> bool {
    let function = syntax.field(statement, "right").and_then(|call| syntax.field(call, "function"));
    function.is_some_and(|it| syntax.text(it).rsplit('.').next() == Some("process_iter"))
}

/// The arguments of `process_iter`: none, or a list of texts and one constant.
fn read_attrs<'t>(syntax: &Syntax<'t>, call: Id) -> Result<Option<Attrs<'t>>, NoPatch> {
    let arguments = syntax.field(call, "arguments").filter(|at| syntax.kind(*at) == "argument_list");
    let arguments = arguments.ok_or(NoPatch::UnknownForm)?;
    let (mut attrs, mut ad_value) = (None, None);
    for (index, part) in syntax.parts(arguments).enumerate() {
        let (name, value) = match syntax.kind(part) {
            "keyword_argument" => {
                let field = |name| syntax.field(part, name).ok_or(NoPatch::UnknownForm);
                (syntax.text(field("name")?), field("value")?)
            }
            _ => (*["attrs", "ad_value"].get(index).ok_or(NoPatch::UnknownForm)?, part),
        };
        match name {
            "attrs" => attrs = Some(value),
            "ad_value" => ad_value = Some(value),
            _ => return Err(NoPatch::UnknownForm),
        }
    }
    let Some(attrs) = attrs.filter(|at| syntax.kind(*at) != "none") else {
        // Without attrs the other has no effect.
        return if ad_value.is_none() { Ok(None) } else { Err(NoPatch::UnknownForm) };
    };
    let names: Option<Vec<&str>> = match syntax.kind(attrs) {
        "list" | "tuple" | "set" => syntax.parts(attrs).map(|it| syntax.plain_string(it)).collect(),
        _ => None,
    };
    let names = names.filter(|names| !names.is_empty() && names.iter().all(|it| ATTRS.contains(it)));
    let names = names.ok_or(NoPatch::UnknownForm)?;
    let mut arguments = format!("attrs={}", syntax.text(attrs));
    if let Some(value) = ad_value {
        let constant = matches!(syntax.kind(value), "none" | "integer" | "float" | "true" | "false");
        if !constant && syntax.plain_string(value).is_none() {
            return Err(NoPatch::UnknownForm);
        }
        arguments.extend([", ad_value=", syntax.text(value)]);
    }
    if arguments.contains(['\n', '#']) {
        Err(NoPatch::UnknownForm)
    } else {
        Ok(Some(Attrs { names, arguments }))
    }
}
