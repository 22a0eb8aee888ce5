//! Containment: what is done to a process, one action a file. Each measures what came of it, notes what was before it, and
//! can be taken back exactly.
//!
//! A cgroup action works on a [`cell::Cell`]: a cgroup that holds the process, and what it made, and nobody else.
//! [`plan`] chooses it, [`state`] keeps the notes, [`release`] is the way back, and [`recover`] finds what an agent that died
//! has left behind.

pub mod cell;
mod freeze;
mod hands;
mod impose;
mod inhabit;
pub mod limit;
mod look;
mod pids;
pub mod plan;
pub mod protect;
mod recover;
mod release;
mod restart;
mod signal;
pub mod state;
mod stop;
pub mod target;
mod throttle;
mod undo;
mod work;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use self::{
    hands::Hands,
    protect::protection,
    state::{STATE_FILE, State, StateError},
    target::Target,
    work::{Measured, Work},
};
pub use self::{
    recover::Recovered,
    undo::{Undone, Which, taken_back},
};
use crate::{
    cgroup::{CgroupPath, Mount},
    config::{Containment, Protect},
    record::{Act, ActResult, Deed, Mode, Occasion, Process, RefusedFor},
};

/// What is to be done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Limit its CPU time.
    Throttle {
        /// Percent of one CPU, from 1.
        percent: u32,
    },
    /// Freeze it.
    Freeze,
    /// Thaw it.
    Thaw,
    /// Limit its threads by its cgroup.
    Cap {
        /// Most threads; `None`: as many as it has now.
        threads: Option<u32>,
    },
    /// Stop it by SIGSTOP.
    Stop,
    /// Note that the kernel program has stopped it, so that it is known to whoever is to let it go on.
    NoteStopped,
    /// Send it SIGTERM.
    Terminate,
    /// Restart its service.
    Restart,
    /// Send it SIGKILL.
    Kill,
}

/// What was done, as measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What came of it.
    pub result: ActResult,
    /// Why it was refused.
    pub reason: Option<RefusedFor>,
    /// What was measured, or said, in words, escaped.
    pub detail: String,
    /// The cgroup by which it was done.
    pub cell: Option<CgroupPath>,
    /// The percent or threads that it was limited to.
    pub limit: Option<u32>,
    /// Threads before it.
    pub threads_before: Option<u32>,
    /// Threads after it.
    pub threads_after: Option<u32>,
    /// How long it took until all was measured.
    pub took: Duration,
}

/// Contains processes, and releases them.
#[derive(Clone, Debug)]
pub struct Warden {
    mount: Mount,
    file: PathBuf,
    protect: Protect,
}

impl Order {
    /// What an alert's step is; `None` for a diagnosis, which does nothing to a process.
    pub const fn of(action: Containment) -> Option<Self> {
        Some(match action {
            Containment::Diagnose => return None,
            Containment::Throttle { percent } => Self::Throttle { percent },
            Containment::Freeze => Self::Freeze,
            Containment::Thaw => Self::Thaw,
            Containment::Cap { threads } => Self::Cap { threads },
            Containment::Terminate => Self::Terminate,
            Containment::Restart => Self::Restart,
            Containment::Kill => Self::Kill,
        })
    }

    /// What it is called in records.
    pub const fn deed(self) -> Deed {
        match self {
            Self::Throttle { .. } => Deed::Throttle,
            Self::Freeze => Deed::Freeze,
            Self::Thaw => Deed::Thaw,
            Self::Cap { .. } => Deed::Cap,
            Self::Stop | Self::NoteStopped => Deed::Stop,
            Self::Terminate => Deed::Terminate,
            Self::Restart => Deed::Restart,
            Self::Kill => Deed::Kill,
        }
    }

    /// The percent or threads that it limits to, where that is known before.
    pub const fn limit(self) -> Option<u32> {
        match self {
            Self::Throttle { percent } => Some(percent),
            Self::Cap { threads } => threads,
            _ => None,
        }
    }
}

