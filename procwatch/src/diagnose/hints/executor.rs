//! `executor-per-call`: a pool of threads made for each call, and not shut down.

use super::{MANY, Scene, at};
use crate::diagnose::{
    python::{Role, Thread},
    report::Hint,
    source::Kind,
};

/// So many pools at once are no choice of anybody.
const POOLS: usize = 3;

pub(super) fn find(scene: &Scene<'_>) -> Option<Hint> {
    let executors = executors(scene.threads());
    let pools = scene.threads().iter().filter(|thread| thread.frames.iter().any(is_handler)).count();
    let (pools, what, kind) = if executors >= pools {
        (executors, "ThreadPoolExecutors live at once, by the names of their first workers", Kind::Executor)
    } else {
        (pools, "ThreadPools live at once, by their handler threads", Kind::Pool)
    };
    if pools < POOLS {
        return None;
    }
    let site = scene.site(|it| *it == kind)?;
    // One for each loop is the business of `to-thread-per-call`.
    let workers =
        scene.threads().iter().filter(|thread| matches!(thread.role(), Role::Executor | Role::Pool)).count();
    let mut evidence = vec![format!("{pools} {what}; {workers} workers")];
    if site.creation.as_ref().is_some_and(|it| it.function.is_some() || it.in_loop) {
        evidence.push(format!("it is made in {}, at each call", site.function));
    }
    (workers >= MANY.min(pools)).then(|| at("executor-per-call", site, &evidence))
}

/// Each executor calls its first worker `…_0`.
fn executors(threads: &[Thread]) -> usize {
    let is_first = |name: &str| name.ends_with("_0") && !name.starts_with("asyncio_");
    let workers = threads.iter().filter(|thread| thread.role() == Role::Executor);
    workers.filter(|thread| thread.name.as_deref().is_some_and(is_first)).count()
}

/// Each `ThreadPool` has one thread that looks after its workers.
fn is_handler(frame: &crate::diagnose::python::Frame) -> bool {
    frame.is("_handle_workers", "multiprocessing/pool.py")
}
