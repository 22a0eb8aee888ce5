//! The syntax tree, laid out so that parents are found without a search, and what names mean in it.

use std::ops::Range;

use tree_sitter::{Node, Tree};

use super::{Finding, NoPatch, source::line_start};

/// A node by its place in [`Syntax`]: parents stand before their children, and a node before those behind it.
pub(super) type Id = usize;

/// The module.
pub(super) const ROOT: Id = 0;

/// A source's nodes in their order.
pub(super) struct Syntax<'t> {
    text: &'t str,
    items: Vec<Item<'t>>,
}

struct Item<'t> {
    node: Node<'t>,
    field: Option<&'t str>,
    parent: Id,
    /// The first node that is not inside of this one.
    end: Id,
}

/// What an identifier does where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Its value is used.
    Read,
    /// It names an attribute or an argument, not a variable.
    Label,
    /// It is bound, deleted or declared, or stands where it is not known what is done with it.
    Bound,
}

impl<'t> Syntax<'t> {
    pub(super) fn new(tree: &'t Tree, text: &'t str) -> Self {
        let mut items: Vec<Item<'t>> = Vec::with_capacity(tree.root_node().descendant_count());
        let mut cursor = tree.walk();
        let mut open: Vec<Id> = Vec::new();
        'nodes: loop {
            let id = items.len();
            let parent = open.last().copied().unwrap_or(id);
            items.push(Item { node: cursor.node(), field: cursor.field_name(), parent, end: id + 1 });
            if cursor.goto_first_child() {
                open.push(id);
                continue;
            }
            while !cursor.goto_next_sibling() {
                let Some(closed) = open.pop() else { break 'nodes };
                items[closed].end = items.len();
                cursor.goto_parent();
            }
        }
        Self { text, items }
    }

