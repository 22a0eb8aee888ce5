//! Which line of a Python program makes its threads.
//!
//! The thread that makes them has most often gone on when somebody looks. So two things are held together: what was
//! seen of live threads, and what stands in the source around it. A place that a thread was seen in is *seen*; one that
//! only fits is *inferred*, and says why.

use std::{collections::HashMap, rc::Rc};

use super::{
    frames::{Frame, Origin, Role, Start, Thread, origin},
    look::Looks,
    reach::Reach,
};
use crate::diagnose::{
    files::{Files, SourceFile},
    source::{Creation, Kind, last_part},
};

/// A place in the source that makes threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its file.
    pub file: String,
    /// Its line.
    pub line: u32,
    /// The function that it is in.
    pub function: String,
    /// How often a thread was seen in it; 0 for one that is inferred.
    pub seen: u32,
    /// What speaks for it.
    pub evidence: Vec<String>,
    /// The creation in the source, where one was found at it.
    pub creation: Option<Creation>,
    /// How well it fits, for the order among those that are inferred.
    pub weight: u32,
}

/// What is known besides the looks.
#[derive(Debug)]
pub struct Known<'a> {
    /// The process' files.
    pub files: &'a Files,
    /// Threads that created threads, as the kernel saw them, most active first.
    pub creators: &'a [u32],
}

/// The places that make threads: those seen first, most often seen first, then those that fit, best first.
pub fn sites(looks: &Looks, known: &Known<'_>) -> Vec<Site> {
    let mut sites = seen(looks, known);
    if let Some(last) = looks.looks.last() {
        for site in inferred(last, known) {
            if !sites.iter().any(|it| it.file == site.file && it.line == site.line) {
                sites.push(site);
            }
        }
    }
    sites
}

/// Where threads were inside the making of one.
fn seen(looks: &Looks, known: &Known<'_>) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::new();
    let creating = looks.looks.iter().flatten().filter_map(Thread::creating_frame);
    for frame in creating {
        match sites.iter_mut().find(|site| site.file == frame.file && site.line == frame.line) {
            Some(site) => site.seen += 1,
            None => sites.push(seen_at(frame, known)),
        }
    }
    sites.sort_by_key(|site| std::cmp::Reverse(site.seen));
    for site in &mut sites {
        site.evidence.push(format!(
            "a thread was inside this creation in {} looks of {}",
            site.seen,
            looks.looks.len()
        ));
    }
    sites
}

fn seen_at(frame: &Frame, known: &Known<'_>) -> Site {
    let file = known.files.get(&frame.file);
    let creation =
        file.and_then(|file| file.module.creations.iter().find(|it| it.line == frame.line).cloned());
    Site {
        file: frame.file.clone(),
        line: frame.line,
        function: frame.function.clone(),
        seen: 1,
        evidence: Vec::new(),
        creation,
        weight: 0,
    }
}

/// The role that most threads have, and how many have it. The first thread does not count.
pub fn dominant(threads: &[Thread]) -> Option<(Role, usize)> {
    let mut counts: HashMap<Role, usize> = HashMap::new();
    for thread in threads {
        *counts.entry(thread.role()).or_default() += 1;
    }
    counts.retain(|role, _| !matches!(role, Role::Main | Role::Unknown));
    counts.into_iter().max_by_key(|(role, count)| (*count, format!("{role:?}")))
}

/// Where the source makes threads like those that there are most of.
fn inferred(threads: &[Thread], known: &Known<'_>) -> Vec<Site> {
    let dominant = dominant(threads);
    let reach = Reach::of(threads, dominant.as_ref().map(|(role, _)| role), known);
    let mut sites = Vec::new();
    for (path, file) in reach.files() {
        for creation in &file.module.creations {
            let mut site = site(path, file, creation);
            if let Some((role, count)) = &dominant {
                site.fit_role(role, *count, threads);
            }
            let from = reach.from(path, creation.function);
            if let Some(from) = from {
                site.weight += from.weight;
                site.evidence.push(from.evidence.clone());
            }
            site.weigh_repetition(creation);
            if site.weight >= 20 {
                sites.push(site);
            }
        }
    }
    sites.sort_by_key(|site| std::cmp::Reverse(site.weight));
    sites
}

