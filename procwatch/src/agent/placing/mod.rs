//! Carries placements out: one write to move, the kernel's own event to prove it, and a sweep for children that were
//! born outside meanwhile.

mod account;
mod arm;
mod change;
mod facts;
mod owner;
mod rows;
mod sessions;
mod sweep;
mod watch;

use std::io;

use procwatch_common::{
    place::{Leave, LeftKey},
    stats::Stats,
};

pub(crate) use self::facts::delegated;
use self::{account::Account, facts::Facts, sessions::Sessions, watch::Watch};
pub use self::{
    arm::{backend, wants_hold},
    change::NewRules,
};
use super::{AgentError, report::Reporter};
use crate::{
    cgroup::{CgroupPath, Mount, ResolvedCgroup, resolve},
    config::PlaceRule,
    detect::{
        Place,
        judge::{Judgement, judge, lineage_to_su},
        place::Placement,
    },
    event::{Body as EventBody, BootTime, Event, Forebear, Held, ProcessKey, Subject},
    execute::{Backend, HeldProcess, Home, MoveError, PrepareError, SessionName},
    inspect::{self, Identity},
    kernel::{Kernel, RingReader},
    record::{
        self, Action, Ancestor, Body, Decision, HealthTopic, Mode, Outcome, Reason, Result as Outcoming,
        SeenAt, Verdict,
    },
    text::Text,
};

/// A rule with its cgroups found.
struct Rule {
    written: PlaceRule,
    home: Home,
    from: Vec<ResolvedCgroup>,
    backend: Box<dyn Backend>,
}

/// Knows the rules and moves what they name.
pub struct Placer {
    settings: arm::Settings,
    rules: Vec<Rule>,
    /// The detector, which also remembers what was done.
    pub placement: Placement,
    mount: Mount,
    facts: Facts,
    sessions: Sessions,
    account: Account,
    watch: Option<Watch>,
}

/// What the urgent ring gave.
pub struct Heard {
    /// What happened.
    pub event: Event,
    /// It was written under other rules about threads.
    pub is_old: bool,
}

/// What a placement is carried out with.
pub struct Hands<'a> {
    /// The kernel side.
    pub kernel: &'a mut Kernel,
    /// Where the proof of a move comes from.
    pub urgent: &'a mut RingReader,
    /// Where all is told.
    pub report: &'a mut Reporter,
    /// Events that the urgent ring gave meanwhile and that do not belong here.
    pub later: &'a mut Vec<Heard>,
}

/// The proof of a move.
struct Proof {
    time: BootTime,
    process: ProcessKey,
    path: Text,
}

impl Placer {
    /// Decides about a process that was seen outside, records it and, in enforce mode, carries it out.
    ///
    /// # Errors
    /// When the kernel side can no longer be read. A refused move is an outcome, not an error.
    pub fn place(&mut self, place: &Place, hands: &mut Hands<'_>) -> Result<(), AgentError> {
        let Some(rule) = self.rules.get(place.rule) else {
            let what = format!("a stray of rule {}, which there is not", place.rule);
            return hands.report.health(HealthTopic::Degraded, what);
        };
        if !self.speaks_of(place) {
            // Seen at the very moment of a change of rules: the look around that follows it finds it.
            return Ok(());
        }
        let seen_now = self.elsewhere_now(place, hands.report);
        let place = seen_now.as_ref().unwrap_or(place);
        self.facts.forget();
        let facts = self.facts.of(place, &rule.written, &mut hands.report.converter.cgroups);
        let judgement = judge(&rule.written, &facts.candidate(place));
        match judgement.reason.verdict() {
            Verdict::Leave => self.leave(place, &judgement, hands),
            Verdict::Move if self.settings.mode == Mode::Observe => self.observe(place, &judgement, hands),
            Verdict::Move => {
                let outcome = self.carry_out(place, &judgement, hands)?;
                let (strays, still_outside) = if outcome.result.is_moved() {
                    let (strays, left) = self.sweep(place.rule, hands)?;
                    (Some(strays), Some(left))
                } else {
                    (None, None)
                };
                hands.report.now_record(Body::Outcome(Outcome { strays, still_outside, ..outcome }))
            }
        }
    }

    /// An exec that was held goes on: it is counted.
    pub fn held(&mut self, held: &Held) {
        self.account.held(held);
    }

    /// What was done, with what the kernel programs counted; `None` when there is no rule.
    pub fn account(&self, stats: &Stats) -> Option<record::Placement> {
        (!self.rules.is_empty()).then(|| self.account.record(stats))
    }

