//! What is done about alerts: the steps of their rules, each when its time has come.

use std::time::Duration;

use procwatch_common::growth::{BURST, LEAK};
use tokio::time::sleep;

use super::{
    AgentError,
    containing::{Ask, Container, steps},
    diagnosing::{Diagnoses, Wanted},
    report::Reporter,
};
use crate::{
    clock::Clock,
    config::{Config, Containment, ThreadRule},
    detect::{
        Alert,
        ladder::{Alarm, Due, Ladder, Way},
    },
    event::{Body, Event, LevelChange, ProcessKey, Subject, Way as Bound},
    execute::contain::{Done, Order, Undone, Warden, target::Target},
    kernel::Kernel,
    record::{Act, ActResult, Body as RecordBody, Diagnosed, HealthTopic, Mode, Occasion, Process, Severity},
    rulebook::RuleBook,
};

/// What ended a wait.
#[derive(Debug)]
pub enum Wake {
    /// Actions were carried out.
    Acts(Vec<Act>),
    /// A process was looked at.
    Diagnosed(Box<Diagnosed>),
    /// The time of a step has come.
    Due,
}

/// Ladders, and those who carry their steps out.
#[derive(Debug)]
pub struct Measures {
    ladder: Ladder,
    container: Container,
    diagnoses: Diagnoses,
    mode: Mode,
    /// Alerts that nothing was done about, as was told.
    overflows: u64,
}

impl Measures {
    /// Nothing is due yet.
    pub fn new(config: &Config, container: Container) -> Self {
        Self {
            ladder: Ladder::new(),
            container,
            diagnoses: Diagnoses::default(),
            mode: config.mode,
            overflows: 0,
        }
    }

    /// Other rules hold: steps that were still to come will not be done. What was done stays until it is taken back, by hand
    /// or at the agent's end.
    pub fn forget_steps(&mut self) {
        self.ladder = Ladder::new();
    }

    /// Another configuration holds.
    ///
    /// # Errors
    /// When a record cannot be encoded.
    pub fn change(
        &mut self,
        config: &Config,
        warden: Warden,
        report: &mut Reporter,
    ) -> Result<(), AgentError> {
        self.mode = config.mode;
        tell(self.container.change(warden, config.mode), report)
    }

    /// An alert begins: what its rule wants done at once is done.
    ///
    /// # Errors
    /// When a record cannot be encoded, or the kernel refuses a write.
    pub fn on_alert(
        &mut self,
        alert: &Alert,
        book: &RuleBook,
        kernel: &mut Kernel,
        report: &mut Reporter,
    ) -> Result<(), AgentError> {
        let Alert { event, .. } = alert;
        let Body::LevelCrossed(change) = &event.body else { return Ok(()) };
        let rule = book.rule(change.rule);
        if change.way == (Bound::Stop { stopped: true }) {
            return self.note_stop(&event.subject, rule, report);
        }
        let Some(way) = way(change) else { return Ok(()) };
        let alarm = Alarm {
            key: event.subject.key(),
            rule: change.rule as usize,
            way,
            time: event.time,
            threads: event.subject.threads,
        };
        let due = self.ladder.on_alert(alarm, steps(&rule.actions, way));
        if self.ladder.overflows() > self.overflows {
            self.overflows = self.ladder.overflows();
            report.health(
                HealthTopic::Degraded,
                format!("too many processes have alerts; nothing was done about {} of them", self.overflows),
            )?;
        }
        for due in due {
            let process = report.converter.process(&event.subject, None);
            self.carry_out(due, process, rule, kernel, report)?;
        }
        Ok(())
    }

    /// Whether an alert is known already, and lasts.
    pub fn knows(&self, alert: &Alert) -> bool {
        let Body::LevelCrossed(change) = &alert.event.body else { return false };
        way(change).is_some_and(|way| self.ladder.climbs(alert.event.subject.key(), way))
    }

    /// An alert is over, or its process.
    pub fn on_cleared(&mut self, event: &Event) {
        let Body::LevelCleared(change) = &event.body else { return };
        let key = event.subject.key();
        if event.subject.threads == 0 {
            self.ladder.on_exit(key);
            self.container.ended(key);
        } else if let Some(way) = way(change) {
            self.ladder.on_cleared(key, way);
        }
    }

    /// Waits for what is under way, and for the next step. Cancel safe.
    pub async fn next(&mut self, clock: &Clock) -> Wake {
        let wait = self.ladder.next_due().map(|due| Duration::from_nanos(due.since(clock.now())));
        tokio::select! {
            acts = self.container.done() => Wake::Acts(acts),
            diagnosed = self.diagnoses.done() => Wake::Diagnosed(Box::new(diagnosed)),
            () = sleep(wait.unwrap_or_default()), if wait.is_some() => Wake::Due,
        }
    }