impl Done {
    fn of(measured: Measured) -> Self {
        let Measured { result, reason, detail, cell, limit } = measured;
        Self {
            result,
            reason,
            detail,
            cell,
            limit,
            threads_before: None,
            threads_after: None,
            took: Duration::ZERO,
        }
    }

    /// Not done, for this reason.
    pub fn refused(reason: RefusedFor, detail: impl Into<String>) -> Self {
        Self::of(Measured::refused(reason, detail))
    }

    /// Not done, because the mode is `observe`.
    pub fn would() -> Self {
        Self::of(Measured::new(ActResult::Would, ""))
    }

    /// Not done, because the process had ended.
    pub fn gone() -> Self {
        Self::of(Measured::gone())
    }

    /// Begun, and broken off by a mistake of the program itself.
    pub fn broken_off() -> Self {
        let detail =
            "broken off by a mistake in procwatch, which its log tells; what it came to is not known";
        Self::of(Measured::new(ActResult::Unverified, detail))
    }

    /// The record of it.
    pub fn act(
        self,
        order: Order,
        process: Process,
        rule: Option<String>,
        occasion: Occasion,
        mode: Mode,
    ) -> Act {
        Act {
            process,
            action: order.deed(),
            undo: false,
            limit: self.limit.or(order.limit()),
            rule,
            occasion,
            mode,
            result: self.result,
            reason: self.reason,
            threads_before: self.threads_before,
            threads_after: self.threads_after,
            detail: self.detail,
            cell: self.cell.as_ref().map(target::shown),
            took_ns: u64::try_from(self.took.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

impl Warden {
    /// In the hierarchy mounted there. `protect` adds to those who are never contained.
    pub fn new(mount: &Mount, protect: Protect) -> Self {
        Self { mount: mount.clone(), file: PathBuf::from(STATE_FILE), protect }
    }

    /// The same with another file for its notes.
    #[must_use]
    pub fn with_file(self, file: PathBuf) -> Self {
        Self { file, ..self }
    }

    /// The hierarchy.
    pub const fn mount(&self) -> &Mount {
        &self.mount
    }

    /// Why a process is never contained, and in words how that shows; `None` when it may be.
    pub fn refusal(&self, target: &Target) -> Option<Done> {
        let nature = target.nature();
        let reason = protection(&nature, &self.protect)?;
        let detail = match reason {
            RefusedFor::SessionLeader => format!("{} leads a session with a terminal", nature.comm),
            RefusedFor::Listed => format!("{} is in the list of protected ones", nature.comm),
            _ => match nature.exe {
                Some(exe) => format!("{} of {exe} is protected", nature.comm),
                None => format!("{} is protected", nature.comm),
            },
        };
        Some(Done::refused(reason, detail))
    }

    /// Does one thing to one process, unless it is protected, and measures what came of it. Takes as long as that: to
    /// terminate up to 10 s, to restart a service up to two minutes, all else a few seconds at most.
    pub fn perform(&self, order: Order, target: &Target, by_hand: bool) -> Done {
        // It may have become another program since it was held.
        let Some(now) = Target::of_key(target.key()) else { return Done::gone() };
        if let Some(refused) = self.refusal(&now) {
            return refused;
        }
        let (begun, before) = (Instant::now(), target.threads());
        let (mut measured, new_threads) = self.carry_out(order, target, by_hand);
        if by_hand
            && matches!(order, Order::Terminate | Order::Kill)
            && measured.result == ActResult::Verified
        {
            self.tidy(target, &mut measured);
        }
        let after = new_threads.unwrap_or_else(|| target.threads());
        let was_touched = !matches!(
            measured.result,
            ActResult::Gone | ActResult::Refused | ActResult::Unavailable | ActResult::Would
        );
        Done {
            threads_before: was_touched.then_some(before),
            threads_after: was_touched.then_some(after),
            took: begun.elapsed(),
            ..Done::of(measured)
        }
    }

    fn carry_out(&self, order: Order, target: &Target, by_hand: bool) -> (Measured, Option<u32>) {
        let measured = match order {
            Order::Terminate => signal::terminate(target, || self.loosen(target)),
            Order::Kill => signal::kill(target),
            Order::Restart => return self.restart(target),
            Order::Thaw => self.thaw(target),
            Order::Throttle { .. } | Order::Freeze | Order::Cap { .. } | Order::Stop | Order::NoteStopped => {
                self.contain(order, target, by_hand)
            }
        };
        (measured, None)
    }

    fn contain(&self, order: Order, target: &Target, by_hand: bool) -> Measured {
        let hands = Hands::new(&self.mount);
        let mut state = match State::hold(&self.file) {
            Ok(state) => state,
            Err(error) => return error.into(),
        };
        if let Some(complaint) = state.complaint() {
            tracing::warn!("{complaint}");
        }
        let mut work = Work { hands: &hands, state: &mut state, target, protect: &self.protect, by_hand };
        let measured = match order {
            Order::Throttle { percent } => throttle::throttle(&mut work, percent),
            Order::Cap { threads } => pids::cap(&mut work, threads),
            Order::Stop => stop::stop(&mut work),
            Order::NoteStopped => stop::note(&mut work),
            _ => freeze::freeze(&mut work),
        };
        measured.unwrap_or_else(|not_done| not_done)
    }

    fn thaw(&self, target: &Target) -> Measured {
        match self.take_back(target, &[Deed::Freeze]) {
            Ok(Some(measured)) => measured,
            Ok(None) => Measured::new(ActResult::Unavailable, "procwatch has not frozen it"),
            Err(error) => error.into(),
        }
    }

    /// What was asked to end must be able to hear it.
    fn loosen(&self, target: &Target) -> Option<String> {
        match self.take_back(target, &[Deed::Freeze, Deed::Stop]) {
            Ok(measured) => measured.map(|measured| measured.detail),
            Err(error) => Some(error.to_string()),
        }
    }

    /// What is left of a process that a person has ended, such as a limit of its service, goes with it. After an end that the
    /// agent brought about, that is told by itself.
    fn tidy(&self, target: &Target, measured: &mut Measured) {
        let all = [Deed::Freeze, Deed::Throttle, Deed::Cap, Deed::Stop];
        let left = match self.take_back(target, &all) {
            Ok(None) => return,
            Ok(Some(left)) => left.detail,
            Err(error) => error.to_string(),
        };
        measured.detail = format!("{}; taken back: {left}", measured.detail);
    }

    /// Its limits would be those of the new process, and it must hear that it is to stop.
    fn restart(&self, target: &Target) -> (Measured, Option<u32>) {
        let hands = Hands::new(&self.mount);
        let unit = match restart::service_of(&hands, target) {
            Ok(unit) => unit,
            Err(measured) => return (measured, None),
        };
        let all = [Deed::Freeze, Deed::Throttle, Deed::Cap, Deed::Stop];
        if let Err(error) = self.take_back(target, &all) {
            return (error.into(), None);
        }
        restart::restart(&hands, target, &unit)
    }

    /// Takes these effects on a process back; `None` when there are none.
    fn take_back(&self, target: &Target, deeds: &[Deed]) -> Result<Option<Measured>, StateError> {
        let hands = Hands::new(&self.mount);
        let mut state = State::hold(&self.file)?;
        let Some(entry) = state.entry(target.key()).cloned() else { return Ok(None) };
        let released = release::release(&hands, &mut state, entry, |deed, _| deeds.contains(&deed))?;
        let worst = released.iter().map(|one| one.result).max_by_key(|result| *result != ActResult::Verified);
        let details: Vec<&str> = released.iter().map(|one| one.detail.as_str()).collect();
        let cell = released.iter().find_map(|one| one.cell.clone());
        Ok(worst.map(|result| Measured { cell, ..Measured::new(result, details.join(", ")) }))
    }
}
