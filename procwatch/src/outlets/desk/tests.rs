use std::time::Duration;

use super::*;
use crate::{
    config::outlet::{OutletKind, Wants},
    record::{Body, Severity},
    samples,
};

/// An outlet at a clock that we turn: at most three messages a minute, two retries.
struct Scene {
    desk: Desk,
    start: Instant,
    now: f64,
    pid: u32,
    told: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        let config = OutletConfig {
            name: "ops".to_owned(),
            kind: OutletKind::Wall,
            wants: Wants { kinds: Vec::new(), severity: Severity::Notice, uids: Vec::new() },
            at_most: Rate { count: 3, within: Duration::from_mins(1) },
            retries: 2,
            timeout: Duration::from_secs(1),
        };
        Self { desk: Desk::new(&config), start: Instant::now(), now: 0.0, pid: 0, told: Vec::new() }
    }

    fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64(seconds)
    }

    /// So many alerts come, each of another process.
    fn come(&mut self, count: u32) {
        for _ in 0..count {
            self.pid += 1;
            let Body::Alert(mut alert) = samples::all().swap_remove(7).body else { panic!() };
            alert.process.pid = self.pid;
            self.desk.take(Told::new(samples::record(Body::Alert(alert))).unwrap());
        }
    }

    fn next(&mut self) -> Next {
        let now = self.at(self.now);
        self.desk.next(now)
    }

    /// What is to be delivered now, in words: `1` for the record of process 1, `3+2` for a digest of five records that
    /// names three processes; `-` for nothing.
    fn message(&mut self) -> String {
        if self.next() != Next::Deliver {
            return "-".to_owned();
        }
        words(self.desk.message().unwrap())
    }

    /// Delivers all that can be delivered now.
    fn deliver(&mut self) {
        loop {
            match self.message() {
                nothing if nothing == "-" => break,
                message => self.told.push(format!("{}s {message}", self.now)),
            }
            self.desk.delivered();
        }
    }

    fn fail(&mut self, again: Again) -> Failed {
        let now = self.at(self.now);
        // No part of the wait is random then.
        self.desk.failed(now, again, 1.0)
    }
}

fn words(message: &Message) -> String {
    match message {
        Message::One(told) => {
            let Body::Alert(alert) = &told.record.body else { panic!() };
            alert.process.pid.to_string()
        }
        Message::Digest(digest) => format!("{}+{}", digest.entries.len(), digest.unnamed),
    }
}

#[test]
fn a_burst_is_told_one_by_one_and_then_in_one() {
    let mut scene = Scene::new();
    scene.come(1);
    scene.deliver();
    scene.now = 20.0;
    scene.come(60);
    scene.deliver();
    assert_eq!(scene.next(), Next::Until(scene.at(60.0)));
    scene.now = 30.0;
    scene.come(1);
    scene.deliver();
    scene.now = 60.0;
    scene.deliver();
    // The next one comes when the burst is a minute old.
    scene.come(1);
    scene.deliver();
    scene.now = 80.0;
    scene.come(1);
    scene.deliver();
    assert_eq!(scene.next(), Next::Wait);
    // 63 came: 3 were told one by one, 59 by the first digest, which names 50 of them, and 2 by the second.
    assert_eq!(scene.told, ["0s 1", "20s 2", "20s 3", "60s 50+9", "80s 2+0"]);
}

#[test]
fn as_many_as_allowed_are_told_one_by_one() {
    let mut scene = Scene::new();
    scene.come(3);
    scene.deliver();
    scene.come(2);
    scene.deliver();
    scene.now = 59.9;
    scene.deliver();
    scene.now = 60.0;
    scene.deliver();
    assert_eq!(scene.told, ["0s 1", "0s 2", "0s 3", "60s 2+0"]);
}

#[test]
fn what_fails_is_tried_again_and_keeps_its_place() {
    let mut scene = Scene::new();
    scene.come(2);
    assert_eq!(scene.message(), "1");
    assert_eq!(scene.fail(Again::Later), Failed::Again);
    assert_eq!((scene.message(), scene.next()), ("-".to_owned(), Next::Until(scene.at(1.0))));
    scene.now = 1.0;
    assert_eq!(scene.message(), "1");
    assert_eq!(scene.fail(Again::After(Duration::from_secs(30))), Failed::Again);
    assert_eq!(scene.next(), Next::Until(scene.at(31.0)));
    scene.now = 31.0;
    scene.deliver();
    assert_eq!(scene.told, ["31s 1", "31s 2"]);
    assert_eq!(scene.next(), Next::Wait);
}

#[test]
fn what_is_given_up_is_told_by_the_next_digest() {
    let mut scene = Scene::new();
    scene.come(1);
    for (wait, failed) in [(1.0, Failed::Again), (2.0, Failed::Again), (4.0, Failed::GivenUp { records: 1 })]
    {
        assert_eq!(scene.message(), "1");
        assert_eq!(scene.fail(Again::Later), failed);
        scene.now += wait;
    }
    // Nothing is tried, and nobody is woken, before there is something new to tell.
    scene.now = 1000.0;
    assert_eq!(scene.next(), Next::Wait);
    scene.come(1);
    assert_eq!(scene.message(), "2+0");
    assert_eq!(scene.fail(Again::Never), Failed::GivenUp { records: 0 });
    assert_eq!(scene.next(), Next::Wait);
    scene.come(1);
    // Not at once: it has failed four times in a row.
    assert_eq!(scene.next(), Next::Until(scene.at(1008.0)));
    scene.now = 1008.0;
    let Next::Deliver = scene.next() else { panic!() };
    let Some(Message::Digest(digest)) = scene.desk.message() else { panic!() };
    assert_eq!((digest.records, digest.undelivered, digest.entries.len()), (3, 1, 3));
    scene.deliver();
    assert_eq!(scene.next(), Next::Wait);
    scene.come(1);
    scene.deliver();
    assert_eq!(scene.told, ["1008s 3+0", "1008s 4"]);
}

#[test]
fn what_waits_behind_one_that_is_given_up_is_told_with_it() {
    let mut scene = Scene::new();
    scene.come(3);
    assert_eq!(scene.message(), "1");
    assert_eq!(scene.fail(Again::Never), Failed::GivenUp { records: 1 });
    assert_eq!(scene.next(), Next::Until(scene.at(1.0)));
    scene.now = 1.0;
    scene.deliver();
    assert_eq!(scene.told, ["1s 3+0"]);
}

#[test]
fn what_found_no_room_is_counted() {
    let mut scene = Scene::new();
    scene.come(2);
    scene.desk.take_unnamed(0);
    assert_eq!(scene.message(), "1");
    scene.desk.delivered();
    scene.desk.take_unnamed(700);
    scene.come(1);
    scene.deliver();
    assert_eq!(scene.told, ["0s 2", "0s 1+700"]);
}

#[test]
fn at_the_end_all_that_is_left_is_one_message() {
    let last = |scene: &mut Scene| scene.desk.last().map(|message| words(&message));
    let mut scene = Scene::new();
    assert_eq!(last(&mut scene), None);
    scene.come(1);
    assert_eq!(last(&mut scene).as_deref(), Some("1"));
    scene.come(2);
    assert_eq!(last(&mut scene).as_deref(), Some("2+0"));
    scene.come(1);
    assert_eq!(scene.message(), "4");
    assert_eq!(last(&mut scene).as_deref(), Some("4"));
    scene.come(3);
    assert_eq!(scene.message(), "5");
    scene.desk.take_unnamed(9);
    assert_eq!(last(&mut scene).as_deref(), Some("3+9"));
    assert_eq!(last(&mut scene), None);
}