    /// Deals with what ended a wait. `rule_of` knows rules by their numbers.
    ///
    /// # Errors
    /// As for [`Self::on_alert`].
    pub fn on_wake<'r>(
        &mut self,
        wake: Wake,
        rule_of: impl Fn(u32) -> &'r ThreadRule,
        kernel: &mut Kernel,
        report: &mut Reporter,
    ) -> Result<(), AgentError> {
        match wake {
            Wake::Acts(acts) => tell(acts, report),
            Wake::Diagnosed(diagnosed) => report.now_record(RecordBody::Diagnosis(diagnosed)),
            Wake::Due => {
                for due in self.ladder.due(report.now()) {
                    let rule = rule_of(due.alarm.rule as u32);
                    // As it is now; who has ended meanwhile needs nothing.
                    if let Some(process) = self.container.process(due.alarm.key, report) {
                        self.carry_out(due, process, rule, kernel, report)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// A cap by the cgroup, where the kernel programs cannot refuse threads.
    ///
    /// # Errors
    /// When a record cannot be encoded.
    pub fn cap_by_cgroup(
        &mut self,
        key: ProcessKey,
        threads: u32,
        rule: &ThreadRule,
        report: &mut Reporter,
    ) -> Result<(), AgentError> {
        let order = Order::Cap { threads: Some(threads) };
        let (Some(target), Some(process)) = (Target::of_key(key), self.container.process(key, report)) else {
            return Ok(());
        };
        let rule = rule.described.clone();
        if self.mode == Mode::Observe {
            let act = Done::would().act(order, process, Some(rule), Occasion::Rule, self.mode);
            return tell([act], report);
        }
        self.container.order(order, target, process, rule, Occasion::Rule);
        Ok(())
    }

    /// The kernel has stopped a process: whoever is to let it go on must know.
    fn note_stop(
        &mut self,
        subject: &Subject,
        rule: &ThreadRule,
        report: &mut Reporter,
    ) -> Result<(), AgentError> {
        let process = report.converter.process(subject, None);
        let rule = rule.described.clone();
        let Some(target) = Target::of_key(subject.key()) else {
            let gone = Done::gone();
            return tell(
                [gone.act(Order::NoteStopped, process, Some(rule), Occasion::Rule, self.mode)],
                report,
            );
        };
        self.container.order(Order::NoteStopped, target, process, rule, Occasion::Rule);
        Ok(())
    }

    fn carry_out(
        &mut self,
        due: Due,
        process: Process,
        rule: &ThreadRule,
        kernel: &mut Kernel,
        report: &mut Reporter,
    ) -> Result<(), AgentError> {
        let Some(order) = Order::of(due.action) else {
            let occasion = due.alarm.way.into();
            let wanted = Wanted { process, rule: rule.described.clone(), occasion };
            return match self.diagnoses.order(wanted) {
                Some(refused) => report.now_record(RecordBody::Diagnosis(Box::new(refused))),
                None => Ok(()),
            };
        };
        if !lasts(&due.alarm, kernel) {
            // Its end is on its way. To look at a process that fell back is no harm, to do something to it is.
            self.ladder.call_off(&due);
            return Ok(());
        }
        let ask = Ask { due, order, process, rule, mode: self.mode };
        let done = match due.action {
            Containment::Cap { threads } if kernel.can_cap() => {
                Some(self.cap_by_kernel(&ask, threads, kernel)?)
            }
            _ => self.container.act(ask),
        };
        tell(done, report)
    }

    /// From now on the kernel programs refuse this process one more thread. Where they cannot, its cgroup does.
    fn cap_by_kernel(
        &mut self,
        ask: &Ask<'_>,
        threads: Option<u32>,
        kernel: &mut Kernel,
    ) -> Result<Act, AgentError> {
        let target = match self.container.judge(ask) {
            Ok(target) => target,
            Err(act) => return Ok(*act),
        };
        let cap = threads.unwrap_or_else(|| target.threads()).max(1);
        let (result, detail) =
            match kernel.threads().set_process(target.key(), ask.due.alarm.rule as u32, cap) {
                Ok(()) => {
                    (ActResult::Verified, format!("the kernel refuses thread {}", cap.saturating_add(1)))
                }
                Err(error) if error.is_full() => (ActResult::Failed, format!("{error}: it is full")),
                Err(error) => return Err(error.into()),
            };
        let done = Done {
            limit: Some(cap),
            detail,
            threads_before: Some(target.threads()),
            threads_after: Some(target.threads()),
            result,
            ..Done::would()
        };
        let occasion = ask.due.alarm.way.into();
        Ok(done.act(ask.order, ask.process.clone(), Some(ask.rule.described.clone()), occasion, ask.mode))
    }

    /// Takes back what was done, and tells what that came to.
    ///
    /// # Errors
    /// When a record cannot be encoded.
    pub async fn stop(self, report: &mut Reporter) -> Result<String, AgentError> {
        let account = self.container.account();
        match self.container.stop().await {
            Ok(Undone { acts, complaint }) => {
                tell(acts, report)?;
                if let Some(complaint) = complaint {
                    report.health(HealthTopic::Degraded, complaint)?;
                }
            }
            Err(error) => report.health(HealthTopic::Degraded, error.to_string())?,
        }
        Ok(account)
    }
}

fn tell(acts: impl IntoIterator<Item = Act>, report: &mut Reporter) -> Result<(), AgentError> {
    acts.into_iter().try_for_each(|act| report.now_record(RecordBody::Action(act)))
}

/// Whether the alert of a step is not over, as the kernel knows it: the record of its end may still be in the ring.
fn lasts(alarm: &Alarm, kernel: &mut Kernel) -> bool {
    let number = match alarm.way {
        Way::Level(severity) => severity.level(),
        Way::Burst => BURST,
        Way::Leak => LEAK,
    };
    kernel.threads().lasting_alerts(alarm.key)[number as usize]
}

/// The ladder that a bound belongs to; a stop has none.
fn way(change: &LevelChange) -> Option<Way> {
    Some(match change.way {
        Bound::Level(index) => Way::Level(Severity::of_level(index)),
        Bound::Burst => Way::Burst,
        Bound::Leak => Way::Leak,
        Bound::Stop { .. } => return None,
    })
}
