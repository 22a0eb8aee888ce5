//! Known patterns that make threads without bound. Each is a heuristic of its own, with its evidence.

mod executor;
mod inotify;
mod per_request;
mod psutil;
mod timer;
mod to_thread;

use super::{
    python::{Site, Thread},
    report::Hint,
    source::Kind,
};
use crate::text::{Text, escape};

/// From so many of a kind on they are worth a hint.
const MANY: usize = 10;

/// What the heuristics look at.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The process.
    pub pid: u32,
    /// Its Python threads at each look; none when it is no Python.
    pub looks: &'a [Vec<Thread>],
    /// Places that make threads, best first.
    pub sites: &'a [Site],
}

/// All that fit, in a fixed order.
pub fn find(scene: &Scene<'_>) -> Vec<Hint> {
    type Heuristic = fn(&Scene<'_>) -> Option<Hint>;
    const ALL: [Heuristic; 6] =
        [inotify::find, executor::find, to_thread::find, timer::find, per_request::find, psutil::find];
    ALL.iter().filter_map(|heuristic| heuristic(scene)).collect()
}

impl Scene<'_> {
    /// The threads of the last look.
    fn threads(&self) -> &[Thread] {
        self.looks.last().map_or(&[], Vec::as_slice)
    }

    /// The best place that makes threads in one of these ways.
    fn site(&self, is: impl Fn(&Kind) -> bool) -> Option<&Site> {
        self.sites.iter().find(|site| site.creation.as_ref().is_some_and(|it| is(&it.kind)))
    }
}

/// A hint at the line that names the kind: `ThreadPoolExecutor(…)`, not its `submit`.
fn at(name: &str, site: &Site, evidence: &[String]) -> Hint {
    let line = site.creation.as_ref().map_or(site.line, |it| it.made);
    Hint {
        name: name.to_owned(),
        file: Some(Text::from(site.file.as_str())),
        line: Some(line),
        function: Some(Text::from(site.function.as_str())),
        evidence: evidence.iter().map(|it| escape(it.as_bytes()).into_owned()).collect(),
    }
}
