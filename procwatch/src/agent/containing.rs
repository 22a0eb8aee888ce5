//! Containment beside the agent's loop: orders are judged at once, and carried out on threads of their own, because a
//! process may take its time to end and a service to restart.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt::Write as _,
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use tokio::{
    task::{Id, JoinSet},
    time::timeout,
};

use super::report::Reporter;
use crate::{
    config::{Actions, Step, ThreadRule},
    detect::ladder::{Due, Way},
    event::ProcessKey,
    execute::contain::{
        Done, Order, Undone, Warden, Which, protect::forbidden, state::StateError, target::Target,
    },
    record::{Act, ActResult, Deed, Mode, Occasion, Process, RefusedFor},
};

/// Orders that are carried out at a time.
const AT_A_TIME: usize = 16;
/// Orders that may wait.
const MAX_WAITING: usize = 4096;
/// How long the end of the agent waits for what is under way.
const LAST_ORDERS: Duration = Duration::from_secs(12);

/// A step of a ladder that is due, and all that is known about it.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// The step.
    pub due: Due,
    /// What it is.
    pub order: Order,
    /// The process part of the record.
    pub process: Process,
    /// Its rule.
    pub rule: &'a ThreadRule,
    /// Whether decisions are carried out.
    pub mode: Mode,
}

/// Work for a thread.
#[derive(Debug)]
enum Job {
    /// An order that was found good.
    Order { order: Order, target: Box<Target>, process: Box<Process>, rule: String, occasion: Occasion },
    /// The end of a process to which something was done.
    Ended(ProcessKey),
}

/// Judges orders, has them carried out, and hands back what came of them.
#[derive(Debug)]
pub struct Container {
    warden: Warden,
    running: JoinSet<Vec<Act>>,
    /// For whom each of those is at work.
    busy: HashMap<Id, ProcessKey>,
    waiting: VecDeque<Job>,
    /// To these something was done that lasts.
    held: HashSet<ProcessKey>,
    /// Waits for the end of each of them.
    ends: JoinSet<ProcessKey>,
    counts: BTreeMap<(Deed, ActResult), u64>,
}

impl Container {
    /// Nobody is contained by it yet.
    pub fn new(warden: Warden) -> Self {
        Self {
            warden,
            running: JoinSet::new(),
            busy: HashMap::new(),
            waiting: VecDeque::new(),
            held: HashSet::new(),
            ends: JoinSet::new(),
            counts: BTreeMap::new(),
        }
    }

    /// From now on this one knows who is never contained, and that mode holds. Returns the orders that waited and are not
    /// carried out, because from now on nothing is.
    pub fn change(&mut self, warden: Warden, mode: Mode) -> Vec<Act> {
        self.warden = warden;
        let (dropped, kept) =
            self.waiting.drain(..).partition(|job| mode == Mode::Observe && job.is_an_action());
        self.waiting = kept;
        let dropped: VecDeque<Job> = dropped;
        let acts: Vec<Act> = dropped.into_iter().filter_map(|job| job.dropped(Done::would(), mode)).collect();
        for act in &acts {
            self.count(act);
        }
        acts
    }

    /// A process as it is now; `None` when it has ended.
    pub fn process(&self, key: ProcessKey, report: &mut Reporter) -> Option<Process> {
        let target = Target::of_key(key)?;
        Some(target.record(&mut report.converter.users, self.warden.mount()))
    }

    /// Whether the step may be done: the process, held, if so.
    ///
    /// # Errors
    /// The record of why not: a refusal, a process that has ended, or the mode `observe`.
    pub fn judge(&mut self, ask: &Ask<'_>) -> Result<Target, Box<Act>> {
        let target = self.target(ask).map_err(|done| {
            let rule = Some(ask.rule.described.clone());
            let occasion = ask.due.alarm.way.into();
            Box::new(done.act(ask.order, ask.process.clone(), rule, occasion, ask.mode))
        });
        if let Err(act) = &target {
            self.count(act);
        }
        target
    }

