use std::{
    cell::RefCell,
    process::{Child, Command},
};

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
    key: ProcessKey,
    /// It, held for each order: before the first one may end it.
    targets: RefCell<Vec<Target>>,
    rule: ThreadRule,
}

impl Scene {
    fn new() -> Self {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let targets: Vec<Target> = (0..3).map(|_| Target::of_pid(child.id()).unwrap()).collect();
        let (key, targets) = (targets[0].key(), RefCell::new(targets));
        Self { folder: tempfile::tempdir().unwrap(), child, key, targets, rule: rule() }
    }

    fn container(&self) -> Container {
        let mount = samples::mount(self.folder.path());
        let warden = Warden::new(&mount, Protect::default());
        Container::new(warden.with_file(self.folder.path().join("contained.json")))
    }

    fn order(&self, container: &mut Container, order: Order) {
        let target = self.targets.borrow_mut().pop().unwrap();
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
    let key = scene.key;
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
    assert_eq!((done.result, done.detail.contains("procwatch")), (ActResult::Unverified, true), "{done:?}");
}

#[test]
fn what_may_be_done_is_done_beside_the_loop() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scene = Scene::new();
    runtime.block_on(async {
        let mut container = scene.container();
        assert!(container.act(scene.ask(scene.key, Way::Burst, Mode::Enforce)).is_none());
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
        container.ended(scene.key);
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
fn what_waits_is_not_done_any_more_when_the_agent_is_to_observe() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut scene = Scene::new();
    runtime.block_on(async {
        let mut container = scene.container();
        scene.order(&mut container, Order::Stop);
        scene.order(&mut container, Order::Terminate);
        scene.order(&mut container, Order::NoteStopped);
        let warden = container.warden.clone();
        assert!(container.change(warden.clone(), Mode::Enforce).is_empty());
        let acts = container.change(warden, Mode::Observe);
        let told: Vec<_> = acts.iter().map(|act| (act.action, act.result, act.mode)).collect();
        assert_eq!(told, [(Deed::Terminate, ActResult::Would, Mode::Observe)]);
        for _ in 0..2 {
            assert_eq!(container.done().await[0].action, Deed::Stop);
        }
        assert!(scene.child.try_wait().unwrap().is_none(), "it was not terminated");
    });
}

#[test]
fn the_end_of_a_held_process_is_seen_though_nobody_tells_of_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut scene = Scene::new();
    runtime.block_on(async {
        let mut container = scene.container();
        scene.order(&mut container, Order::Stop);
        assert_eq!(container.done().await[0].action, Deed::Stop);
        assert!(scene.folder.path().join("contained.json").exists());
        scene.child.kill().unwrap();
        let acts = container.done().await;
        let told: Vec<_> = acts.iter().map(|act| (act.action, act.undo, act.occasion)).collect();
        assert_eq!(told, [(Deed::Stop, true, Occasion::ProcessEnd)]);
        assert!(!scene.folder.path().join("contained.json").exists());
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
