//! `to-thread-per-call`: blocking work handed to the executor of an event loop, and more loops than one or more work
//! than it ends.

use super::{MANY, Scene, at};
use crate::diagnose::{python::Role, report::Hint, source::Kind};

pub(super) fn find(scene: &Scene<'_>) -> Option<Hint> {
    let site = scene.site(|it| matches!(it, Kind::ToThread | Kind::RunInExecutor))?;
    let workers: Vec<&str> = scene
        .threads()
        .iter()
        .filter(|thread| thread.role() == Role::Executor)
        .map(|thread| thread.name.as_deref().unwrap_or_default())
        .collect();
    if workers.len() < MANY {
        return None;
    }
    let mut evidence = vec![format!("{} workers of executors live", workers.len())];
    // Each loop has an executor of its own, which calls its first worker so.
    let loops = workers.iter().filter(|name| **name == "asyncio_0").count();
    if loops > 1 {
        evidence.push(format!(
            "{loops} event loops have an executor of their own, by their first workers asyncio_0"
        ));
    }
    Some(at("to-thread-per-call", site, &evidence))
}