    /// Does a step, if it may be done. Returns the record at once where it may not; else it comes from [`Self::done`].
    /// Must be called within a tokio runtime.
    pub fn act(&mut self, ask: Ask<'_>) -> Option<Act> {
        let target = match self.judge(&ask) {
            Ok(target) => target,
            Err(act) => return Some(*act),
        };
        let rule = ask.rule.described.clone();
        let occasion = ask.due.alarm.way.into();
        if self.waiting.len() >= MAX_WAITING {
            let refused = Done::refused(RefusedFor::Overload, format!("{MAX_WAITING} actions wait already"));
            let act = refused.act(ask.order, ask.process, Some(rule), occasion, ask.mode);
            self.count(&act);
            return Some(act);
        }
        self.order(ask.order, target, ask.process, rule, occasion);
        None
    }

    /// Has an order carried out that was judged already. Must be called within a tokio runtime.
    pub fn order(
        &mut self,
        order: Order,
        target: Target,
        process: Process,
        rule: String,
        occasion: Occasion,
    ) {
        let key = target.key();
        if self.held.insert(key) {
            // Nobody else tells of its end when no alert of it lasts.
            match target.held().ended() {
                Ok(ended) => drop(self.ends.spawn(async move {
                    ended.await;
                    key
                })),
                Err(error) => tracing::warn!("the end of process {}: {error}", key.pid),
            }
        }
        let (target, process) = (Box::new(target), Box::new(process));
        self.waiting.push_back(Job::Order { order, target, process, rule, occasion });
        self.start();
    }

    /// A process has ended. Limits of its service, and what it left in its cell, are released. Cheap for a process to which
    /// nothing was done. Must be called within a tokio runtime.
    pub fn ended(&mut self, key: ProcessKey) {
        if self.held.remove(&key) {
            self.waiting.push_back(Job::Ended(key));
            self.start();
        }
    }

    /// Waits until something that was under way is done; for ever when nothing is. Cancel safe.
    pub async fn done(&mut self) -> Vec<Act> {
        loop {
            tokio::select! {
                Some(done) = self.running.join_next_with_id() => match done {
                    Ok((id, acts)) => {
                        self.busy.remove(&id);
                        self.start();
                        for act in &acts {
                            self.count(act);
                        }
                        if !acts.is_empty() {
                            return acts;
                        }
                    }
                    Err(error) => {
                        tracing::error!("an action ended before its time: {error}");
                        self.busy.remove(&error.id());
                        self.start();
                    }
                },
                Some(Ok(key)) = self.ends.join_next() => self.ended(key),
                else => pending().await,
            }
        }
    }

    /// The end of the agent: waits a little for what is under way, and takes back what the agent did to processes.
    ///
    /// # Errors
    /// When the notes of what is contained cannot be read or written.
    pub async fn stop(mut self) -> Result<Undone, StateError> {
        let mut acts: Vec<Act> = self
            .waiting
            .drain(..)
            .filter_map(|job| job.dropped(Done::refused(RefusedFor::AgentEnd, ""), Mode::Enforce))
            .collect();
        let last = async {
            while let Some(done) = self.running.join_next().await {
                acts.extend(done.unwrap_or_default());
            }
        };
        if timeout(LAST_ORDERS, last).await.is_err() {
            tracing::warn!("{} actions are still under way", self.running.len());
        }
        let warden = self.warden.clone();
        let undo = tokio::task::spawn_blocking(move || warden.undo(Which::Agents, Occasion::AgentEnd));
        let mut undone = undo.await.unwrap_or_else(|error| {
            Ok(Undone { acts: Vec::new(), complaint: Some(format!("nothing was taken back: {error}")) })
        })?;
        acts.append(&mut undone.acts);
        Ok(Undone { acts, ..undone })
    }

    /// What was done so far, and what would have been, counted: `throttle verified 2, kill would 1`. Empty for nothing.
    pub fn account(&self) -> String {
        let mut account = String::new();
        for ((deed, result), count) in &self.counts {
            let separator = if account.is_empty() { "" } else { ", " };
            // A string takes everything.
            let _ = write!(account, "{separator}{} {} {count}", deed.name(), result.name());
        }
        account
    }

