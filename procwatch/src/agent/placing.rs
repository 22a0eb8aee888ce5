//! Carries placements out: one write to move, the kernel's own event to prove it, and a sweep for children that were
//! born outside meanwhile.

use procwatch_common::policy::{CgroupCell, MAX_FROM, PlaceCell};

use super::{AgentError, report::Reporter};
use crate::{
    cgroup::{CgroupPath, Mount, ResolvedCgroup, resolve},
    config::{Config, PlaceRule},
    detect::{Place, place::Placement},
    event::{Body as EventBody, BootTime, Event, ProcessKey, Subject},
    execute::{Backend, HeldProcess, Home, SessionName},
    inspect::Identity,
    kernel::{Kernel, RingReader, picture},
    record::{Action, Body, Decision, Mode, Outcome, Reason, Result as Outcoming, SeenAt, Verdict},
    text::Text,
};

/// Sweeps after one move. A process that forks faster than this is still followed by the kernel's own events.
const MAX_SWEEPS: usize = 16;

/// A rule with its cgroups found.
#[derive(Debug)]
struct Rule {
    written: PlaceRule,
    home: Home,
    from: Vec<ResolvedCgroup>,
}

/// Knows the rules and moves what they name.
pub struct Placer {
    mode: Mode,
    rules: Vec<Rule>,
    /// The detector, which also remembers what was moved.
    pub placement: Placement,
    backend: Box<dyn Backend>,
}

/// The proof of a move.
struct Proof {
    time: BootTime,
    process: ProcessKey,
    path: Text,
}

impl Placer {
    /// Finds the cgroups of all rules.
    ///
    /// # Errors
    /// When one does not exist.
    pub fn new(config: &Config, mount: &Mount, mut backend: Box<dyn Backend>) -> Result<Self, AgentError> {
        let find = |rule: &PlaceRule, slice| {
            resolve(mount, slice).map_err(|source| AgentError::Slice {
                context: format!("{}: {}", rule.location, rule.described),
                source: source.into(),
            })
        };
        let rules = config
            .place
            .iter()
            .map(|rule| {
                let from = rule.from.iter().map(|from| find(rule, from)).collect::<Result<_, _>>()?;
                let home = backend.prepare(&rule.slice).map_err(|source| AgentError::Slice {
                    context: format!("{}: {}", rule.location, rule.described),
                    source,
                })?;
                Ok(Rule { written: rule.clone(), home, from })
            })
            .collect::<Result<Vec<_>, AgentError>>()?;
        let placement = Placement::new(rules.iter().map(|rule| rule.written.uid));
        Ok(Self { mode: config.mode, rules, placement, backend })
    }

    /// Tells the kernel programs where each uid belongs.
    ///
    /// # Errors
    /// When there are more rules than the kernel side has room for.
    pub fn arm(&self, kernel: &mut Kernel) -> Result<(), AgentError> {
        for rule in &self.rules {
            let mut from = [CgroupCell::default(); MAX_FROM];
            for (slot, source) in from.iter_mut().zip(&rule.from) {
                *slot = cell(source);
            }
            kernel.place(rule.written.uid, PlaceCell { target: cell(&rule.home.slice), from })?;
        }
        let count = self.rules.len() as u32;
        Ok(kernel.steer(|control| control.place_rules = count)?)
    }

    /// Records the decision and, in enforce mode, carries it out.
    ///
    /// Events that the urgent ring gave meanwhile and that do not belong here are put into `later`.
    ///
    /// # Errors
    /// When the kernel side can no longer be read. A refused move is an outcome, not an error.
    pub fn place(
        &mut self,
        place: &Place,
        kernel: &mut Kernel,
        urgent: &mut RingReader,
        report: &mut Reporter,
        later: &mut Vec<Event>,
    ) -> Result<(), AgentError> {
        self.decide(place, report)?;
        if self.mode == Mode::Observe {
            // Told once: it stays outside, and each program it runs would tell it again.
            self.placement.remember(place.subject.key(), BootTime(u64::MAX));
            return Ok(());
        }
        let outcome = self.carry_out(place, urgent, report, later);
        let still_outside = if outcome.result.is_moved() {
            Some(self.sweep(place.rule, kernel, urgent, report, later)?)
        } else {
            None
        };
        report.now_record(Body::Outcome(Outcome { still_outside, ..outcome }))
    }

    /// Looks for processes that are outside already, and treats each like one that was just seen.
    ///
    /// # Errors
    /// As for [`Self::place`].
    pub fn look_around(
        &mut self,
        kernel: &mut Kernel,
        urgent: &mut RingReader,
        report: &mut Reporter,
        later: &mut Vec<Event>,
    ) -> Result<(), AgentError> {
        for rule in 0..self.rules.len() {
            for place in self.strays(rule, kernel, report)? {
                if self.placement.moved_at(place.subject.key()).is_none() {
                    self.place(&place, kernel, urgent, report, later)?;
                }
            }
        }
        Ok(())
    }

    /// Removes empty leaves that we made.
    pub fn tidy(&mut self) {
        self.backend.tidy();
    }

