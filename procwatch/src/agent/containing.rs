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
            counts: BTreeMap::new(),
        }
    }

    /// From now on this one knows who is never contained.
    pub fn change(&mut self, warden: Warden) {
        self.warden = warden;
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
        self.held.insert(target.key());
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
            match self.running.join_next_with_id().await {
                Some(Ok((id, acts))) => {
                    self.busy.remove(&id);
                    self.start();
                    for act in &acts {
                        self.count(act);
                    }
                    return acts;
                }
                Some(Err(error)) => {
                    tracing::error!("an action ended before its time: {error}");
                    self.busy.remove(&error.id());
                    self.start();
                }
                None => pending().await,
            }
        }
    }

    /// The end of the agent: waits a little for what is under way, and takes back what the agent did to processes.
    ///
    /// # Errors
    /// When the notes of what is contained cannot be read or written.
    pub async fn stop(mut self) -> Result<Undone, StateError> {
        let mut acts: Vec<Act> = self.waiting.drain(..).filter_map(Job::give_up).collect();
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

    /// The record of an order that nobody carries out any more.
    fn give_up(self) -> Option<Act> {
        let Self::Order { order, process, rule, occasion, .. } = self else { return None };
        let refused = Done::refused(RefusedFor::AgentEnd, "");
        Some(refused.act(order, *process, Some(rule), occasion, Mode::Enforce))
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
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::{
        config::{Containment, Location, Match, OnMissing, Protect},
        detect::ladder::Alarm,
        event::BootTime,
        record::Severity,
        samples,
        text::Text,
    };

    fn rule() -> ThreadRule {
        let kill = Step { action: Containment::Kill, after: Duration::ZERO };
        ThreadRule {
            matches: Match { comms: vec![Text::from("sleep")], ..Match::default() },
            ignore: false,
            normal: None,
            levels: vec![80],
            burst: None,
            leak: None,
            cap: None,
            stop_at: None,
            on_missing: OnMissing::default(),
            protect: false,
            actions: Actions { burst: vec![kill], ..Actions::default() },
            described: "threads[1] comm=sleep".to_owned(),
            location: Some(Location::of_file("t.toml".as_ref())),
        }
    }

    struct Scene {
        folder: tempfile::TempDir,
        child: Child,
        rule: ThreadRule,
    }

    impl Scene {
        fn new() -> Self {
            let child = Command::new("sleep").arg("60").spawn().unwrap();
            Self { folder: tempfile::tempdir().unwrap(), child, rule: rule() }
        }

        fn container(&self) -> Container {
            let mount = samples::mount(self.folder.path());
            let warden = Warden::new(&mount, Protect::default());
            Container::new(warden.with_file(self.folder.path().join("contained.json")))
        }

        fn key(&self) -> ProcessKey {
            Target::of_pid(self.child.id()).unwrap().key()
        }

        fn order(&self, container: &mut Container, order: Order) {
            let target = Target::of_key(self.key()).unwrap();
            container.order(order, target, samples::process(), String::new(), Occasion::Burst);
        }

        fn ask(&self, key: ProcessKey, way: Way, mode: Mode) -> Ask<'_> {
            let alarm = Alarm { key, rule: 0, way, time: BootTime(0), threads: 99 };
            let due = Due { alarm, action: Containment::Kill };
            Ask { due, order: Order::Kill, process: samples::process(), rule: &self.rule, mode }
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            let _ = self.child.kill();
            self.child.wait().unwrap();
        }
    }

    #[test]
    fn what_may_not_be_done_is_told_at_once() {
        let mut scene = Scene::new();
        let mut container = scene.container();
        let mut told = |ask: Ask<'_>| {
            let act = container.act(ask).unwrap();
            (act.result, act.reason, act.occasion)
        };
        let key = scene.key();
        let notice = Way::Level(Severity::Notice);
        let would = (ActResult::Would, None, Occasion::Burst);
        assert_eq!(told(scene.ask(key, Way::Burst, Mode::Observe)), would);
        let not_named = (ActResult::Refused, Some(RefusedFor::NotNamed), Occasion::Notice);
        assert_eq!(told(scene.ask(key, notice, Mode::Enforce)), not_named);
        let other = ProcessKey { start: BootTime(key.start.0 + 1_000_000_000), ..key };
        let reused = (ActResult::Refused, Some(RefusedFor::OtherProcess), Occasion::Burst);
        assert_eq!(told(scene.ask(other, Way::Burst, Mode::Enforce)), reused);
        let nobody = ProcessKey { pid: u32::MAX >> 1, ..key };
        assert_eq!(told(scene.ask(nobody, Way::Burst, Mode::Enforce)).0, ActResult::Gone);
        let first = Target::of_pid(1).unwrap().key();
        let protected = (ActResult::Refused, Some(RefusedFor::FirstProcess), Occasion::Burst);
        assert_eq!(told(scene.ask(first, Way::Burst, Mode::Enforce)), protected);
        assert_eq!(told(scene.ask(first, Way::Burst, Mode::Observe)), protected);
        scene.rule.location = None;
        let built_in = (ActResult::Refused, Some(RefusedFor::CatchAll), Occasion::Burst);
        assert_eq!(told(scene.ask(key, Way::Burst, Mode::Enforce)), built_in);
        assert!(scene.child.try_wait().unwrap().is_none());
        assert_eq!(container.account(), "kill gone 1, kill refused 5, kill would 1");
    }

    #[test]
    fn what_breaks_off_is_told() {
        let done = to_its_end(|| panic!("a mistake"));
        assert_eq!(
            (done.result, done.detail.contains("procwatch")),
            (ActResult::Unverified, true),
            "{done:?}"
        );
    }

    #[test]
    fn what_may_be_done_is_done_beside_the_loop() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let scene = Scene::new();
        runtime.block_on(async {
            let mut container = scene.container();
            assert!(container.act(scene.ask(scene.key(), Way::Burst, Mode::Enforce)).is_none());
            let acts = container.done().await;
            let [act] = &acts[..] else { panic!("{acts:?}") };
            assert_eq!((act.action, act.result), (Deed::Kill, ActResult::Verified), "{act:?}");
            assert_eq!((act.threads_before, act.threads_after), (Some(1), Some(0)));
            assert_eq!(act.rule.as_deref(), Some("threads[1] comm=sleep"));
            assert!(timeout(Duration::from_millis(20), container.done()).await.is_err(), "nothing is left");
            assert_eq!(container.account(), "kill verified 1");
            assert!(container.stop().await.unwrap().acts.is_empty());
        });
    }

    #[test]
    fn what_is_ordered_for_one_process_is_done_in_that_order() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let scene = Scene::new();
        runtime.block_on(async {
            let mut container = scene.container();
            scene.order(&mut container, Order::Terminate);
            scene.order(&mut container, Order::Thaw);
            container.ended(scene.key());
            assert_eq!((container.running.len(), container.waiting.len()), (1, 2));
            scene.order(&mut container, Order::Kill);
            assert_eq!((container.running.len(), container.waiting.len()), (2, 2), "a kill does not wait");
            let mut deeds = Vec::new();
            while deeds.len() < 3 {
                deeds.extend(container.done().await.iter().map(|act| act.action));
            }
            let at = |deed| deeds.iter().position(|it| *it == deed).unwrap();
            assert!(at(Deed::Terminate) < at(Deed::Thaw), "{deeds:?}");
        });
    }

    #[test]
    fn what_waits_when_the_agent_ends_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let scene = Scene::new();
        runtime.block_on(async {
            let mut container = scene.container();
            scene.order(&mut container, Order::Terminate);
            scene.order(&mut container, Order::Thaw);
            let acts = container.stop().await.unwrap().acts;
            let told: Vec<_> = acts.iter().map(|act| (act.action, act.reason)).collect();
            assert_eq!(told, [(Deed::Thaw, Some(RefusedFor::AgentEnd)), (Deed::Terminate, None)]);
        });
    }
}