    fn target(&self, ask: &Ask<'_>) -> Result<Target, Done> {
        let alarm = ask.due.alarm;
        let steps: Vec<_> = steps(&ask.rule.actions, alarm.way).iter().map(|step| step.action).collect();
        if let Some(reason) = forbidden(ask.rule, &steps, ask.due.action) {
            return Err(Done::refused(reason, ""));
        }
        let Some(target) = Target::of_key(alarm.key) else {
            return Err(match Target::of_pid(alarm.key.pid) {
                Some(other) => Done::refused(
                    RefusedFor::OtherProcess,
                    format!("its pid is that of {} now", other.facts().comm),
                ),
                None => Done::gone(),
            });
        };
        match (self.warden.refusal(&target), ask.mode) {
            (Some(refused), _) => Err(refused),
            (None, Mode::Observe) => Err(Done::would()),
            (None, Mode::Enforce) => Ok(target),
        }
    }

    /// Gives waiting jobs to threads, as many as may run. What is ordered for one process is done in that order.
    fn start(&mut self) {
        while self.running.len() < AT_A_TIME {
            let next = self.waiting.iter().position(|job| job.overtakes() || !self.is_busy(job.key()));
            let Some(job) = next.and_then(|at| self.waiting.remove(at)) else { return };
            let (key, warden) = (job.key(), self.warden.clone());
            let task = self.running.spawn_blocking(move || job.run(&warden));
            self.busy.insert(task.id(), key);
        }
    }

    fn is_busy(&self, key: ProcessKey) -> bool {
        self.busy.values().any(|busy| *busy == key)
    }

    fn count(&mut self, act: &Act) {
        if !act.undo {
            *self.counts.entry((act.action, act.result)).or_default() += 1;
        }
    }
}

impl Job {
    const fn key(&self) -> ProcessKey {
        match self {
            Self::Order { target, .. } => target.key(),
            Self::Ended(key) => *key,
        }
    }

    /// A kill does not wait for a process that takes its time to terminate.
    const fn overtakes(&self) -> bool {
        matches!(self, Self::Order { order: Order::Kill, .. })
    }

    /// Whether it does something to a process that lives. To note what the kernel did, and to clean up, is none.
    const fn is_an_action(&self) -> bool {
        match self {
            Self::Order { order, .. } => !matches!(order, Order::NoteStopped),
            Self::Ended(_) => false,
        }
    }

    /// The record of an order that nobody carries out any more, and of what came of it in place of that.
    fn dropped(self, done: Done, mode: Mode) -> Option<Act> {
        let Self::Order { order, process, rule, occasion, .. } = self else { return None };
        Some(done.act(order, *process, Some(rule), occasion, mode))
    }

    fn run(self, warden: &Warden) -> Vec<Act> {
        match self {
            Self::Order { order, target, process, rule, occasion } => {
                let done = to_its_end(|| warden.perform(order, &target, false));
                vec![done.act(order, *process, Some(rule), occasion, Mode::Enforce)]
            }
            Self::Ended(key) => match warden.undo(Which::Ended(key), Occasion::ProcessEnd) {
                Ok(undone) => undone.acts,
                Err(error) => {
                    tracing::error!("{error}");
                    Vec::new()
                }
            },
        }
    }
}

/// Every order ends in a record, even where a mistake of ours ends its thread.
fn to_its_end(perform: impl FnOnce() -> Done) -> Done {
    // What was under way is in the notes, where the next order finds it.
    catch_unwind(AssertUnwindSafe(perform)).unwrap_or_else(|_| Done::broken_off())
}

/// The ladder that belongs to an alert.
pub fn steps(actions: &Actions, way: Way) -> &[Step] {
    match way {
        Way::Level(severity) => actions.of_level(severity),
        Way::Burst => &actions.burst,
        Way::Leak => &actions.leak,
    }
}

#[cfg(test)]
mod tests;