    /// The whole source.
    pub(super) const fn source(&self) -> &'t str {
        self.text
    }

    pub(super) fn kind(&self, id: Id) -> &'t str {
        self.items[id].node.kind()
    }

    pub(super) fn bytes(&self, id: Id) -> Range<usize> {
        self.items[id].node.byte_range()
    }

    pub(super) fn text(&self, id: Id) -> &'t str {
        &self.text[self.bytes(id)]
    }

    /// Lines of its first and last byte, from 1.
    pub(super) fn lines(&self, id: Id) -> (u32, u32) {
        let node = self.items[id].node;
        (node.start_position().row as u32 + 1, node.end_position().row as u32 + 1)
    }

    pub(super) fn is_on(&self, id: Id, line: u32) -> bool {
        let (first, last) = self.lines(id);
        (first..=last).contains(&line)
    }

    pub(super) fn parent(&self, id: Id) -> Option<Id> {
        (id != ROOT).then(|| self.items[id].parent)
    }

    pub(super) fn ancestors(&self, id: Id) -> impl Iterator<Item = Id> + '_ {
        std::iter::successors(self.parent(id), |id| self.parent(*id))
    }

    /// All below it, not itself.
    pub(super) fn within(&self, id: Id) -> Range<Id> {
        id + 1..self.items[id].end
    }

    pub(super) fn contains(&self, outer: Id, inner: Id) -> bool {
        (outer..self.items[outer].end).contains(&inner)
    }

    pub(super) fn children(&self, id: Id) -> impl Iterator<Item = Id> + '_ {
        let end = self.items[id].end;
        let first = (id + 1 < end).then_some(id + 1);
        std::iter::successors(first, move |child| Some(self.items[*child].end).filter(|next| *next < end))
    }

    /// Children that are no punctuation and no comment.
    pub(super) fn parts(&self, id: Id) -> impl Iterator<Item = Id> + '_ {
        self.children(id).filter(|child| self.items[*child].node.is_named() && self.kind(*child) != "comment")
    }

    pub(super) fn field(&self, id: Id, name: &str) -> Option<Id> {
        self.children(id).find(|child| self.items[*child].field == Some(name))
    }

    pub(super) fn fields<'s>(&'s self, id: Id, name: &'s str) -> impl Iterator<Item = Id> + 's {
        self.children(id).filter(move |child| self.items[*child].field == Some(name))
    }

    pub(super) fn has_word(&self, id: Id, word: &str) -> bool {
        self.children(id).any(|child| self.kind(child) == word)
    }

    /// Variables of that name below `id`: labels are none.
    pub(super) fn mentions<'s>(&'s self, name: &'s str, id: Id) -> impl Iterator<Item = Id> + 's {
        self.within(id).filter(move |at| {
            self.kind(*at) == "identifier" && self.text(*at) == name && self.role(*at) != Role::Label
        })
    }

    /// Whether an identifier of that name is anywhere, label or not.
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.within(ROOT).any(|at| self.kind(at) == "identifier" && self.text(at) == name)
    }

    /// The function that a node is in, if it is in one.
    pub(super) fn function_of(&self, id: Id) -> Option<Id> {
        self.ancestors(id).find(|at| self.kind(*at) == "function_definition")
    }

    /// The function, class or module whose names a node's names are.
    pub(super) fn scope_of(&self, id: Id) -> Id {
        let is_scope =
            |at: &Id| matches!(self.kind(*at), "function_definition" | "class_definition" | "lambda");
        self.ancestors(id).find(is_scope).unwrap_or(ROOT)
    }

    pub(super) fn name_of(&self, definition: Id) -> Option<&'t str> {
        self.field(definition, "name").map(|name| self.text(name))
    }

    /// What is done with a name or another expression where it stands. Only places that are known to read are so called.
    pub(super) fn role(&self, id: Id) -> Role {
        let mut at = id;
        // A group is bound or read as a whole.
        while let Some(parent) = self.parent(at)
            && matches!(self.kind(parent), "parenthesized_expression" | "tuple" | "list" | "expression_list")
        {
            at = parent;
        }
        let Some(parent) = self.parent(at) else { return Role::Bound };
        match self.kind(parent) {
            "dotted_name" => self.role_in_import(at, parent),
            kind => role_in(kind, self.items[at].field),
        }
    }

    /// Of `import a.b` it is `a` that is bound; of `from a import b` it is `b`; all else are names of modules.
    fn role_in_import(&self, part: Id, dotted: Id) -> Role {
        let around = self.parent(dotted).map(|it| self.kind(it));
        let is_label = match around {
            Some("import_from_statement") => self.items[dotted].field == Some("module_name"),
            Some("relative_import" | "aliased_import") => true,
            _ => self.children(dotted).next() != Some(part),
        };
        if is_label { Role::Label } else { Role::Bound }
    }

    /// Whether the module binds `name` by that identifier and nowhere is it bound again.
    pub(super) fn is_bound_once(&self, name: &str, by: Id) -> bool {
        let mut bindings = self.mentions(name, ROOT).filter(|at| self.role(*at) == Role::Bound);
        bindings.next() == Some(by) && bindings.next().is_none() && !self.has_wildcard_import()
    }

    /// Whether names may come from anywhere.
    pub(super) fn has_wildcard_import(&self) -> bool {
        self.within(ROOT).any(|at| self.kind(at) == "wildcard_import")
    }

    /// What a name was imported as at the module's top: `psutil`, `concurrent.futures.ThreadPoolExecutor`. The name of
    /// `import a.b` is `a`. `None` if it is not, or may be something else by the time.
    pub(super) fn import_of(&self, name: &str) -> Option<String> {
        let statement = |at: &Id| matches!(self.kind(*at), "import_statement" | "import_from_statement");
        for import in self.children(ROOT).filter(statement) {
            let module = self.field(import, "module_name").map(|module| self.text(module));
            for imported in self.fields(import, "name") {
                let (path, binds) = self.imported(imported, module.is_none())?;
                if self.text(binds) == name {
                    let whole = module.map_or_else(|| path.to_owned(), |module| format!("{module}.{path}"));
                    return self.is_bound_once(name, binds).then_some(whole);
                }
            }
        }
        None
    }

    /// What one part of an import imports, and the identifier that it binds.
    fn imported(&self, part: Id, whole_module: bool) -> Option<(&'t str, Id)> {
        if self.kind(part) == "aliased_import" {
            return Some((self.text(self.field(part, "name")?), self.field(part, "alias")?));
        }
        let first = self.children(part).next()?;
        Some((if whole_module { self.text(first) } else { self.text(part) }, first))
    }

    /// Where the module's top first imports a module whole, dots and all, without another name for it.
    pub(super) fn import_whole(&self, module: &str) -> Option<Id> {
        let imports = self.children(ROOT).filter(|at| self.kind(*at) == "import_statement");
        imports.flat_map(|at| self.fields(at, "name")).find(|part| self.text(*part) == module)
    }

    /// Whether an expression means that function of a library: by dots from an imported name.
    pub(super) fn is_library(&self, expression: Id, path: &str) -> bool {
        let text = self.text(expression);
        let (root, rest) = text.split_once('.').unwrap_or((text, ""));
        let dotted = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
        let Some(import) = self.import_of(root).filter(|_| dotted) else { return false };
        let means = if rest.is_empty() { import } else { format!("{import}.{rest}") };
        means == path
    }

    /// Whether the frame's function is this one. A comprehension is a frame of its own in older Pythons.
    pub(super) fn is_function_of(&self, finding: &Finding, function: Id) -> bool {
        let Ok(name) = std::str::from_utf8(finding.function.as_bytes()) else { return false };
        let name = name.rsplit('.').next().unwrap_or(name);
        let own = self.name_of(function);
        own == Some(name)
            || ["<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>"].contains(&name)
    }

    /// Where the comments begin that stand on the lines right above a line, as far in as it.
    pub(super) fn before_comments(&self, mut line: usize, indent: &str) -> usize {
        while line > 0 {
            let above = line_start(self.text, line - 1);
            let begins = above + indent.len();
            if !self.text[above..line].starts_with(indent) || !self.is_comment_at(begins) {
                break;
            }
            line = above;
        }
        line
    }

    fn is_comment_at(&self, byte: usize) -> bool {
        let first = self.items.partition_point(|item| item.node.start_byte() < byte);
        let here = self.items[first..].iter().take_while(|item| item.node.start_byte() == byte);
        here.into_iter().any(|item| item.node.kind() == "comment")
    }

    /// Refuses scopes that look at their own names by other means than writing them.
    pub(super) fn check_plain_names(&self, scope: Id) -> Result<(), NoPatch> {
        const BY_NAME: [&str; 6] = ["locals", "vars", "eval", "exec", "dir", "globals"];
        let calls = self.within(scope).filter(|at| self.kind(*at) == "call");
        let looks =
            calls.filter_map(|at| self.field(at, "function")).any(|it| BY_NAME.contains(&self.text(it)));
        if looks { Err(NoPatch::UnknownForm) } else { Ok(()) }
    }

    /// The text in a string without prefix, escapes or interpolations; `None` for any other expression.
    pub(super) fn plain_string(&self, id: Id) -> Option<&'t str> {
        if self.kind(id) != "string" {
            return None;
        }
        let quoted = self.text(id);
        let inner = ['"', '\''].iter().find_map(|q| quoted.strip_prefix(*q)?.strip_suffix(*q))?;
        (!inner.contains(['"', '\'', '\\', '\n'])).then_some(inner)
    }
}