fn site(path: &str, file: &Rc<SourceFile>, creation: &Creation) -> Site {
    let functions = &file.module.functions;
    let function = creation.function.map_or("<module>", |index| functions[index].qualname.as_str());
    Site {
        file: path.to_owned(),
        line: creation.line,
        function: function.to_owned(),
        seen: 0,
        evidence: Vec::new(),
        creation: Some(creation.clone()),
        weight: 0,
    }
}

impl Site {
    /// What is done once makes no leak; what does itself again does.
    fn weigh_repetition(&mut self, creation: &Creation) {
        let target = creation.target.as_deref().map(last_part);
        if creation.in_loop {
            self.weight += 3;
        } else if creation.function.is_none() {
            self.weight = self.weight.saturating_sub(15);
        }
        if creation.function.is_some() && target == Some(last_part(&self.function)) {
            self.weight += 10;
            self.evidence.push(format!("each thread of {} makes another one", self.function));
        }
    }

    /// Holds a place in the source against what most threads do.
    fn fit_role(&mut self, role: &Role, count: usize, threads: &[Thread]) {
        let Some(creation) = self.creation.clone() else {
            return;
        };
        match (role, &creation.kind) {
            (Role::Target(start), Kind::Thread) | (Role::StartNew(start), Kind::StartNew) => {
                self.weight += 20;
                self.fit_target(start, &creation, count);
            }
            (Role::Subclass(start), Kind::Subclass(name)) => {
                self.weight += 10;
                let class = start.function.rsplit_once('.').map(|(class, _)| last_part(class));
                // Before 3.11 the class is not told.
                if class.is_none_or(|class| class == name) {
                    self.weight += 40;
                    self.evidence.push(format!("{count} live threads run {name}.run"));
                }
            }
            (Role::Subclass(start), Kind::Observer) if origin(&start.file) == Origin::Package => {
                self.weight += 40;
                self.evidence.push(format!("{count} live threads run {} of a package", start.function));
            }
            (Role::Timer, Kind::Timer) => {
                self.weight += 40;
                self.evidence.push(format!("{count} live threads are timers"));
            }
            (Role::Request, Kind::Server) => {
                self.weight += 40;
                self.evidence.push(format!("{count} live threads answer one request each"));
            }
            (Role::Pool, Kind::Pool) => {
                self.weight += 40;
                self.evidence.push(format!("{count} live threads work for a ThreadPool"));
            }
            (Role::Executor, Kind::Executor | Kind::ToThread | Kind::RunInExecutor) => {
                self.fit_executor(&creation, count, threads);
            }
            _ => {}
        }
    }

    fn fit_target(&mut self, start: &Start, creation: &Creation, count: usize) {
        let name = last_part(&start.function);
        let Some(target) = creation.target.as_deref() else {
            return;
        };
        let fits = match start.lambda_line {
            Some(line) => {
                target == "lambda"
                    && self.file == start.file
                    && (creation.made..=creation.line).contains(&line)
            }
            None => last_part(target) == name,
        };
        if fits {
            self.weight += 40;
            self.evidence.push(format!("{count} live threads run its target {name}"));
        }
    }

    /// Threads of an event loop's own executor are called `asyncio_N`.
    fn fit_executor(&mut self, creation: &Creation, count: usize, threads: &[Thread]) {
        let workers = threads.iter().filter(|thread| thread.role() == Role::Executor);
        let of_loop =
            workers.filter(|it| it.name.as_deref().is_some_and(|name| name.starts_with("asyncio_"))).count();
        let is_of_loop = of_loop * 2 > count;
        // Who makes an executor and gives it no work makes no threads.
        let is_idle = creation.line == creation.made;
        self.weight += match creation.kind {
            Kind::Executor if is_of_loop || is_idle => 20,
            Kind::Executor => 40,
            _ if is_of_loop => 40,
            _ => 30,
        };
        let of = if is_of_loop { "an event loop's executor" } else { "executors" };
        self.evidence.push(format!("{count} live threads work for {of}"));
    }
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
