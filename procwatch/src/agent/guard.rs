//! The loop of `run`: urgent records in, decisions and outcomes out.

use procwatch_common::stats::Stats;

use super::{
    AgentError,
    containing::Container,
    feed::Feed,
    inbox::{Inbox, Note},
    measures::{Measures, Wake},
    orders::Orders,
    output::Reader,
    placing::{Hands, Heard, Placer},
    report::Reporter,
    rules::RuleChooser,
    shutdown::Shutdown,
    status::Standing,
};
use crate::{
    cgroup::Mount,
    config::Config,
    detect::{Decision, Detector, threads::Threads},
    event::{Body, Subject},
    execute::contain::Warden,
    kernel::{Kernel, RingReader, carry::Told},
    memory::HeapCare,
    record::{Body as RecordBody, HealthTopic, Mode, Ring},
    service::Watchdog,
    status::ConfigStatus,
    table::ProcessTable,
};

/// The running agent.
pub struct Guard {
    pub(super) kernel: Kernel,
    pub(super) urgent: RingReader,
    pub(super) rules: RuleChooser,
    pub(super) measures: Measures,
    pub(super) placer: Placer,
    pub(super) report: Reporter,
    pub(super) feed: Feed,
    pub(super) standing: Standing,
    pub(super) mount: Mount,
    pub(super) orders: Orders,
    /// What holds now.
    pub(super) config: Config,
    pub(super) config_status: ConfigStatus,
    /// What was known when the agent looked around last.
    table: ProcessTable,
    /// What was told under the rules of the agent before, until those of now are in force.
    pub(super) told: Option<Told>,
    /// What was taken over, in words.
    pub(super) heritage: Option<String>,
    /// What is pinned stays when the agent ends.
    keeps: bool,
    heap: HeapCare,
}

impl Guard {
    /// Arms everything: from here on the kernel decides what wakes the agent.
    ///
    /// # Errors
    /// When the kernel refuses something.
    pub fn arm(
        mut kernel: Kernel,
        (orders, config): (Orders, Config),
        mount: Mount,
        mut placer: Placer,
        (report, feed): (Reporter, Feed),
    ) -> Result<Self, AgentError> {
        let mut urgent = kernel.urgent()?;
        // What the agent has not told when it dies waits there for the next one.
        urgent.keep();
        let heritage = kernel.is_adopted().then(|| {
            format!("; took over what another agent has left, {} urgent records waited", urgent.count())
        });
        placer.arm(&mut kernel, &mount, &report.converter.clock)?;
        let warden = Warden::new(&mount, config.protect.clone());
        let rules = RuleChooser::new(&config, warden.clone());
        let enforce = config.mode == Mode::Enforce;
        rules.check_caps(&kernel)?;
        let told = if !kernel.is_adopted() {
            rules.arm(&mut kernel, enforce)?;
            None
        } else if rules.are_in_force(&kernel, enforce) {
            None
        } else {
            Some(rules.replace(&mut kernel)?)
        };
        kernel.steer(|control| control.stacks = 1)?;
        let measures = Measures::new(&config, Container::new(warden));
        let config_status = ConfigStatus::of(&config);
        let table = ProcessTable::new();
        Ok(Self {
            kernel,
            urgent,
            rules,
            measures,
            placer,
            report,
            feed,
            standing: Standing::new(),
            mount,
            orders,
            config,
            config_status,
            table,
            told,
            heritage,
            keeps: false,
            heap: HeapCare::default(),
        })
    }

    /// Where it reports to.
    pub const fn report(&mut self) -> &mut Reporter {
        &mut self.report
    }

    /// Deals with what is there already. To be called once, before [`Self::run`].
    ///
    /// # Errors
    /// When the kernel side or the output fails.
    pub fn begin(&mut self) -> Result<(), AgentError> {
        self.recover()?;
        let rested = self.told.is_some();
        self.take_over_rules()?;
        self.look_around(rested)?;
        if self.kernel.is_adopted() {
            self.go_on()?;
        }
        self.feed_outputs()?;
        self.placer.begin_to_hold(&mut self.kernel)
    }

    /// What an agent that died has left in force is taken back.
    fn recover(&mut self) -> Result<(), AgentError> {
        let recovered = match self.rules.warden().recover(false) {
            Ok(recovered) => recovered,
            Err(error) => return self.report.health(HealthTopic::Degraded, error.to_string()),
        };
        for note in recovered.notes {
            self.report.health(HealthTopic::Degraded, note)?;
        }
        for act in recovered.acts {
            self.report.now_record(RecordBody::Action(act))?;
        }
        Ok(())
    }