/// What a child in that field of that kind of parent is there for.
fn role_in(parent: &str, field: Option<&str>) -> Role {
    let field = field.unwrap_or_default();
    if matches!((parent, field), ("attribute", "attribute") | ("keyword_argument", "name")) {
        return Role::Label;
    }
    let reads: &[&str] = match parent {
        "attribute" => &["object"],
        "call" => &["function"],
        "subscript" => &["value", "subscript"],
        "boolean_operator" | "binary_operator" => &["left", "right"],
        "unary_operator" | "not_operator" => &["argument"],
        "assignment" | "augmented_assignment" | "for_statement" | "for_in_clause" => &["right"],
        "if_statement" | "elif_clause" | "while_statement" => &["condition"],
        "pair" => &["key", "value"],
        "named_expression"
        | "keyword_argument"
        | "with_item"
        | "default_parameter"
        | "typed_default_parameter"
        | "except_clause" => &["value"],
        "interpolation" => &["expression"],
        "match_statement" => &["subject"],
        "lambda"
        | "list_comprehension"
        | "set_comprehension"
        | "generator_expression"
        | "dictionary_comprehension" => &["body"],
        "raise_statement" => &["", "cause"],
        "comparison_operator" => &["", "operators"],
        "argument_list"
        | "return_statement"
        | "slice"
        | "set"
        | "dictionary"
        | "conditional_expression"
        | "assert_statement"
        | "type"
        | "list_splat"
        | "dictionary_splat"
        | "yield"
        | "await"
        | "expression_statement"
        | "if_clause"
        | "as_pattern"
        | "decorator" => &[""],
        _ => &[],
    };
    if reads.contains(&field) { Role::Read } else { Role::Bound }
}
