//! What the live threads can come to from where they are: functions on their stacks, and those that these call.

use std::{collections::HashMap, rc::Rc};

use super::{
    choose::Known,
    frames::{Frame, Origin, Role, Thread},
};
use crate::diagnose::{
    files::SourceFile,
    source::{Module, last_part},
};

/// How many calls deep is followed.
const DEPTH: u32 = 4;
/// Most files that are looked into.
const MAX_FILES: usize = 48;

/// How a function is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct From {
    /// How much it speaks for a creation in it.
    pub(super) weight: u32,
    /// The same in words.
    pub(super) evidence: String,
}

/// A function of a file; `None` for its top level.
type Place = (String, Option<usize>);

/// The application's files, and how their functions are reached.
pub(super) struct Reach {
    files: Vec<(String, Rc<SourceFile>)>,
    places: HashMap<Place, From>,
}

impl Reach {
    /// Reads the files of all own frames, and those that they import from beside them.
    pub(super) fn of(threads: &[Thread], dominant: Option<&Role>, known: &Known<'_>) -> Self {
        let mut reach = Self { files: Vec::new(), places: HashMap::new() };
        for frame in threads.iter().flat_map(Thread::own_frames) {
            reach.add_file(&frame.file, known);
        }
        reach.add_imports(known);
        for thread in threads {
            let weight = Self::weight_of(thread, dominant, known);
            // Nearest to what runs now first.
            for (depth, frame) in thread.own_frames().enumerate() {
                reach.start_at(frame, weight.saturating_sub(depth.min(5) as u32), thread);
            }
        }
        reach
    }

    /// The threads that the kernel saw create count most; then those that are not the created ones themselves.
    fn weight_of(thread: &Thread, dominant: Option<&Role>, known: &Known<'_>) -> u32 {
        let creates = thread.tid.is_some_and(|tid| known.creators.contains(&tid));
        match (creates, dominant == Some(&thread.role())) {
            (true, _) => 40,
            (false, false) => 25,
            (false, true) => 20,
        }
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &Rc<SourceFile>)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// How a function is reached, if it is.
    pub(super) fn from(&self, file: &str, function: Option<usize>) -> Option<&From> {
        self.places.get(&(file.to_owned(), function))
    }

    fn add_file(&mut self, path: &str, known: &Known<'_>) {
        if self.files.len() >= MAX_FILES || self.files.iter().any(|(it, _)| it == path) {
            return;
        }
        if let Some(file) = known.files.get(path) {
            self.files.push((path.to_owned(), file));
        }
    }