    fn decide(&mut self, place: &Place, report: &mut Reporter) -> Result<(), AgentError> {
        let rule = &self.rules[place.rule];
        let decision = Decision {
            process: report.converter.process(&place.subject, None),
            verdict: place.verdict,
            reason: place.reason,
            rule: rule.written.described.clone(),
            mode: self.mode,
            target: rule.home.slice.path.to_string(),
            seen_at: place.seen_at,
            loginuid: place.loginuid,
            sessionid: place.sessionid,
        };
        let record = report.converter.at(place.time, Body::Decision(decision));
        report.write(&record)
    }

    /// Moves one process and looks for the proof. `still_outside` is left open.
    fn carry_out(
        &mut self,
        place: &Place,
        urgent: &mut RingReader,
        report: &mut Reporter,
        later: &mut Vec<Event>,
    ) -> Outcome {
        let home = self.rules[place.rule].home.clone();
        let session = SessionName::of(place.subject.key());
        let leaf = self.backend.leaf(&home, &session);
        let process = report.converter.process(&place.subject, None);
        let mut outcome = Outcome {
            from: process.cgroup.clone(),
            process,
            action: Action::Move,
            result: Outcoming::Failed,
            to: leaf.to_string(),
            error: None,
            outside_ns: None,
            still_outside: None,
        };
        let held = match HeldProcess::open(&place.subject) {
            Ok(held) => held,
            Err(Identity::OtherUids) => {
                outcome.error = Some("its uids have changed since; it is left where it is".to_owned());
                return outcome;
            }
            Err(_) => {
                outcome.result = Outcoming::Gone;
                return outcome;
            }
        };
        match self.backend.place(&held, &home, &session) {
            Ok(leaf) => self.prove(place, &leaf, urgent, &mut outcome, later),
            Err(error) if error.is_gone() => outcome.result = Outcoming::Gone,
            Err(error) => outcome.error = Some(error.to_string()),
        }
        outcome
    }

    /// The tracepoint of the move fired within our write: its record is in the ring by now.
    fn prove(
        &mut self,
        place: &Place,
        leaf: &CgroupPath,
        urgent: &mut RingReader,
        outcome: &mut Outcome,
        later: &mut Vec<Event>,
    ) {
        let key = place.subject.key();
        let leaf = leaf.to_string();
        outcome.result = Outcoming::Unverified;
        while let Some(taken) = urgent.take() {
            let Ok(event) = taken.event else { continue };
            let Some(proof) = proof(&event) else {
                later.push(event);
                continue;
            };
            self.placement.remember(proof.process, proof.time);
            if proof.process == key && proof.path.as_bytes() == leaf.as_bytes() {
                outcome.result = Outcoming::Verified;
                outcome.outside_ns = Some(proof.time.since(place.time));
            }
        }
    }

    /// Moves what the rule names and is still outside, again until there is none. Returns how many are left.
    fn sweep(
        &mut self,
        rule: usize,
        kernel: &mut Kernel,
        urgent: &mut RingReader,
        report: &mut Reporter,
        later: &mut Vec<Event>,
    ) -> Result<u32, AgentError> {
        for _ in 0..MAX_SWEEPS {
            let strays = self.strays(rule, kernel, report)?;
            if strays.is_empty() {
                return Ok(0);
            }
            let mut any_moved = false;
            for place in strays {
                self.decide(&place, report)?;
                let outcome = self.carry_out(&place, urgent, report, later);
                any_moved |= outcome.result.is_moved();
                report.now_record(Body::Outcome(outcome))?;
            }
            if !any_moved {
                // What was refused just now would be refused again.
                break;
            }
        }
        Ok(self.strays(rule, kernel, report)?.len() as u32)
    }

    /// The processes of a rule that are outside now, by the kernel's task iterator.
    fn strays(
        &self,
        rule: usize,
        kernel: &mut Kernel,
        report: &mut Reporter,
    ) -> Result<Vec<Place>, AgentError> {
        let time = report.now();
        let Rule { written, home, from } = &self.rules[rule];
        let picture = kernel.picture()?;
        Ok(picture
            .iter()
            .filter(|entry| (entry.uid, entry.euid) == (written.uid, written.uid) && entry.kthread == 0)
            .map(picture::subject)
            .filter(|subject| is_outside(subject, &home.slice, from, report))
            .map(|subject| Place {
                time,
                subject,
                rule,
                verdict: Verdict::Move,
                reason: Reason::OutsideSlice,
                seen_at: SeenAt::Picture,
                loginuid: None,
                sessionid: None,
            })
            .collect())
    }
}

fn cell(cgroup: &ResolvedCgroup) -> CgroupCell {
    CgroupCell { id: cgroup.id, depth: cgroup.depth, pad: 0 }
}

fn proof(event: &Event) -> Option<Proof> {
    let EventBody::Moved(attach) = &event.body else {
        return None;
    };
    Some(Proof { time: event.time, process: event.subject.key(), path: attach.path.clone() })
}

/// In `from` and not in `target`. A cgroup that is gone by now is nobody's place.
fn is_outside(
    subject: &Subject,
    target: &ResolvedCgroup,
    from: &[ResolvedCgroup],
    report: &mut Reporter,
) -> bool {
    let Some(path) = report.converter.cgroups.path(subject.cgroup_id) else {
        return false;
    };
    let Some(path) = std::str::from_utf8(path.as_bytes()).ok().and_then(|path| CgroupPath::parse(path).ok())
    else {
        return false;
    };
    !path.is_within(&target.path) && from.iter().any(|from| path.is_within(&from.path))
}
