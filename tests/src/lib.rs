//! What the live tests stand on: the real agent, programs whose life is known, and throw-away cgroups.
//!
//! Nothing here sleeps to make a race come out right. Each wait is for an event, and [`BACKSTOP`] only turns a hang
//! into a failure.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a helper of tests fails the test"
)]

mod agent;
mod bpf;
pub mod contained;
mod fake_agent;
mod family;
pub mod guest;
pub mod layout;
mod leaks;
mod life;
mod need;
mod pool;
mod program;
mod sandbox;
mod scene;
pub mod service;
mod talk;
mod terminal;
mod values;
pub mod web;

use std::{
    thread,
    time::{Duration, Instant},
};

pub use self::{
    agent::{Agent, Ended, Refusal, binary, refusal},
    bpf::KernelObjects,
    fake_agent::FakeAgent,
    family::Family,
    leaks::{Expected, Leak},
    life::{resident_kib, status_of, wake_ups},
    need::{Need, has_bpf_lsm, skip_unless},
    pool::Pool,
    program::{Started, compiled, compiled_static, for_everyone, script, start},
    sandbox::Sandbox,
    scene::{SCENE_UID, Scene, leaf_of},
    talk::{SOCKET, Talk},
    terminal::Terminal,
    values::{Kinds, kinds, number, of_kind, text, texts},
};

/// How long a wait may take before the test fails.
pub const BACKSTOP: Duration = Duration::from_mins(1);

/// Looks again and again until there is an answer: for states that send no event.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < BACKSTOP, "in vain waited for: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Returns from the test, telling why, when this machine cannot run it.
#[macro_export]
macro_rules! needs {
    ($($need:ident),+) => {
        fn here() {}
        let name = std::any::type_name_of_val(&here).trim_end_matches("::here");
        if $crate::skip_unless(name, &[$($crate::Need::$need),+]) {
            return;
        }
    };
}