    fn add_imports(&mut self, known: &Known<'_>) {
        let mut folders: Vec<String> = Vec::new();
        for (path, _) in &self.files {
            let folder = folder(path).to_owned();
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        let mut next = 0;
        while let Some((path, file)) = self.files.get(next).cloned() {
            next += 1;
            for import in &file.module.imports {
                for candidate in candidates(import, &path, &folders) {
                    self.add_file(&candidate, known);
                }
            }
        }
    }

    fn start_at(&mut self, frame: &Frame, weight: u32, thread: &Thread) {
        if frame.origin != Origin::Own {
            return;
        }
        let Some((_, file)) = self.files.iter().find(|(path, _)| *path == frame.file).cloned() else {
            return;
        };
        let function = match last_part(&frame.function) {
            "<module>" => None,
            _ => file.module.function_at(frame.line),
        };
        let who = thread.name.as_deref().unwrap_or("a thread");
        let evidence = format!("{who} runs {} at line {}", frame.function, frame.line);
        self.put(&(frame.file.clone(), function), weight, &evidence, DEPTH);
    }

    /// Marks a function, and those that it calls.
    fn put(&mut self, place: &Place, weight: u32, evidence: &str, depth: u32) {
        if self.places.get(place).is_some_and(|from| from.weight >= weight) {
            return;
        }
        self.places.insert(place.clone(), From { weight, evidence: evidence.to_owned() });
        if depth == 0 || weight <= 2 {
            return;
        }
        for next in self.called_from(place) {
            let name = self.name_of(&next);
            let evidence = if evidence.ends_with(&name) {
                evidence.to_owned()
            } else {
                format!("{evidence}, which calls {name}")
            };
            self.put(&next, weight - 2, &evidence, depth - 1);
        }
    }

    fn name_of(&self, (path, function): &Place) -> String {
        let file = self.files.iter().find(|(it, _)| it == path);
        let named = file.zip(*function).map(|((_, file), index)| file.module.functions[index].name.clone());
        named.unwrap_or_else(|| "<module>".to_owned())
    }

    /// Functions that a function names in a call, by their last name: in its own file, else in any.
    fn called_from(&self, (path, function): &Place) -> Vec<Place> {
        let Some((_, file)) = self.files.iter().find(|(it, _)| it == path) else {
            return Vec::new();
        };
        let mut names: Vec<&str> = Vec::new();
        for call in file.module.calls_in(*function) {
            names.push(call.last());
            // What is handed over is called, too: `map(work, …)`, `call_later(1, self.tick)`.
            names.extend(call.args.split([',', '=']).map(|arg| last_part(arg.trim())));
        }
        names.extend(function.iter().flat_map(|index| decorators(&file.module, *index)));
        names.sort_unstable();
        names.dedup();
        let mut called = Vec::new();
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            let own = found(path, &file.module, name);
            if own.is_empty() {
                called.extend(self.files.iter().flat_map(|(path, file)| found(path, &file.module, name)));
            } else {
                called.extend(own);
            }
        }
        called
    }
}

fn decorators(module: &Module, function: usize) -> impl Iterator<Item = &str> {
    module.functions[function].decorators.iter().map(|name| last_part(name))
}

/// Functions of that name; for a class all of its methods, for a decorated one its decorators as well.
fn found(path: &str, module: &Module, name: &str) -> Vec<Place> {
    let mut indices: Vec<usize> = Vec::new();
    for index in module.functions_named(name) {
        indices.extend(with_inner(module, index));
        for decorator in decorators(module, index).filter(|it| *it != name) {
            indices.extend(module.functions_named(decorator).flat_map(|index| with_inner(module, index)));
        }
    }
    let functions = module.functions.iter().enumerate();
    let methods = functions.filter(|(_, it)| it.class.as_deref() == Some(name));
    indices.extend(methods.map(|(index, _)| index));
    indices.into_iter().map(|index| (path.to_owned(), Some(index))).collect()
}

/// A function and those within it: they are handed out, or called by names of its own.
fn with_inner(module: &Module, index: usize) -> impl Iterator<Item = usize> + '_ {
    let outer = &module.functions[index];
    let functions = module.functions.iter().enumerate();
    functions.filter(|(_, it)| it.def >= outer.def && it.end <= outer.end).map(|(index, _)| index)
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Files that an import may mean.
fn candidates(import: &str, path: &str, folders: &[String]) -> Vec<String> {
    let rest = import.trim_start_matches('.');
    let dots = import.len() - rest.len();
    let relative = rest.replace('.', "/");
    let below = |base: &str| {
        let whole = format!("{base}/{relative}");
        let whole = whole.trim_end_matches('/').to_owned();
        [format!("{whole}.py"), format!("{whole}/__init__.py")]
    };
    if dots > 0 {
        let mut base = folder(path);
        for _ in 1..dots {
            base = folder(base);
        }
        return below(base).into();
    }
    folders.iter().flat_map(|base| below(base)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_looked_for_beside_the_file() {
        let folders = ["/srv/app".to_owned()];
        assert_eq!(
            candidates("a.b", "/srv/app/x.py", &folders),
            ["/srv/app/a/b.py", "/srv/app/a/b/__init__.py"]
        );
        assert_eq!(candidates(".b", "/srv/app/x.py", &folders)[0], "/srv/app/b.py");
        assert_eq!(candidates("..b", "/srv/app/p/x.py", &folders)[0], "/srv/app/b.py");
    }
}
