//! Looks for processes that are outside, by the kernel's task iterator: at the agent's start, and after each move for
//! children that were born outside before it.

use std::collections::HashMap;

use procwatch_common::place::MAX_ANCESTORS;

use super::{Hands, Placer, facts, owner};
use crate::{
    agent::{AgentError, report::Reporter},
    cgroup::{CgroupPath, resolve},
    detect::{
        Place,
        judge::{Candidate, Judgement, judge},
    },
    event::{Forebear, Provenance, Subject},
    inspect,
    kernel::picture::Pictured,
    record::{Body, Reason, SeenAt, Verdict},
};

/// Sweeps after one move. A process that forks faster than this is still followed by the kernel's own events.
const MAX_SWEEPS: usize = 16;

/// A process of a rule that was found where the rule takes from.
struct Found {
    place: Place,
    judgement: Judgement,
}

impl Placer {
    /// Looks for processes that are outside already, and treats each like one that was just seen.
    ///
    /// # Errors
    /// As for [`Self::place`].
    pub fn look_around(&mut self, hands: &mut Hands<'_>) -> Result<(), AgentError> {
        for rule in 0..self.rules.len() {
            self.facts.forget();
            for Found { mut place, judgement } in self.outside(rule, hands)? {
                let process = place.subject.key();
                if self.placement.is_settled(process) {
                    continue;
                }
                let Provenance { ancestors, .. } = place.provenance;
                place.provenance = Provenance { ancestors, ..inspect::provenance(process) };
                if judgement.reason.verdict() == Verdict::Move {
                    self.place(&place, hands)?;
                } else {
                    self.leave(&place, &judgement, hands)?;
                }
            }
        }
        Ok(())
    }

    /// Moves what the rule names and is still outside, again until there is none. Returns how many were moved and how
    /// many are left.
    pub(super) fn sweep(&mut self, rule: usize, hands: &mut Hands<'_>) -> Result<(u32, u32), AgentError> {
        let mut moved = 0;
        for _ in 0..MAX_SWEEPS {
            let strays = self.strays(rule, hands)?;
            if strays.is_empty() {
                return Ok((moved, 0));
            }
            let (before, mut is_otherwise) = (moved, false);
            for Found { place, judgement } in strays {
                if self.elsewhere_now(&place, hands.report).is_some() {
                    // The next picture shows it where it is.
                    is_otherwise = true;
                    continue;
                }
                let outcome = self.carry_out(&place, &judgement, hands)?;
                moved += u32::from(outcome.result.is_moved());
                hands.report.now_record(Body::Outcome(outcome))?;
            }
            if moved == before && !is_otherwise {
                // What was refused just now would be refused again.
                break;
            }
        }
        Ok((moved, self.strays(rule, hands)?.len() as u32))
    }

    /// Those of them that are to be moved.
    fn strays(&mut self, rule: usize, hands: &mut Hands<'_>) -> Result<Vec<Found>, AgentError> {
        let mut found = self.outside(rule, hands)?;
        found.retain(|found| found.judgement.reason == Reason::OutsideSlice);
        Ok(found)
    }

    /// The processes of a rule that are where it takes from, each with what is decided about it.
    fn outside(&mut self, rule: usize, hands: &mut Hands<'_>) -> Result<Vec<Found>, AgentError> {
        let time = hands.report.now();
        let picture = hands.kernel.picture()?;
        let tree = Tree::new(&picture);
        let owned: Vec<&Pictured> = picture.iter().filter(|process| self.is_owned(rule, process)).collect();
        let mut found = Vec::new();
        for process in owned {
            let Some(cgroup) = facts::path(&mut hands.report.converter.cgroups, process.subject.cgroup_id)
            else {
                continue;
            };
            let written = &self.rules[rule].written;
            if cgroup.is_within(written.slice.path())
                || !written.from.iter().any(|it| cgroup.is_within(it.path()))
            {
                continue;
            }
            if self.is_about_to_exec(rule, process, &tree) {
                continue;
            }
            // What /proc tells besides costs time, in which those who are to be swept make children.
            let provenance =
                Provenance { ancestors: tree.ancestors(&process.subject), ..Provenance::default() };
            let place = Place {
                time,
                subject: process.subject.clone(),
                rule,
                seen_at: SeenAt::Picture,
                file: None,
                provenance,
            };
            let judgement = self.judge_pictured(process, &place, &cgroup, hands.report);
            found.push(Found { place, judgement });
        }
        Ok(found)
    }

    /// Whether the program that the rule may ignore a process by is still to come: the one that it runs is that of the user
    /// whom it comes from, such as `su`. Its exec is told.
    fn is_about_to_exec(&self, rule: usize, process: &Pictured, tree: &Tree<'_>) -> bool {
        let Subject { uid, ppid, .. } = process.subject;
        self.rules[rule].written.ignore.is_by_program()
            && tree.uid(ppid).is_some_and(|parents| parents != uid)
            && inspect::is_becoming(process.subject.key())
    }

    /// The same process where it is now, when somebody has moved it since it was seen; `None` when it is where it was, or
    /// that is not known. What is moved is taken from where it is.
    pub(super) fn elsewhere_now(&self, place: &Place, report: &mut Reporter) -> Option<Place> {
        let now = inspect::cgroup(place.subject.key())?;
        if facts::path(&mut report.converter.cgroups, place.subject.cgroup_id).as_ref() == Some(&now) {
            return None;
        }
        let cgroup_id = resolve(&self.mount, &now.into()).ok()?.id;
        let subject = Subject { cgroup_id, ..place.subject.clone() };
        Some(Place { subject, ..place.clone() })
    }

    fn judge_pictured(
        &mut self,
        process: &Pictured,
        place: &Place,
        cgroup: &CgroupPath,
        report: &mut Reporter,
    ) -> Judgement {
        let rule = &self.rules[place.rule].written;
        let found = self.facts.of(place, rule, &mut report.converter.cgroups);
        let candidate = Candidate {
            cgroup: Some(cgroup),
            is_kernel_thread: process.is_kernel_thread,
            is_in_other_namespace: process.is_in_other_namespace,
            ..found.candidate(place)
        };
        judge(rule, &candidate)
    }

    /// Whether this rule, and no other, speaks of a process.
    fn is_owned(&self, rule: usize, process: &Pictured) -> bool {
        let Pictured { subject, gid, egid, .. } = process;
        owner::speaks_of(self.rules[rule].written.owner, self.owners(), subject, || Some([*gid, *egid]))
    }
}

/// Who descends from whom.
struct Tree<'a>(HashMap<u32, &'a Subject>);

impl<'a> Tree<'a> {
    fn new(picture: &'a [Pictured]) -> Self {
        Self(picture.iter().map(|process| (process.subject.pid, &process.subject)).collect())
    }

    fn uid(&self, pid: u32) -> Option<u32> {
        self.0.get(&pid).map(|subject| subject.uid)
    }

    /// Nearest first, as far as a kernel program would tell.
    fn ancestors(&self, subject: &Subject) -> Vec<Forebear> {
        let mut ancestors = Vec::new();
        let mut pid = subject.ppid;
        while ancestors.len() < MAX_ANCESTORS
            && let Some(found) = self.0.get(&pid)
        {
            ancestors.push(Forebear { key: found.key(), uid: found.uid, comm: found.comm });
            if pid <= 1 {
                break;
            }
            pid = found.ppid;
        }
        ancestors
    }
}