    /// Returns when a cgroup that a rule names, or one above it, came or went. Cancel safe.
    ///
    /// # Errors
    /// When the kernel can no longer be asked.
    pub async fn changed(&self) -> io::Result<()> {
        match &self.watch {
            Some(watch) => watch.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Removes empty leaves that we made.
    pub fn tidy(&mut self) {
        for rule in &mut self.rules {
            rule.backend.tidy();
        }
    }

    /// Tells the programs not to ask again, and a held exec to go on.
    fn leave(
        &mut self,
        place: &Place,
        judgement: &Judgement,
        hands: &mut Hands<'_>,
    ) -> Result<(), AgentError> {
        let process = place.subject.key();
        if place.seen_at == SeenAt::Fork {
            self.account.was_no_stray();
        }
        let Some(leave) = settled_as(judgement.reason) else {
            let Rule { written, home, .. } = &self.rules[place.rule];
            if resolve(&self.mount, &written.slice).is_ok_and(|now| now == home.slice) {
                // Somebody else was quicker.
                return Ok(());
            }
            // Inside after all: the programs know the slice by an id that is no longer its.
            return self.find_home(place.rule, hands).map(drop);
        };
        hands.kernel.placement().leave_process(process, leave)?;
        if judgement.of_cgroup {
            let Subject { cgroup_id, uid, .. } = place.subject;
            let left = LeftKey { cgroup_id, uid, rule: place.rule as u32 };
            hands.kernel.placement().leave_cgroup(left, leave)?;
        }
        self.placement.settle(process, place.time);
        self.decide(place, judgement, None, hands.report)
    }

    /// Told once: it stays outside, and each program it runs would tell it again.
    fn observe(
        &mut self,
        place: &Place,
        judgement: &Judgement,
        hands: &mut Hands<'_>,
    ) -> Result<(), AgentError> {
        let process = place.subject.key();
        hands.kernel.placement().leave_process(process, Leave::Stray)?;
        self.placement.settle(process, BootTime(u64::MAX));
        let session = self.sessions.of(&place.subject, &place.provenance.ancestors);
        self.decide(place, judgement, Some(&session), hands.report)
    }

    fn decide(
        &self,
        place: &Place,
        judgement: &Judgement,
        session: Option<&SessionName>,
        report: &mut Reporter,
    ) -> Result<(), AgentError> {
        let rule = &self.rules[place.rule];
        let lineage = lineage_to_su(&place.subject, &place.provenance.ancestors);
        let lineage = (!lineage.is_empty()).then(|| lineage.iter().map(ancestor).collect());
        let decision = Decision {
            process: report.converter.process(&place.subject, lineage),
            verdict: judgement.reason.verdict(),
            reason: judgement.reason,
            evidence: judgement.evidence.clone(),
            rule: rule.written.described.clone(),
            mode: self.settings.mode,
            target: rule.home.slice.path.to_string(),
            session: session.map(ToString::to_string),
            seen_at: place.seen_at,
            file: place.file.clone(),
            loginuid: place.provenance.loginuid,
            sessionid: place.provenance.sessionid,
            tty: place.provenance.tty.clone(),
        };
        let record = report.converter.at(place.time, Body::Decision(decision));
        report.write(&record)
    }

    /// Moves one process and looks for the proof. What the sweep after it finds is left open.
    fn carry_out(
        &mut self,
        place: &Place,
        judgement: &Judgement,
        hands: &mut Hands<'_>,
    ) -> Result<Outcome, AgentError> {
        let session = self.sessions.of(&place.subject, &place.provenance.ancestors);
        self.decide(place, judgement, Some(&session), hands.report)?;
        let mut outcome = self.open_outcome(place, &session, hands.report);
        let cgroup = facts::path(&mut hands.report.converter.cgroups, place.subject.cgroup_id);
        // It stays where it is: an exec of it that is held goes on.
        let mut stays = Leave::Stray;
        match HeldProcess::open(&place.subject).map(|process| process.seen_in(cgroup)) {
            Ok(process) => match self.move_to(place.rule, &process, &session, hands)? {
                Ok(leaf) => self.prove(place, &leaf, &mut outcome, hands)?,
                Err(error) if error.is_gone() => outcome.result = Outcoming::Gone,
                Err(error) => {
                    if error.may_pass() {
                        stays = Leave::StrayForNow;
                    }
                    self.account.refused(&error.name());
                    outcome.error = Some(error.to_string());
                }
            },
            Err(Identity::OtherUids) => {
                stays = Leave::StrayForNow;
                outcome.error = Some("its uids have changed since; it is left where it is".to_owned());
            }
            Err(_) => outcome.result = Outcoming::Gone,
        }
        if outcome.result.is_moved() {
            outcome.freed_threads = Some(self.rules[place.rule].backend.freed_threads());
            let is_new = self.sessions.moved(place.subject.key(), session);
            self.account.moved(is_new, outcome.outside_ns);
        } else {
            hands.kernel.placement().leave_process(place.subject.key(), stays)?;
        }
        Ok(outcome)
    }

    fn open_outcome(&self, place: &Place, session: &SessionName, report: &mut Reporter) -> Outcome {
        let Rule { home, backend, .. } = &self.rules[place.rule];
        let process = report.converter.process(&place.subject, None);
        Outcome {
            from: process.cgroup.clone(),
            process,
            action: Action::Move,
            result: Outcoming::Failed,
            to: backend.leaf(home, session).to_string(),
            session: session.to_string(),
            error: None,
            outside_ns: None,
            freed_threads: None,
            strays: None,
            still_outside: None,
        }
    }

    /// Moves, and when the slice turns out to be gone, makes it anew and moves once more.
    fn move_to(
        &mut self,
        rule: usize,
        process: &HeldProcess,
        session: &SessionName,
        hands: &mut Hands<'_>,
    ) -> Result<Result<CgroupPath, MoveError>, AgentError> {
        let Rule { home, backend, .. } = &mut self.rules[rule];
        match backend.place(process, home, session) {
            Err(error) if error.is_homeless() => match self.find_home(rule, hands)? {
                Ok(()) => {
                    let Rule { home, backend, .. } = &mut self.rules[rule];
                    Ok(backend.place(process, home, session))
                }
                Err(why) => Ok(Err(error.unready(why))),
            },
            moved => Ok(moved),
        }
    }

    /// Finds or makes the slice again, and tells the programs its id.
    fn find_home(
        &mut self,
        index: usize,
        hands: &mut Hands<'_>,
    ) -> Result<Result<(), PrepareError>, AgentError> {
        let rule = &mut self.rules[index];
        match rule.backend.prepare(&rule.written.slice) {
            Ok(home) => rule.home = home,
            Err(error) => return Ok(Err(error)),
        }
        self.tell_rule(index, hands.kernel)?;
        Ok(Ok(()))
    }

    /// The tracepoint of the move fired within our write: its record is in the ring by now.
    fn prove(
        &mut self,
        place: &Place,
        leaf: &CgroupPath,
        outcome: &mut Outcome,
        hands: &mut Hands<'_>,
    ) -> Result<(), AgentError> {
        let key = place.subject.key();
        let path = leaf.to_string();
        outcome.to.clone_from(&path);
        outcome.result = Outcoming::Unverified;
        while let Some(taken) = hands.urgent.take() {
            let event = match taken.event {
                Ok(event) => event,
                Err(error) => {
                    hands.report.health(HealthTopic::Degraded, error.to_string())?;
                    continue;
                }
            };
            let Some(proof) = proof(&event) else {
                hands.later.push(Heard { event, is_old: taken.is_old });
                continue;
            };
            self.placement.settle(proof.process, proof.time);
            if proof.process == key && proof.path.as_bytes() == path.as_bytes() {
                outcome.result = Outcoming::Verified;
                outcome.outside_ns = Some(proof.time.since(place.time));
            }
        }
        // One that was there already is not moved by the kernel, and one whose event found the ring full was.
        if outcome.result == Outcoming::Unverified && inspect::cgroup(key).as_ref() == Some(leaf) {
            outcome.result = Outcoming::Verified;
        }
        Ok(())
    }
}

/// As what the programs remember one that is left alone; `None` when they have nothing to remember.
const fn settled_as(reason: Reason) -> Option<Leave> {
    Some(match reason {
        Reason::AlreadyInside => return None,
        Reason::SystemService => Leave::SystemService,
        Reason::OtherNamespace => Leave::OtherNamespace,
        Reason::DelegatedSubtree => Leave::DelegatedSubtree,
        Reason::Ignored => Leave::Ignored,
        Reason::MainPid => Leave::MainPid,
        Reason::NotInFrom => Leave::NotInFrom,
        Reason::OutsideSlice => Leave::Stray,
        Reason::Protected
        | Reason::KernelThread
        | Reason::RootParent
        | Reason::OtherUser
        | Reason::ForAMoment => Leave::Protected,
    })
}

fn ancestor(forebear: &Forebear) -> Ancestor {
    Ancestor { pid: forebear.key.pid, uid: forebear.uid, comm: forebear.comm }
}

fn proof(event: &Event) -> Option<Proof> {
    let EventBody::Moved(attach) = &event.body else {
        return None;
    };
    Some(Proof { time: event.time, process: event.subject.key(), path: attach.path.clone() })
}
