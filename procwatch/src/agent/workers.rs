//! Threads for what may block: standard output, actions, systemd.
//!
//! They are made at the start and kept: the agent is needed most on a machine that has no pid left, and there it can make none.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{runtime::Builder, task::spawn_blocking};

/// How many there are at least: one for a reader of standard output that does not read, the others for actions.
const WORKERS: usize = 4;

/// A runtime whose threads never end for want of work.
pub fn runtime() -> Builder {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().thread_keep_alive(Duration::MAX);
    builder
}

/// Makes them. Must be called within a runtime of [`runtime`].
pub async fn hire() {
    let gate = Arc::new(Mutex::new(()));
    let shut = gate.lock().unwrap_or_else(PoisonError::into_inner);
    // None of them is done, and free for the work of the next, before all are there.
    let hired: Vec<_> = (0..WORKERS)
        .map(|_| Arc::clone(&gate))
        .map(|gate| spawn_blocking(move || drop(gate.lock())))
        .collect();
    drop(shut);
    for worker in hired {
        // Nothing in it can fail.
        let _ = worker.await;
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use super::*;

    #[test]
    fn work_finds_threads_that_are_there_already() {
        runtime().build().unwrap().block_on(async {
            hire().await;
            let here = || std::fs::read_dir("/proc/self/task").unwrap().count();
            assert!(here() > WORKERS, "{}", here());
            let mut used = HashSet::new();
            for _ in 0..100 {
                used.insert(spawn_blocking(|| thread::current().id()).await.unwrap());
            }
            assert!(used.len() <= WORKERS, "{used:?}");
        });
    }
}