    /// Works until the order to end. A reader that leaves does not end it: the work goes on in silence.
    ///
    /// # Errors
    /// When the kernel side or the output fails.
    pub async fn run(
        &mut self,
        shutdown: &mut Shutdown,
        inbox: &mut Inbox,
        watchdog: &mut Watchdog,
    ) -> Result<(), AgentError> {
        let clock = self.report.converter.clock;
        loop {
            while !self.take_in()? {
                self.report.make_room().await;
            }
            self.report.make_room().await;
            let written = self.report.written();
            if (self.report.is_empty() && written.is_done()) || self.urgent.is_crowded() {
                self.urgent.release();
            }
            if self.report.is_empty() {
                self.heap.at_rest(self.report.records());
            }
            watchdog.alive();
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                () = watchdog.due() => {}
                written = self.report.flush(), if !self.report.is_empty() => match written {
                    Ok(Reader::There) => {}
                    Ok(Reader::Gone) => tracing::warn!("nobody reads standard output any more; the agent goes on"),
                    Err(error) => tracing::warn!("{error}; the agent goes on"),
                },
                changed = self.placer.changed() => {
                    changed.map_err(AgentError::io("the cgroups of rules"))?;
                    if self.placer.find_again(&mut self.kernel)? {
                        self.look_for_strays()?;
                    }
                }
                wake = self.measures.next(&clock) => self.measure(wake)?,
                note = inbox.next() => self.note(note)?,
                () = written.done(), if self.report.is_empty() && self.urgent.owes() => {}
                ready = self.urgent.readable() => ready.map_err(AgentError::io("the urgent ring"))?,
                cause = self.feed.ready() => self.feed.look(cause?, &mut self.kernel, &mut self.report)?,
            }
        }
        // What the kernel told before the order to end came is told, too.
        self.keeps = self.kernel.pinned().is_some() && shutdown.keeps(self.config.pin).await;
        let urgent = u32::from(self.keeps);
        self.kernel.steer(|control| (control.urgent, control.hold, control.stream_kinds) = (urgent, 0, 0))?;
        self.drain()?;
        self.placer.tidy();
        Ok(())
    }

    /// An order, a question or a complaint.
    fn note(&mut self, note: Note) -> Result<(), AgentError> {
        match note {
            Note::Complaint(what) => self.report.health(HealthTopic::Degraded, what),
            Note::Reload => self.reload(),
            Note::Ask(ask) => {
                self.answer(ask);
                Ok(())
            }
        }
    }

    /// What is under way came to something, or the time of a step has come.
    fn measure(&mut self, wake: Wake) -> Result<(), AgentError> {
        let Self { kernel, rules, measures, report, .. } = self;
        measures.on_wake(wake, |number| rules.book().rule(number), kernel, report)
    }

    /// The picture of what runs: alerts for those above a level already, placement of those outside. Where the rules about
    /// threads have `rested`, also the end of alerts.
    pub(super) fn look_around(&mut self, rested: bool) -> Result<(), AgentError> {
        let subjects = self.choose_rules()?;
        self.table = ProcessTable::new();
        self.table.add_picture(&subjects);
        self.settle(subjects, rested)?;
        self.look_for_strays()
    }

    /// All that live.
    pub(super) fn picture(&mut self) -> Result<Vec<Subject>, AgentError> {
        Ok(self.kernel.picture()?.into_iter().map(|process| process.subject).collect())
    }

    /// Every live process gets its rule. Returns them all.
    pub(super) fn choose_rules(&mut self) -> Result<Vec<Subject>, AgentError> {
        let subjects = self.picture()?;
        let Self { kernel, rules, measures, report, .. } = self;
        for (key, threads, rule) in rules.on_picture(&subjects, kernel, report)? {
            measures.cap_by_cgroup(key, threads, rules.book().rule(rule), report)?;
        }
        Ok(subjects)
    }

    /// The stream is opened for outputs that want it, and closed where none does.
    pub(super) fn feed_outputs(&mut self) -> Result<(), AgentError> {
        let kinds = self.report.outputs().map_or(0, |outputs| outputs.stream_kinds());
        self.feed.feed_outputs(kinds, &mut self.kernel)
    }

    /// Another configuration holds.
    pub(super) fn note_config(&mut self, config: Config) {
        self.config_status = ConfigStatus::of(&config);
        self.config = config;
    }

    /// Those that are outside already.
    fn look_for_strays(&mut self) -> Result<(), AgentError> {
        let mut later = Vec::new();
        let Self { kernel, urgent, placer, report, .. } = self;
        placer.look_around(&mut Hands { kernel, urgent, report, later: &mut later })?;
        self.handle(later)
    }

    pub(super) fn drain(&mut self) -> Result<(), AgentError> {
        while !self.take_in()? {
            self.report.shed();
        }
        Ok(())
    }

    /// Deals with what is in the ring, as far as the output can take it. Whether that was all.
    pub(super) fn take_in(&mut self) -> Result<bool, AgentError> {
        while !self.report.is_full() {
            let Some(taken) = self.urgent.take() else {
                return self.look_for_losses().map(|()| true);
            };
            match taken.event {
                Ok(event) => self.handle(vec![Heard { event, is_old: taken.is_old }])?,
                Err(error) => self.report.health(HealthTopic::Degraded, error.to_string())?,
            }
        }
        Ok(false)
    }

    /// What found the ring full is told, and made good by a look around.
    fn look_for_losses(&mut self) -> Result<(), AgentError> {
        if self.urgent.take_gap()
            && let Some((lost, total)) = self.kernel.untold_losses()?
        {
            self.report.loss(Ring::Urgent, None, lost, total)?;
            self.look_around(false)?;
        }
        Ok(())
    }

    /// The end of an agent that cannot go on: what it did to processes is taken back. What is pinned waits for the next one.
    pub async fn give_up(mut self) {
        match self.measures.stop(&mut self.report).await {
            Ok(done) if done.is_empty() => {}
            Ok(done) => tracing::warn!("actions: {done}; what lasted of them was taken back"),
            Err(error) => tracing::error!("{error}"),
        }
        if let Err(error) = self.report.finish().await {
            tracing::error!("{error}");
        }
    }

    /// The last words: what the kernel side counted that nobody was told yet. Everything is detached then, but for what is
    /// to stay.
    ///
    /// # Errors
    /// When the kernel side or the output fails.
    pub async fn stop(mut self) -> Result<(), AgentError> {
        // First of all: whatever fails after it, nobody stays frozen.
        let done = self.measures.stop(&mut self.report).await;
        let stats = self.kernel.stats()?;
        let Stats { urgent, user_reads_failed, kernel_reads_failed, state_full, .. } = stats;
        let message = format!(
            "{} urgent records, {} lost; {user_reads_failed} argv unread, {kernel_reads_failed} names unread, \
             {state_full} times a state map was full; {} lines unread",
            urgent.sent,
            urgent.lost,
            self.report.lines_shed(),
        );
        let stays = match self.kernel.pinned().filter(|_| self.keeps) {
            Some(pinned) => format!("; what is pinned in {} goes on without an agent", pinned.folder),
            None => String::new(),
        };
        let released = self.kernel.release(self.keeps);
        // Nor does what cannot be taken back keep the kernel's part there.
        let done = done?;
        if let Some(account) = self.placer.account(&stats) {
            self.report.now_record(RecordBody::Placement(account))?;
        }
        let done = if done.is_empty() { done } else { format!("; actions: {done}") };
        self.report.health(HealthTopic::Stopped, message + &done + &stays)?;
        self.report.finish().await?;
        self.urgent.release();
        Ok(released?)
    }

    /// Decides and acts. Acting may bring up further events, which are handled in their turn.
    pub(super) fn handle(&mut self, heard: Vec<Heard>) -> Result<(), AgentError> {
        let mut waiting = std::collections::VecDeque::from(heard);
        while let Some(Heard { event, is_old }) = waiting.pop_front() {
            let Some(event) = (if is_old { self.of_old_rules(event)? } else { Some(event) }) else {
                continue;
            };
            match &event.body {
                Body::Held(held) => {
                    self.placer.held(held);
                    self.report.event(event, None)?;
                    continue;
                }
                Body::Program(exec) => {
                    let Self { kernel, rules, measures, report, .. } = self;
                    if let Some((key, threads, rule)) = rules.on_program(&event, exec, kernel, report)? {
                        measures.cap_by_cgroup(key, threads, rules.book().rule(rule), report)?;
                    }
                    continue;
                }
                Body::Refused(_) => {
                    self.report.event(event, None)?;
                    continue;
                }
                _ => {}
            }
            let mut decisions = Threads.on(&event, &self.table);
            decisions.extend(self.placer.placement.on(&event, &self.table));
            for decision in decisions {
                match decision {
                    Decision::Alert(alert) => {
                        let Self { kernel, rules, measures, report, .. } = self;
                        report.alert(&alert, rules.book(), None)?;
                        measures.on_alert(&alert, rules.book(), kernel, report)?;
                    }
                    Decision::Cleared(event) => {
                        self.measures.on_cleared(&event);
                        self.report.cleared(event, self.rules.book(), None)?;
                    }
                    Decision::Place(place) => {
                        let mut later = Vec::new();
                        let Self { kernel, urgent, placer, report, .. } = self;
                        placer.place(&place, &mut Hands { kernel, urgent, report, later: &mut later })?;
                        waiting.extend(later);
                    }
                }
            }
        }
        Ok(())
    }
}
